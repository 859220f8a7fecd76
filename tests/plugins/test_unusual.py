"""What is unusual, each series with its band, and the proof: as the page says it."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from include.answers import answers
from include.answers.answer import About, Kind
from include.dbt_project.manifest import Manifest
from include.unusual import expect
from include.unusual.series import Measure, Observation, Series
from plugins.data_health import observed, pages
from plugins.data_health.views import history, model, now, proof, run, series, unusual
from tests.plugins import shop
from tests.plugins.conftest import Ask
from tests.plugins.unusual import (
    ARRIVAL,
    FACTS,
    LAST,
    NULLS,
    OF_STATUS,
    REVENUE,
    ROWS,
    days,
    far_off,
    observe,
    of_weekdays,
)

pytestmark = pytest.mark.db


def test_before_the_first_run_nothing_is_watched(ask: Ask) -> None:
    page = pages.render("unusual.html", answer=ask(unusual.read))
    assert "Nothing is watched yet" in page


def test_what_explains_another_is_told_with_it(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [Observation(ROWS, LAST, 12.0)], [far_off(NULLS, because=ROWS), far_off()])
    found = ask(unusual.read, facts=FACTS)
    [one] = found.findings
    assert (one.title, [each.title for each in one.with_it]) == ("rows of raw.orders", ["orders without promo_id"])
    page = pages.render("unusual.html", answer=found)
    assert "1 figure is unusual" in page
    assert '<b>12</b> on <time datetime="2026-11-23">Mon 23 Nov 2026</time>; a Monday has 100 to 120' in page
    assert "about=source.p.shop.orders&amp;measure=rows&amp;day=2026-11-23" in page


def test_what_was_unusual_before_the_newest_run_is_told_no_more(ops: Connection, ask: Ask) -> None:
    observe(ops, "before", [Observation(ROWS, LAST - timedelta(days=1), 12.0)], [far_off()])
    observe(ops, "run", [Observation(ROWS, LAST, 110.0)])
    found = ask(unusual.read, facts=FACTS)
    assert (found.run.run_id, found.findings) == ("run", ())
    assert "Nothing is unusual" in pages.render("unusual.html", answer=found)


def test_what_is_muted_is_folded_away_and_who_sees_to_it_is_named(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [Observation(ROWS, LAST, 12.0)], [far_off(), far_off(NULLS)])
    today = datetime.now(UTC).date()
    answers.give(ops, Kind.MUTE, About(*_parts(ROWS)), "ada", "we are <moving>", until=today)
    answers.give(ops, Kind.MINE, About(*_parts(NULLS)), "bob", "looking")
    found = ask(unusual.read, facts=FACTS)
    assert [one.unusual.series for one in found.findings] == [NULLS]
    page = pages.render("unusual.html", answer=found)
    assert "1 figure is unusual" in page
    assert "1 is unusual and muted" in page
    assert "by ada: we are &lt;moving&gt;" in page
    assert "bob sees to it" in page


def test_it_stands_on_the_first_page_and_on_the_runs(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [Observation(ROWS, LAST, 12.0)], [far_off()])
    first = pages.render("now.html", answer=ask(now.read, facts=FACTS))
    assert "1 figure is unusual" in first
    of_run = pages.render("run.html", answer=ask(run.read, "run", facts=FACTS))
    assert "What was unusual" in of_run
    assert "measure=rows" in of_run


def test_a_models_page_has_what_is_watched_of_it(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [*of_weekdays(ROWS, 40), Observation(REVENUE, LAST, 5.0)], [far_off()])
    found = ask(model.read, "raw.orders", facts=FACTS)
    assert [one.series for one in found.watched] == [ROWS]
    assert (found.rows[-1].day, found.rows[-1].is_unusual, found.rows[-1].usual) == (LAST, True, "100 to 120")
    assert "What is usual of it" in pages.render("model.html", answer=found)
    assert ask(model.read, "fact_orders", facts=FACTS).rows == ()


def test_a_metric_over_time_has_its_band_but_for_a_year(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", of_weekdays(REVENUE, 40))
    month, year = (ask(history.read, days, facts=FACTS).usual for days in (30, 365))
    assert [one.day for one in month["revenue"]] == days(30)
    assert month["revenue"][-1].usual
    assert year == {}


def test_it_says_since_when_each_is_watched_and_from_when_it_is_judged(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [*of_weekdays(ROWS, 40), *of_weekdays(NULLS, 10)])
    [node] = ask(unusual.read, facts=FACTS).watched
    told = {one.series: (one.since, one.speaks_from) for one in node.series}
    assert told == {
        ROWS: (LAST - timedelta(days=39), None),
        NULLS: (LAST - timedelta(days=9), LAST + timedelta(days=19)),
    }
    assert (node.name, node.since, node.is_judged_in_part) == ("raw.orders", LAST - timedelta(days=39), True)


def test_days_that_were_measured_later_are_none_of_those_that_are_learned_from(ops: Connection, ask: Ask) -> None:
    known = [replace(one, afterwards=True) for one in of_weekdays(REVENUE, 60, LAST - timedelta(days=5))]
    observe(ops, "run", [*known, *of_weekdays(REVENUE, 5)])
    [[metric]] = [node.series for node in ask(unusual.read, facts=FACTS).watched]
    of_it = ask(series.read, 90, *_parts(REVENUE), facts=FACTS)
    assert metric.speaks_from == of_it.speaks_from == LAST + timedelta(days=24)
    assert of_it.values[-1].expected is None


def test_the_day_from_which_it_is_said_to_be_judged_is_the_first_that_is() -> None:
    history = of_weekdays(ROWS, expect.LEAST_DAYS - 2)
    first = observed.speaks_from(LAST, len(history))
    assert first == LAST + timedelta(days=3)
    later = [*history, *(Observation(ROWS, LAST + timedelta(days=n), 100.0 + n) for n in (1, 2))]
    assert expect.expected(later[:-1], first - timedelta(days=1), Measure.ROWS, 1) is None
    assert expect.expected(later, first, Measure.ROWS, 1) is not None


def test_a_seed_is_listed_after_what_is_built(ops: Connection, ask: Ask) -> None:
    of = ("seed.p.countries", "model.p.fact_orders")
    observe(ops, "run", [Observation(Series(one, Measure.ROWS), LAST, 12.0) for one in of])
    assert [node.name for node in ask(unusual.read, facts=FACTS).watched] == ["fact_orders", "countries"]


def test_what_was_not_observed_for_a_week_is_watched_no_more(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [*of_weekdays(NULLS, 9, LAST - timedelta(days=7)), *of_weekdays(ROWS, 9)])
    [node] = ask(unusual.read, facts=FACTS).watched
    assert [one.series for one in node.series] == [ROWS]


def test_what_the_project_says_not_to_watch_is_said(ops: Connection, ask: Ask) -> None:
    orders = FACTS.sources[shop.ORDERS]
    quiet = {**orders, "columns": {"notes": {"config": {"meta": {"unusual": "ignore"}}}}}
    mart = {**FACTS.nodes[shop.MART], "config": {"materialized": "table", "meta": {"unusual": "ignore"}}}
    facts = replace(FACTS, sources={shop.ORDERS: quiet}, nodes={**FACTS.nodes, shop.MART: mart})
    observe(ops, "run", of_weekdays(ROWS, 1))
    found = ask(unusual.read, facts=facts)
    assert found.ignored == ("fact_orders", "raw.orders.notes")
    assert "fact_orders, raw.orders.notes" in pages.render("unusual.html", answer=found)


def test_a_series_has_its_band_as_it_was_learned_for_each_day(ops: Connection, ask: Ask) -> None:
    history = of_weekdays(ROWS, 60)
    observe(ops, "run", history)
    found = ask(series.read, 30, *_parts(ROWS), facts=FACTS)
    assert [one.day for one in found.values] == days(30)
    assert found.values[-1].expected == expect.expected(history[:-1], LAST, Measure.ROWS, 1)
    assert found.values[-1].usual.endswith(" to 110") or " to " in found.values[-1].usual
    young = ask(series.read, 90, *_parts(ROWS), facts=FACTS)
    assert [one.expected is None for one in young.values] == [True] * expect.LEAST_DAYS + [False] * 32


def test_what_is_kept_of_a_band_is_not_the_past_that_it_was_worked_out_from(ops: Connection, ask: Ask) -> None:
    """Which each look reads anew, 17 kB of it."""
    of_page = tracemalloc.Filter(inclusive=True, filename_pattern="*/plugins/data_health/*")
    history, new = of_weekdays(ROWS, 150), 10
    observe(ops, "run", history[:-new])
    ask(series.read, 30, *_parts(ROWS), facts=FACTS)
    tracemalloc.start()
    try:
        for number, one in enumerate(history[-new:]):
            observe(ops, f"run {number}", [one])
            ask(series.read, 30, *_parts(ROWS), facts=FACTS)
        gc.collect()
        kept = tracemalloc.take_snapshot().filter_traces([of_page]).statistics("filename")
    finally:
        tracemalloc.stop()
    assert sum(one.size for one in kept) < new * 4_000


def test_a_share_is_judged_by_the_rows_that_it_is_of(ops: Connection, ask: Ask) -> None:
    history = [Observation(NULLS, day, 0.2) for day in days(40)]
    observe(ops, "run", [*history, *(Observation(ROWS, day, 25.0) for day in days(40))])
    [*_, newest] = ask(series.read, 30, *_parts(NULLS), facts=FACTS).values
    assert newest.expected == expect.expected(history[:-1], LAST, Measure.NULLS, 2, rows={LAST: 25.0})
    assert newest.expected != expect.expected(history[:-1], LAST, Measure.NULLS, 2)


def test_a_day_that_somebody_expected_is_learned_from_until_they_end_their_answer(ops: Connection, ask: Ask) -> None:
    odd = LAST - timedelta(days=20)
    history = [replace(one, value=400.0) if one.day == odd else one for one in of_weekdays(ROWS, 60)]
    observe(ops, "run", history)
    given = answers.give(ops, Kind.EXPECTED, About(*_parts(ROWS), day=odd), "ada", "a holiday")
    learned = ask(series.read, 30, *_parts(ROWS), facts=FACTS).values[-1].expected
    answers.end(ops, given.answer_id, "ada", "it was none")
    [*_, ended] = ask(series.read, 30, *_parts(ROWS), facts=FACTS).values
    assert learned == expect.expected(history[:-1], LAST, Measure.ROWS, 1, fine={odd})
    assert ended.expected == expect.expected(history[:-1], LAST, Measure.ROWS, 1)
    assert learned.most > ended.expected.most


def test_days_that_were_told_and_what_people_answered_are_marked(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [*of_weekdays(ROWS, 39, LAST - timedelta(days=1)), Observation(ROWS, LAST, 12.0)], [far_off()])
    answers.give(ops, Kind.EXPECTED, About(*_parts(ROWS)[:2], day=LAST), "ada", "a <b>holiday</b>")
    answers.give(ops, Kind.EXPECTED, About(*_parts(NULLS)[:3], day=LAST), "bob", "of another series")
    found = ask(series.read, 90, *_parts(ROWS), facts=FACTS)
    [told] = found.unusual
    assert (told.day, told.usual, told.answers) == (LAST, "100 to 120", ("expected, by ada: a <b>holiday</b>",))
    page = pages.render("series.html", answer=found)
    assert "<b>holiday" not in page
    chart = found.values
    assert [one.day for one in chart if one.is_unusual] == [LAST]


def test_what_comes_from_data_is_escaped(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [Observation(OF_STATUS, LAST, 0.5)], [replace(far_off(OF_STATUS), value=0.5)])
    for page in (
        pages.render("series.html", answer=ask(series.read, 90, *_parts(OF_STATUS), facts=FACTS)),
        pages.render("unusual.html", answer=ask(unusual.read, facts=FACTS)),
    ):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_no_value_of_a_personal_column_is_shown(ops: Connection, ask: Ask) -> None:
    of_email = Series(shop.MART, Measure.SHARE, "email", "ada@example.com")
    without = Series(shop.MART, Measure.NULLS, "email")
    observe(ops, "run", [Observation(one, LAST, 0.5) for one in (of_email, without)], [far_off(of_email)])
    found = ask(unusual.read, facts=FACTS)
    assert "ada@example.com" not in pages.render("unusual.html", answer=found)
    assert [one.series for node in found.watched for one in node.series] == [without]
    with pytest.raises(LookupError, match="Nothing was observed"):
        ask(series.read, 90, *_parts(of_email), facts=FACTS)


def test_a_series_that_nobody_observed_is_not_there(ops: Connection, ask: Ask) -> None:
    with pytest.raises(LookupError, match=r"Nothing was observed of rows of raw\.orders"):
        ask(series.read, 90, *_parts(ROWS), facts=FACTS)


def test_a_series_of_what_the_project_has_no_more_is_still_told(ops: Connection, ask: Ask) -> None:
    observe(ops, "run", [Observation(one, LAST, 5.5) for one in (ROWS, ARRIVAL, REVENUE)])
    assert "Rows of orders" in pages.render("series.html", answer=ask(series.read, 30, *_parts(ROWS)))
    assert [node.name for node in ask(unusual.read, facts=Manifest({}, {})).watched] == ["revenue", "orders"]


PROVED = {
    "days": 90,
    "from": "2026-08-26",
    "to": "2026-11-23",
    "series": 312,
    "faults": [
        {"name": "half a day missing", "what": ["<orders>", "events"], "planted": 30, "caught": 28, "days_until": 1},
        {"name": "slow leak", "what": ["events"], "planted": 20, "caught": 19, "days_until": None},
    ],
    "is_enough": True,
    "large": {"planted": 40, "caught": 39},
    "false_alarms": [{"day": "2026-10-05", "series": vars(of)} for of in (ROWS, NULLS)],
}


def test_the_proof_is_told_in_words_and_by_fault(ops: Connection, ask: Ask) -> None:
    with ops.cursor() as cursor:
        cursor.execute("insert into ops.proofs (result) values (%s), (%s)", (Json({}), Json(PROVED)))
    page = pages.render("proof.html", answer=ask(proof.read, facts=FACTS))
    told = (
        "Of 50 faults planted in copies of 90 days, 47 would have been noticed, and 39 of the 40 of a fifth of the "
        "rows or more; 1 false alarm in these days."
    )
    assert told in page
    assert "Orders without promo_id" in page
    assert "&lt;orders&gt;, events" in page
    assert told in pages.render("unusual.html", answer=ask(unusual.read))


def test_without_a_proof_it_says_how_to_get_one(ask: Ask) -> None:
    assert "<code>make prove</code>" in pages.render("proof.html", answer=ask(proof.read))


def test_it_says_how_often_a_warning_of_a_promise_was_right(ops: Connection, ask: Ask) -> None:
    with ops.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.risks (due, promised_by, said_at, why, awaited, loaded_since, kept)
            select due, due + interval '1 hour', due, 'raw.orders is not there', '{}', due, kept
            from (values (now(), null), (now() - interval '1 day', true), (now() - interval '2 days', false))
                as risks (due, kept)
            """
        )
    page = pages.render("unusual.html", answer=ask(unusual.read))
    assert "2 warnings said that a promise was at risk, and 1 was right" in page
    assert page.index("not known yet") < page.index("<td>wrong") < page.index("<td>right")


def _parts(of: Series) -> tuple[str, Measure, str, str]:
    return of.unique_id, of.measure, of.column, of.item
