"""The figures of a message: of what is published, for a day that was over, and against what was stated before."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import figures, publications, runs
from include.results.figures import Figure, Figures
from include.words import Unit

pytestmark = pytest.mark.db

# A project that tells three, one of each unit.
NAMES = ("orders", "revenue", "conversion")
FACTS = Manifest(
    {},
    {},
    metrics={
        name: {"name": name, "label": name.capitalize(), "config": {"meta": {"in_message": place, "unit": unit}}}
        for place, (name, unit) in enumerate(zip(NAMES, Unit, strict=True))
    },
)
BY_DAY = {"2026-11-22": (30, 300.5, 0.5), "2026-11-23": (40, 410.25, 0.625), "2026-11-24": (2, 20, None)}


def orders(value: float, former: float | None = None, day: int = 23) -> Figure:
    return Figure("orders", "Orders", Unit.NUMBER, value, former, date(2026, 11, day))


def revenue(value: float, former: float | None = None, day: int = 23) -> Figure:
    return Figure("revenue", "Revenue", Unit.DOLLARS, value, former, date(2026, 11, day))


def repeat_rate(value: float, former: float | None = None) -> Figure:
    return Figure("repeat_rate", "Repeat rate", Unit.PERCENT, value, former, date(2026, 11, 24))


@pytest.fixture
def marts(db: Connection) -> Connection:
    """A warehouse with the mart that figures come from, and two runs."""
    for run_id in ("yesterday", "today"):
        runs.begin(db, run_id, "release")
    with db.cursor() as cursor:
        cursor.execute(
            """
            create table analytics.daily_metrics
                (day date, metric text, value numeric(16, 4), numerator numeric(16, 2), denominator bigint);
            insert into analytics.daily_metrics values
                ('2026-11-23', 'repeat_rate', 0.6667, 2, 3), ('2026-11-24', 'repeat_rate', 0.75, 3, 4)
            """
        )
    for day, values in BY_DAY.items():
        tell(db, day, **dict(zip(NAMES, values, strict=True)))
    return db


def tell(marts: Connection, day: str, **metrics: float | None) -> None:
    """Put a day into `daily_metrics`."""
    with marts.cursor() as cursor:
        for metric, value in metrics.items():
            cursor.execute("insert into analytics.daily_metrics values (%s, %s, %s)", (day, metric, value))


def publish(marts: Connection, run_id: str, day: str) -> None:
    """Note a publish at six o'clock of a day."""
    with marts.cursor() as cursor:
        publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
        cursor.execute(
            "update ops.publications set published_at = %(at)s, data_as_of = %(at)s where run_id = %(run)s",
            {"at": f"{day} 06:00+00", "run": run_id},
        )


def gathered(marts: Connection) -> Figures:
    return figures.gather(marts, publications.live(marts), FACTS)


def test_the_day_is_the_last_that_was_over(marts: Connection) -> None:
    publish(marts, "today", "2026-11-24")
    found = gathered(marts)
    assert found.day == date(2026, 11, 23)
    assert found.daily == (
        orders(40),
        revenue(410.25),
        Figure("conversion", "Conversion", Unit.PERCENT, 0.625, None, found.day),
    )
    assert (found.repeat_rate, found.repeat_buyers, found.buyers) == (repeat_rate(0.75), 3, 4)


def loaded(marts: Connection, *at: str) -> None:
    """Note when raw was last loaded before the run of today."""
    with marts.cursor() as cursor:
        for table, moment in zip(("orders", "products"), at, strict=False):
            cursor.execute(
                "insert into ops.publication_loads select publication_id, %s, %s from ops.publications"
                " where run_id = 'today'",
                (table, moment),
            )


@pytest.mark.parametrize(
    ("loads", "day"),
    [
        (("2026-11-24 23:59:59+00",), 23),
        (("2026-11-24 05:00+00",), 23),
        (("2026-11-24 05:00+00", "2026-11-25 00:00+00"), 24),
        (("2026-11-24 19:30-05",), 24),
    ],
)
def test_a_day_that_was_not_over_when_raw_was_loaded_is_not_told_by_a_later_run(
    marts: Connection, loads: tuple[str, ...], day: int
) -> None:
    """A run that starts a day late builds from a load that has the night of the 24th alone."""
    publish(marts, "today", "2026-11-25")
    loaded(marts, *loads)
    assert gathered(marts).day == date(2026, 11, day)


