"""What is found of a run: what is put together, what people answered, what it holds, since when, and what is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from include.answers.answer import About, Answer, Kind
from include.dbt_project.manifest import Manifest
from include.results import runs
from include.unusual.find import find, judged, of_run, of_series
from include.unusual.series import Measure, Observation, Series, Unusual
from tests.include.unusual.conftest import DAILY, FACTS, ORDERS, PLACES, model, project

MONDAY = date(2026, 1, 5)
METRIC = "metric.p.orders"
ROWS, NOTE = Series(ORDERS, Measure.ROWS), Series(ORDERS, Measure.NULLS, "note")
FACT_ROWS, VALUE = Series(FACTS, Measure.MEAN, "amount"), Series(METRIC, Measure.VALUE)
Past = dict[Series, list[Observation]]


def a_shop() -> Manifest:
    """A mart reads the orders, and the metrics read the mart."""
    reads = {"depends_on": {"nodes": [ORDERS]}}
    return project(
        **{
            FACTS: {**model("fact_orders"), **reads},
            DAILY: {**model("daily_metrics"), "depends_on": {"nodes": [FACTS]}},
        }
    )


def past(days: int = 60, **newest: float) -> Past:
    """Days that were all much alike; of the last one, what is given by name."""
    ordinary = {"rows": ROWS, "note": NOTE, "fact": FACT_ROWS, "value": VALUE, "places": Series(PLACES, Measure.ROWS)}
    levels = {"rows": 400.0, "note": 0.0, "fact": 50.0, "value": 390.0, "places": 300.0}
    wave = (0, 5, -4, 2, -6, 3, -1, 4)
    found = {}
    for name, series in ordinary.items():
        values = [levels[name] + (wave[n % 8] if levels[name] else 0) for n in range(days)]
        if name in newest:
            values[-1] = newest[name]
        found[series] = [Observation(series, MONDAY + timedelta(days=n), value) for n, value in enumerate(values)]
    return found


def with_days(one: Past, series: Series, *values: float) -> Past:
    """The same, with more days of all series; of one of them with these values."""
    last = one[series][-1].day
    return {
        other: of
        + [
            Observation(other, last + timedelta(days=n), value if other == series else of[-8 - n].value)
            for n, value in enumerate(values, start=1)
        ]
        for other, of in one.items()
    }


def newest(one: Past) -> date:
    return one[ROWS][-1].day


def an_answer(kind: Kind, about: About, waives: bool = False) -> Answer:
    return Answer(1, datetime(2026, 3, 6, tzinfo=UTC), "ann", kind, about, "a reason", waives=waives)


def the(found: Iterable[Unusual]) -> dict[Series, Series | None]:
    return {one.series: one.because for one in found}


def test_a_day_like_the_others_has_nothing_unusual() -> None:
    days = past()

    assert judged(days, newest(days), a_shop()) == ()


def test_a_lost_load_explains_its_columns_its_marts_and_its_metrics() -> None:
    days = past(rows=100, note=1, fact=500, value=90)

    found = judged(days, newest(days), a_shop())
    assert the(found) == {ROWS: None, NOTE: ROWS, FACT_ROWS: ROWS, VALUE: ROWS}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_of_a_mart_and_its_metric_the_mart_explains() -> None:
    days = past(fact=500, value=90)

    assert the(judged(days, newest(days), a_shop())) == {FACT_ROWS: None, VALUE: FACT_ROWS}


def test_tables_of_which_less_came_at_once_are_told_together_and_others_are_not() -> None:
    less = past(rows=100, places=20)
    less_and_more = past(rows=100, places=2_000)
    places = Series(PLACES, Measure.ROWS)

    assert the(judged(less, newest(less), a_shop())) == {ROWS: places, places: None}
    assert the(judged(less_and_more, newest(less_and_more), a_shop())) == {ROWS: None, places: None}


def test_a_slow_build_explains_nothing() -> None:
    slow = Series(FACTS, Measure.SECONDS)
    days = past(value=90)
    days[slow] = [Observation(slow, one.day, 1.0) for one in days[ROWS]]
    days[slow][-1] = replace(days[slow][-1], value=900.0)

    assert the(judged(days, newest(days), a_shop())) == {slow: None, VALUE: None}


def test_a_series_that_was_not_observed_on_the_day_is_not_told_again() -> None:
    days = past(rows=100)
    later = newest(days) + timedelta(days=1)
    days[VALUE].append(Observation(VALUE, later, 390.0))

    assert judged(days, later, a_shop()) == ()


def test_what_its_owner_ignores_is_not_watched_and_what_holds_is_marked() -> None:
    days = past(rows=100, note=1)
    ignored = a_shop()
    ignored.sources[ORDERS]["columns"]["note"] = {"config": {"meta": {"unusual": "ignore"}}}
    holding = a_shop()
    holding.sources[ORDERS]["config"] = {"meta": {"unusual": "hold"}}

    assert the(judged(days, newest(days), ignored)) == {ROWS: None}
    assert {one.holds for one in judged(days, newest(days), a_shop())} == {False}
    assert {one.holds for one in judged(days, newest(days), holding)} == {True}


def test_a_new_level_is_new_once_then_known_since_and_after_four_weeks_it_is_what_is_usual() -> None:
    days, told, since = past(), [], set()
    first = newest(days) + timedelta(days=1)
    for n in range(35):
        days = with_days(days, ROWS, 200 + (0, 4, -3, 2)[n % 4])
        found = judged(days, newest(days), a_shop(), told)
        told += found
        since |= {one.since for one in found}

    assert since == {first}
    assert {one.day for one in told} == {first + timedelta(days=n) for n in range(28)}


def test_what_is_expected_is_not_said_again_for_this_reason() -> None:
    days = past(rows=900)
    day = newest(days)
    found = judged(days, day, a_shop())
    said = an_answer(Kind.EXPECTED, About(ORDERS, Measure.ROWS, day=day))

    assert the(found) == {ROWS: None}
    assert judged(days, day, a_shop(), answers=[said]) == ()
    again = with_days(days, ROWS, 400, 880)
    assert the(judged(again, newest(again), a_shop(), found)) == {ROWS: None}
    assert judged(again, newest(again), a_shop(), found, [said]) == ()
    other = with_days(days, ROWS, 400, 40)
    assert the(judged(other, newest(other), a_shop(), found, [said])) == {ROWS: None}


def test_what_is_expected_is_said_again_weeks_later() -> None:
    """Else one answer to a day without rows would hide such days for months."""
    days = past(rows=0)
    day = newest(days)
    found = judged(days, day, a_shop())
    said = an_answer(Kind.EXPECTED, About(ORDERS, Measure.ROWS, day=day))

    soon = with_days(days, ROWS, *[400] * 6, 0)
    assert judged(soon, newest(soon), a_shop(), found, [said]) == ()
    later = with_days(days, ROWS, *[400] * 34, 0)
    assert the(judged(later, newest(later), a_shop(), found, [said])) == {ROWS: None}


def test_expected_is_also_what_the_expected_one_explained() -> None:
    days = past(rows=900, value=880)
    day = newest(days)
    found = judged(days, day, a_shop())
    said = an_answer(Kind.EXPECTED, About(ORDERS, Measure.ROWS, day=day))

    assert the(found) == {ROWS: None, VALUE: ROWS}
    again = with_days(with_days(days, VALUE, 390), VALUE, 870)
    assert the(judged(again, newest(again), a_shop(), found)) == {VALUE: None}
    assert judged(again, newest(again), a_shop(), found, [said]) == ()


def test_a_mute_ends_a_hold_only_where_it_says_so() -> None:
    days = past(rows=100)
    facts = a_shop()
    facts.sources[ORDERS]["config"] = {"meta": {"unusual": "hold"}}
    muted = an_answer(Kind.MUTE, About(ORDERS))

    assert [one.holds for one in judged(days, newest(days), facts, answers=[muted])] == [True]
    waived = replace(muted, waives=True)
    assert [one.holds for one in judged(days, newest(days), facts, answers=[waived])] == [False]


def test_a_slow_leak_is_told_of_its_seven_days() -> None:
    days, told = past(), []
    for n in range(25):
        days = with_days(days, ROWS, (400 + (0, 5, -4, 2, -6, 3, -1, 4)[n % 8]) * 0.995**n)
        told += judged(days, newest(days), a_shop(), told)

    assert told
    assert {one.days for one in told} == {7}


def test_rows_that_change_as_they_age_are_compared_with_days_as_young() -> None:
    delivered = Series(ORDERS, Measure.NULLS, "delivered_at")
    days = past()
    days[delivered] = [
        Observation(delivered, one.day, 0.02 if n < 40 else 0.9, afterwards=n < 40) for n, one in enumerate(days[ROWS])
    ]

    assert judged(days, newest(days), a_shop()) == ()
    learned = with_days(days, delivered, *[0.9] * 10, 0.02)
    assert the(judged(learned, newest(learned), a_shop())) == {delivered: None}


@pytest.mark.db
def test_what_was_found_is_kept_once_a_run_and_read_back(db: Connection) -> None:
    days = past(rows=100, note=1, value=90)
    for run in ("first", "second"):
        runs.begin(db, run, "release")
    with db.cursor() as cursor:
        rows = [
            (one.series.unique_id, one.series.column, one.series.measure, one.day, one.value, "first")
            for of in days.values()
            for one in of
        ]
        execute_values(
            cursor,
            "insert into ops.observations (unique_id, column_name, measure, day, value, run_id) values %s",
            rows,
        )

    found = find(db, "first", a_shop(), ())
    assert the(found) == {ROWS: None, NOTE: ROWS, VALUE: ROWS}
    assert of_run(db, "first") == found
    assert find(db, "first", a_shop(), ()) == found  # a second try
    assert find(db, "second", a_shop(), ()) == found  # the same day again is not since an earlier one
    said = an_answer(Kind.EXPECTED, About(ORDERS, Measure.ROWS, day=newest(days)))
    for _ in range(2):  # as often as the run is tried
        assert find(db, "second", a_shop(), [said]) == ()
    assert of_run(db, "unheard of") == ()


def observe(connection: Connection, run_id: str, *observations: Observation) -> None:
    """What a run keeps of days, in place of what was kept of them before."""
    runs.begin(connection, run_id, "release")
    with connection.cursor() as cursor:
        cursor.execute("delete from ops.observations where day = any(%s)", ([one.day for one in observations],))
        execute_values(
            cursor,
            "insert into ops.observations (unique_id, column_name, measure, day, value, run_id) values %s",
            [
                (one.series.unique_id, one.series.column, one.series.measure, one.day, one.value, run_id)
                for one in observations
            ],
        )


@pytest.mark.db
def test_what_a_second_run_of_the_day_found_well_is_not_unusual_since_then(db: Connection) -> None:
    """A load that was mended before noon; the next day another one is lost."""
    days = past(rows=100)
    observe(db, "broken", *(one for of in days.values() for one in of))
    assert the(find(db, "broken", a_shop(), ())) == {ROWS: None}
    assert [one.day for one in of_series(db, ROWS)] == [newest(days)]

    observe(db, "mended", *(replace(of[-1], value=400.0 if one == ROWS else of[-1].value) for one, of in days.items()))
    assert find(db, "mended", a_shop(), ()) == ()
    assert of_series(db, ROWS) == ()
    assert the(of_run(db, "broken")) == {ROWS: None}, "it was told"
    lost = with_days(days, ROWS, 100)
    observe(db, "lost", *(of[-1] for of in lost.values()))
    assert [one.since for one in find(db, "lost", a_shop(), ())] == [newest(lost)]
