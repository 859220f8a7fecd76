"""What runs observed of the shop of `shop.py`, and what of it was unusual: as tests of the page fill it in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace
from datetime import date, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from include.results import runs
from include.unusual.series import Expected, Measure, Observation, Series, Unusual
from tests.plugins import shop

ROWS = Series(shop.ORDERS, Measure.ROWS)
NULLS = Series(shop.ORDERS, Measure.NULLS, "promo_id")
ARRIVAL = Series(shop.ORDERS, Measure.LOADED)
OF_STATUS = Series(shop.ORDERS, Measure.SHARE, "status", "<script>alert(1)</script>")
REVENUE = Series("metric.p.revenue", Measure.VALUE)
_ORDERS = shop.FACTS.sources[shop.ORDERS]
FACTS = replace(
    shop.FACTS,
    sources={shop.ORDERS: {**_ORDERS, "config": {**_ORDERS["config"], "event_time": "created_at"}}},
    metrics={
        "metric.p.revenue": {
            "name": "revenue",
            "label": "Revenue",
            "config": {"meta": {"in_message": 1, "unit": "dollars"}},
        }
    },
)
LAST = date(2026, 11, 23)


def days(number: int, last: date = LAST) -> list[date]:
    """So many UTC days, up to the last."""
    return [last - timedelta(days=back) for back in reversed(range(number))]


def of_weekdays(series: Series, number: int, last: date = LAST, scale: float = 1.0) -> list[Observation]:
    """Values that differ by weekday, and a little from week to week."""
    return [
        Observation(series, day, scale * (100 + 10 * day.weekday() + day.toordinal() * 7 % 5))
        for day in days(number, last)
    ]


def far_off(of: Series = ROWS, **more: Any) -> Unusual:
    """A value of the last day that is far from usual."""
    return Unusual(of, LAST, 12.0, Expected(110, 100, 120, 40), 9.0, LAST, **more)


def observe(ops: Connection, run_id: str, observations: Iterable[Observation], unusual: Iterable[Unusual] = ()) -> None:
    """A run that observed this, and found that to be unusual."""
    runs.begin(ops, run_id, "release")
    with ops.cursor() as cursor:
        execute_values(
            cursor,
            """
            insert into ops.observations (unique_id, measure, column_name, item, day, value, afterwards, run_id)
            values %s
            on conflict (unique_id, measure, column_name, item, day)
                do update set value = excluded.value, run_id = excluded.run_id, observed_at = excluded.observed_at
            """,
            [(*astuple(one.series), one.day, one.value, one.afterwards, run_id) for one in observations],
        )
        for one in unusual:
            cursor.execute(
                """
                insert into ops.unusual (
                    run_id, unique_id, measure, column_name, item, day, value, expected, least, most, score, since,
                    because, holds
                ) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                """,
                (
                    run_id,
                    *astuple(one.series),
                    one.day,
                    one.value,
                    *astuple(one.expected)[:3],
                    one.score,
                    one.since,
                    _because(one.because),
                    one.holds,
                ),
            )


def _because(series: Series | None) -> Json | None:
    names: Mapping[str, Any] = {} if series is None else vars(series)
    return (
        Json({"column_name" if name == "column" else name: value for name, value in names.items()}) if names else None
    )