def test_where_nobody_notes_loads_a_run_that_began_before_midnight_tells_the_day_before(marts: Connection) -> None:
    publish(marts, "today", "2026-11-25")
    with marts.cursor() as cursor:
        cursor.execute("update ops.publications set raw_as_of = '2026-11-24 23:58+00'")
    assert gathered(marts).day == date(2026, 11, 23)


def test_of_a_single_day_it_is_that_day(marts: Connection) -> None:
    with marts.cursor() as cursor:
        cursor.execute("delete from analytics.daily_metrics where day < '2026-11-24'")
    publish(marts, "today", "2026-11-24")
    found = gathered(marts)
    assert (found.day, found.daily) == (date(2026, 11, 24), (orders(2, day=24), revenue(20, day=24)))


def test_a_day_without_an_order_or_a_session_is_not_told(marts: Connection) -> None:
    tell(marts, "2026-11-25", orders=0, sessions=0, revenue=0, conversion=None, users=1)
    publish(marts, "today", "2026-11-26")
    found = gathered(marts)
    assert (found.day, found.daily) == (date(2026, 11, 24), (orders(2, day=24), revenue(20, day=24)))


def test_a_day_with_a_session_and_no_order_is_told(marts: Connection) -> None:
    tell(marts, "2026-11-25", orders=0, sessions=3)
    publish(marts, "today", "2026-11-26")
    assert (gathered(marts).day, gathered(marts).daily) == (date(2026, 11, 25), (orders(0, day=25),))


def test_where_no_day_had_an_order_or_a_session_none_is_told(marts: Connection) -> None:
    with marts.cursor() as cursor:
        cursor.execute("update analytics.daily_metrics set value = 0 where metric = 'orders'")
    publish(marts, "today", "2026-11-26")
    assert (gathered(marts).day, gathered(marts).daily) == (None, ())


@pytest.mark.parametrize(("published", "days"), [("24", None), ("25", None), ("26", 2), ("30", 6)])
def test_that_the_day_lies_more_than_a_day_before_the_publish_is_known(
    marts: Connection, published: str, days: int | None
) -> None:
    with marts.cursor() as cursor:
        cursor.execute("delete from analytics.daily_metrics where day < '2026-11-24'")
    publish(marts, "today", f"2026-11-{published}")
    assert (gathered(marts).day, gathered(marts).days_before) == (date(2026, 11, 24), days)


def test_figures_are_compared_with_what_the_publish_before_stated(marts: Connection) -> None:
    publish(marts, "yesterday", "2026-11-23")
    figures.keep(marts, "yesterday", Figures(repeat_rate=repeat_rate(0.7), daily=(orders(30),)))
    publish(marts, "today", "2026-11-24")
    found = gathered(marts)
    assert found.former_as_of == datetime(2026, 11, 23, 6, tzinfo=UTC)
    assert (found.daily[0], found.daily[1]) == (orders(40, 30), revenue(410.25, None))
    assert found.repeat_rate == repeat_rate(0.75, 0.7)


def test_what_a_run_stated_that_was_not_published_is_no_measure(marts: Connection) -> None:
    figures.keep(marts, "yesterday", Figures(daily=(orders(30),)))
    publish(marts, "today", "2026-11-24")
    assert gathered(marts).daily[0] == orders(40, None)


def test_what_was_stated_is_found_again(marts: Connection) -> None:
    publish(marts, "yesterday", "2026-11-23")
    figures.keep(marts, "yesterday", gathered(marts))
    publish(marts, "today", "2026-11-24")
    found = gathered(marts)
    assert [figure.former for figure in (*found.daily, found.repeat_rate) if figure] == [30, 300.5, 0.5, 0.75]


@pytest.mark.parametrize("otherwise", ["drop column value", "alter value type text using value || ' or so'"])
def test_a_project_whose_metrics_are_otherwise_has_no_figures_and_no_error(marts: Connection, otherwise: str) -> None:
    with marts.cursor() as cursor:
        cursor.execute(f"alter table analytics.daily_metrics {otherwise}")
    publish(marts, "today", "2026-11-24")
    assert gathered(marts).stated == ()


def test_before_the_first_publish_there_are_none(db: Connection) -> None:
    assert gathered(db) == Figures()
