"""What people answer is kept with their login, counts until its day, and is never changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.answers import answers, known
from include.answers.answer import About, Answer, Kind
from include.answers.answers import AnswerError, Kept
from tests.clock import today
from tests.include.results.project import FACTS, ORDERS, USERS

TEST = About("test.p.orders_unique")
ROWS = About(ORDERS, "rows", day=today())


def mute(connection: Connection, about: About = TEST, days: int = 3, **others: object) -> Answer:
    return answers.give(connection, Kind.MUTE, about, "ada", "known", today() + timedelta(days=days), **others)


@pytest.mark.db
def test_an_answer_is_kept_whole(db: Connection) -> None:
    about = About(ORDERS, "share", "status", "new", today())
    given = answers.give(db, Kind.EXPECTED, about, " ada ", " a sale ", name="Ada")
    assert (given.about, given.answered_by, given.reason, given.by) == (about, "ada", "a sale", "ada, who signs as Ada")
    assert answers.in_force(db, today()) == (given,)
    assert answers.find(db, given.answer_id) == Kept(given)


@pytest.mark.db
def test_a_mute_counts_until_its_last_day_and_no_longer(db: Connection) -> None:
    given = mute(db)
    assert answers.in_force(db, given.until) == (given,)
    assert answers.in_force(db, given.until + timedelta(days=1)) == ()
    assert answers.passed_since(db, given.until, given.until + timedelta(days=1)) == (given,)
    assert answers.passed_since(db, today(), given.until) == ()


@pytest.mark.db
def test_an_answer_is_ended_once_and_by_whom_stays(db: Connection) -> None:
    given, other = mute(db), mute(db, ROWS)
    assert answers.end(db, given.answer_id, "grace", "mended") == given
    assert answers.in_force(db, today()) == (other,)
    [_, ended] = answers.kept(db)
    assert (ended.answer, ended.end.ended_by, ended.end.reason) == (given, "grace", "mended")
    for answer_id, said in ((given.answer_id, "has ended already"), (99, "is not there"), (2**70, "is not there")):
        with pytest.raises(AnswerError, match=said):
            answers.end(db, answer_id, "grace", "again")


@pytest.mark.db
def test_a_mute_in_force_is_listed_however_many_answers_came_after_it(db: Connection) -> None:
    given = mute(db)
    for _ in range(3):
        answers.end(db, mute(db).answer_id, "grace", "noise")
    assert [one.answer.answer_id for one in answers.kept(db, limit=2)][2:] == [given.answer_id]


@pytest.mark.db
def test_a_test_is_let_through_until_a_newer_mute_takes_it_back(db: Connection) -> None:
    mute(db, waives=True)
    assert answers.waived(db) == {TEST.unique_id}
    mute(db)
    assert answers.waived(db) == frozenset()


@pytest.mark.db
def test_a_series_that_is_let_through_forgives_no_model_that_broke(db: Connection) -> None:
    mute(db, About("model.p.fact_orders", "rows"), waives=True)
    assert answers.waived(db) == frozenset()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"login": " "}, "takes a login"),
        ({"reason": " "}, "takes a reason"),
        ({"reason": "a\x00b"}, "reason has a null character"),
        ({"reason": "a" * 301}, "301 characters; 300 is the most"),
        ({"name": "a" * 81}, "80 is the most"),
        ({"about": About("a\x00b")}, "can't be kept"),
        ({"about": About("")}, "can't be kept"),
        ({"until": None}, "takes its last day"),
        ({"until": today() - timedelta(days=1)}, "is in the past"),
        ({"until": today() + timedelta(days=100)}, "too far away"),
        ({"kind": Kind.EXPECTED}, "answer to an unusual figure"),
        ({"kind": Kind.EXPECTED, "about": About(ORDERS, "rows")}, "name the day"),
        ({"kind": Kind.MINE, "waives": True}, "Only a mute"),
        ({"about": About(ORDERS), "waives": True}, "Only a single test"),
    ],
)
def test_what_can_not_be_kept_is_refused_with_a_sentence(given: dict, said: str) -> None:
    whole = {"kind": Kind.MUTE, "about": TEST, "login": "ada", "reason": "known", "until": today()} | given
    with pytest.raises(AnswerError, match=said):
        answers.give(None, **whole)  # before the warehouse is asked


def an(about: About, answer_id: int = 1, kind: Kind = Kind.MUTE) -> Answer:
    return Answer(answer_id, datetime.now(UTC), "ada", kind, about, "known", date(2100, 1, 1))


def test_an_answer_to_a_table_is_one_to_its_series_and_one_to_a_series_to_no_other() -> None:
    share = {"measure": "share", "column": "status", "item": "new"}
    assert answers.is_about(an(About(ORDERS)), About(ORDERS, **share))
    assert answers.is_about(an(About(ORDERS, column="status")), About(ORDERS, **share))
    assert not answers.is_about(an(About(ORDERS, "rows")), About(ORDERS, **share))
    assert not answers.is_about(an(About(ORDERS, "share", "status", "old")), About(ORDERS, **share))
    assert not answers.is_about(an(About("source.p.shop.users")), About(ORDERS, **share))


def test_an_answer_to_a_model_is_one_to_its_tests_and_one_to_a_series_is_none() -> None:
    both = [an(About("model.a"), 2), an(About("model.a"), 1)]
    assert answers.of(both, Kind.MUTE, "test.t", ["model.a"]) is both[0]
    assert answers.of([an(TEST), *both], Kind.MUTE, TEST.unique_id, ["model.a"]).about == TEST
    assert answers.of(both, Kind.MINE, "test.t", ["model.a"]) is None
    assert answers.of([an(About("model.a", "rows"))], Kind.MUTE, "test.t", ["model.a"]) is None


def test_of_a_test_across_two_models_both_have_to_be_muted() -> None:
    first, other = an(About("model.a")), an(About("model.b"))
    assert answers.of([first], Kind.MUTE, "test.t", ["model.a", "model.b"]) is None
    assert answers.of([first, other], Kind.MUTE, "test.t", ["model.a", "model.b"]) is first


def test_what_it_is_about_goes_by_its_name_or_its_id() -> None:
    assert known.find(FACTS, "raw.orders") == ORDERS
    assert known.find(FACTS, "fact_orders") == "model.p.fact_orders"
    assert known.find(FACTS, "test.p.adds_up") == "test.p.adds_up"
    assert known.find(FACTS, f"freshness.{ORDERS}") == f"freshness.{ORDERS}"
    with pytest.raises(AnswerError, match="no test, model, source or metric raw"):
        known.find(FACTS, "raw")


def test_what_it_is_about_is_named_as_people_call_it() -> None:
    assert known.titled(FACTS, About(ORDERS, "share", "status", "new")) == "raw.orders.status = new, share"
    assert known.titled(FACTS, About(f"freshness.{ORDERS}")) == "freshness of raw.orders"
    assert known.titled(FACTS, About("test.p.gone.0a1b")) == "gone"


def test_the_value_of_a_personal_column_is_not_named() -> None:
    assert known.titled(FACTS, About(USERS, "share", "email", "ada@example.com")) == "raw.users.email = …, share"
