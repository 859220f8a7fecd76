"""What people answered, in the summary of a run: muted, seen to, new, outlived, and ended by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.answer import About, Answer, Kind
from include.results import answered, node_results
from include.results.answered import BY_ITSELF
from include.results.unusual import Finding
from include.unusual.series import Expected, Measure, Series, Unusual
from tests.clock import today
from tests.include.results.project import FACTS, ORDERS, USERS
from tests.include.results.test_summary import BUILT, DOUBLED, PASSED, earlier, node, publish, summed_up

UNIQUE = About("test.p.orders_unique")
WELL = replace(DOUBLED, status="pass", failures=0)


def give(ops: Connection, kind: Kind = Kind.MUTE, about: About = UNIQUE, *, days_ago: int = 0, **others: object) -> int:
    """An answer of so many days ago; a mute for two days from now."""
    until = today() + timedelta(days=2) if kind == Kind.MUTE else None
    given = answers.give(ops, kind, about, "ada", "known", until, **others)
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.answers set answered_at = answered_at - make_interval(days => %s) where answer_id = %s",
            (days_ago, given.answer_id),
        )
    return given.answer_id


@pytest.mark.db
def test_a_muted_test_is_marked_and_counts_as_failed(ops: Connection) -> None:
    give(ops)
    report = summed_up(ops, DOUBLED, failed=True)
    [root] = report.roots
    assert (root.muted, root.failures[0].muted.answered_by, report.failed) == (True, "ada", 1)


@pytest.mark.db
def test_a_muted_table_mutes_its_tests_and_its_freshness_and_no_model_that_broke(ops: Connection) -> None:
    stale = replace(PASSED, unique_id=f"freshness.{ORDERS}", resource_type="freshness", status="fail", message="late")
    give(ops, about=About(ORDERS))
    give(ops, about=About("model.p.dim_users"))
    report = summed_up(ops, DOUBLED, stale, node("model.p.dim_users", "error"), failed=True)
    assert {one.unique_id: bool(one.muted) for one in report.failures} == {
        DOUBLED.unique_id: True,
        stale.unique_id: True,
    }
    report = summed_up(ops, replace(DOUBLED, status="pass"), replace(stale, status="pass"), failed=True)
    [broken] = report.failures
    assert (broken.unique_id, broken.muted) == ("model.p.dim_users", None)


@pytest.mark.db
def test_who_sees_to_it_is_told_until_a_later_run_finds_it_well(ops: Connection) -> None:
    mine = give(ops, Kind.MINE)
    assert summed_up(ops, DOUBLED, failed=True).failures[0].mine.answered_by == "ada"
    node_results.record(ops, "run", "check sources", 2, [WELL])
    answered.settle(ops, "run", FACTS)
    assert len(answers.in_force(ops, today())) == 1, "this run began before the answer"
    earlier(ops, "next", -1, DOUBLED)
    answered.settle(ops, "next", FACTS)
    assert len(answers.in_force(ops, today())) == 1, "it still fails"
    node_results.record(ops, "next", "task", 2, [WELL])
    answered.settle(ops, "next", FACTS)
    assert answers.find(ops, mine).end.ended_by == BY_ITSELF


@pytest.mark.db
@pytest.mark.parametrize("status", ["skipped", "warn"])
def test_who_sees_to_a_table_does_so_until_all_of_it_is_well(ops: Connection, status: str) -> None:
    mine = give(ops, Kind.MINE, About("model.p.fact_orders"))
    status_test = replace(PASSED, unique_id="test.p.fact_status", status=status)
    earlier(ops, "next", -1, *BUILT, replace(PASSED, unique_id="test.p.fact_unique"), status_test)
    answered.settle(ops, "next", FACTS)
    assert answers.find(ops, mine).end is None
    node_results.record(ops, "next", "task", 2, [replace(status_test, status="pass")])
    answered.settle(ops, "next", FACTS)
    assert answers.find(ops, mine).end is not None


@pytest.mark.db
def test_nobody_sees_for_ever_to_what_the_project_has_no_more(ops: Connection) -> None:
    mine = give(ops, Kind.MINE, About("model.p.gone"))
    earlier(ops, "before", 1)
    answered.settle(ops, "before", FACTS)
    assert answers.find(ops, mine).end is None, "this run's project is older than the answer"
    earlier(ops, "next", -1)
    answered.settle(ops, "next", FACTS)
    assert answers.find(ops, mine).end.reason == "the dbt project has it no more"


@pytest.mark.db
def test_an_answer_is_news_to_the_next_run_and_to_no_later_one(ops: Connection) -> None:
    earlier(ops, "before", 2, DOUBLED)
    give(ops)
    ended = give(ops, Kind.MINE)
    answers.end(ops, ended, "grace", "on leave")
    news = summed_up(ops, DOUBLED, failed=True).news
    assert [(one.about, one.answer.kind, one.end and one.end.ended_by) for one in news] == [
        ("unique on raw.orders.order_id", Kind.MUTE, None),
        ("unique on raw.orders.order_id", Kind.MINE, "grace"),
    ]
    earlier(ops, "next", -1, DOUBLED)
    assert answered.news(ops, "next", FACTS) == ()


@pytest.mark.db
def test_a_mute_outlives_its_reason_after_three_days_on_which_all_was_well(ops: Connection) -> None:
    give(ops, days_ago=9)
    earlier(ops, "long ago", 8, WELL)
    for days_ago, result in ((5, DOUBLED), (3, WELL), (2, WELL)):
        earlier(ops, f"{days_ago} days ago", days_ago, result)
    assert answered.outlived(ops, "2 days ago", FACTS, ()) == ()
    [told] = summed_up(ops, WELL).outlived
    assert (told.about, told.well_since) == ("unique on raw.orders.order_id", today() - timedelta(days=3))
    node_results.record(ops, "run", "check sources", 2, [DOUBLED])
    assert answered.outlived(ops, "run", FACTS, ()) == ()


@pytest.mark.db
def test_a_mute_of_a_series_outlives_its_reason_where_nothing_of_it_was_unusual(ops: Connection) -> None:
    give(ops, about=About(ORDERS, "rows"), days_ago=5)
    for days_ago in (3, 2, 1):
        earlier(ops, f"{days_ago} days ago", days_ago)
        with ops.cursor() as cursor:
            cursor.execute(
                "insert into ops.observations (unique_id, measure, day, value, run_id) values (%s, 'rows', %s, 1, %s)",
                (ORDERS, today() - timedelta(days=days_ago + 1), f"{days_ago} days ago"),
            )
    [told] = answered.outlived(ops, "run", FACTS, ())
    assert (told.about, told.well_since) == ("rows of raw.orders", today() - timedelta(days=3))
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.unusual (run_id, unique_id, measure, day, value, expected, least, most, score, since)"
            " values ('2 days ago', %s, 'rows', current_date, 1, 9, 8, 10, 4, current_date)",
            (ORDERS,),
        )
    assert answered.outlived(ops, "run", FACTS, ()) == ()


@pytest.mark.db
def test_a_mute_that_is_over_while_it_still_fails_is_named_once(ops: Connection) -> None:
    muted = give(ops)
    with ops.cursor() as cursor:
        cursor.execute("update ops.answers set until = current_date - 1 where answer_id = %s", (muted,))
    earlier(ops, "yesterday", 1, DOUBLED)
    [told] = summed_up(ops, DOUBLED, failed=True).outlived
    assert (told.about, told.well_since) == ("unique on raw.orders.order_id", None)
    assert summed_up(ops, WELL).outlived == ()
    earlier(ops, "next", -1, DOUBLED)
    assert answered.outlived(ops, "next", FACTS, [DOUBLED.unique_id]) == ()


@pytest.mark.db
def test_what_is_published_with_a_test_let_through_is_no_recovery(ops: Connection) -> None:
    give(ops, waives=True)
    earlier(ops, "yesterday", 1, DOUBLED)
    publish(ops, "run")
    report = summed_up(ops, *BUILT, DOUBLED)
    assert (report.published, report.failed, report.resolved) == (True, 1, None)


def test_the_value_of_a_personal_column_is_in_no_title() -> None:
    assert answered.title(About(USERS, "share", "email", "ada@example.com"), FACTS) == "users with email …"


def finding(measure: Measure, *with_it: Finding) -> Finding:
    unusual = Unusual(Series(ORDERS, measure), today(), 1, Expected(9, 8, 10, 90), 4, today())
    return Finding(unusual, str(measure), "1", "8 to 10", with_it=with_it)


def answer(kind: Kind, about: About) -> Answer:
    return Answer(1, datetime.now(UTC), "ada", kind, about, "known", date(2100, 1, 1))


def test_a_muted_figure_is_apart_and_what_it_explains_is_told_by_itself() -> None:
    found = [finding(Measure.ROWS, finding(Measure.HOURS), finding(Measure.MEAN))]
    [told], [muted] = answered.answered(found, [answer(Kind.MUTE, About(ORDERS, "rows"))])
    assert (muted.title, muted.muted.answered_by, muted.with_it) == ("rows", "ada", ())
    assert (told.title, [one.title for one in told.with_it]) == ("hours", ["mean"])
    told, muted = answered.answered(found, [answer(Kind.MUTE, About(ORDERS))])
    assert (told, len(muted)) == ((), 3)


def test_who_sees_to_a_figure_is_told_with_it() -> None:
    [told], muted = answered.answered([finding(Measure.ROWS)], [answer(Kind.MINE, About(ORDERS, "rows"))])
    assert (told.mine.answered_by, muted) == ("ada", ())
