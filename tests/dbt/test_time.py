"""Days on which calendars go wrong: a leap day, a year's turn, nights on which clocks change. Figures are of UTC days.

No zone but UTC can be set for them; those of the server and of the database must not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import pytest

from tests.dbt.conftest import WAREHOUSE, Dbt, KeptShop

pytestmark = [pytest.mark.db, pytest.mark.torture]

# In Berlin the third has 23 hours and the fourth 25.
ODD_DAYS = (date(2024, 2, 29), date(2025, 12, 31), date(2026, 3, 29), date(2026, 10, 25))
# With the day before and the day after: on each an order, a visit and a view in each hour, and nothing on other days.
DAYS = tuple(odd + timedelta(days=beside) for odd in ODD_DAYS for beside in (-1, 0, 1))
DELIVERED_AFTER = timedelta(hours=25)

ROWS = """
insert into raw.users (user_id, address_id, created_at, updated_at, _loaded_at)
values ('ann', 'home', '2024-02-28', '2024-02-28', now());
insert into raw.addresses (address_id, _loaded_at) values ('home', now());
insert into raw.products (product_id, name, price, inventory, _loaded_at) values ('fern', 'Fern', 10, 100000, now());
insert into raw.orders (
    order_id, user_id, address_id, created_at, order_cost, shipping_cost, order_total, status, delivered_at, _loaded_at
)
select to_char(at, 'YYYY-MM-DD HH24'), 'ann', 'home', at at time zone 'UTC', 10, 0, 10, 'delivered',
    (at + interval '25 hours') at time zone 'UTC', now()
from hours;
insert into raw.order_items (order_id, product_id, quantity, _loaded_at)
select to_char(at, 'YYYY-MM-DD HH24'), 'fern', 1, now() from hours;
insert into raw.events (event_id, session_id, user_id, created_at, event_type, product_id, _loaded_at)
select to_char(at, 'YYYY-MM-DD HH24'), to_char(at, 'YYYY-MM-DD HH24'), 'ann', at at time zone 'UTC', 'page_view',
    'fern', now()
from hours
"""


@pytest.fixture(scope="module")
def built(dbt: Dbt, shop: KeptShop) -> Iterator[KeptShop]:
    """A shop of these days, built in a database whose zone changes its clocks."""
    shop.reset()
    shop.query("create temporary table hours (at timestamp)")
    for day in DAYS:
        first = datetime.combine(day, time(0, 30))
        shop.query(
            "insert into hours select generate_series(%s, %s, interval '1 hour')", first, first + timedelta(hours=23)
        )
    for statement in ROWS.split(";"):
        shop.query(statement)
    shop.note_loads()
    shop.query(f"alter database {WAREHOUSE} set timezone to 'Europe/Berlin'")
    statuses = dbt("run", "--select", "+daily_metrics", "+fact_product_sessions_daily")
    assert set(statuses.values()) == {"success"}
    yield shop
    shop.connection.close()
    shop.connect()  # in its own zone again, and without the hours


def test_each_utc_day_has_its_24_hours(built: KeptShop) -> None:
    told = {
        metric: dict(built.query("select day, value::int from analytics_next.daily_metrics where metric = %s", metric))
        for metric in ("orders", "sessions", "units")
    }
    for metric in ("orders", "sessions", "units"):
        assert {day: value for day, value in told[metric].items() if value} == dict.fromkeys(DAYS, 24), metric
    delivered: dict[date, int] = {}
    for day in DAYS:
        for hour in range(24):
            on = (datetime.combine(day, time(hour, 30)) + DELIVERED_AFTER).date()
            delivered[on] = delivered.get(on, 0) + 1
    arrived = built.query(
        "select day, denominator::int from analytics_next.daily_metrics"
        " where metric = 'mean_delivery_hours' and denominator > 0"
    )
    assert dict(arrived) == delivered


def test_an_hour_is_an_hour_while_clocks_are_changed(built: KeptShop) -> None:
    assert built.query("select distinct delivery_hours::int from analytics_next.fact_orders") == [(25,)]


def test_no_day_is_lacking_or_there_twice(built: KeptShop) -> None:
    days = [day for (day,) in built.query("select day from analytics_next.dim_days order by day")]
    first, last = date(2024, 2, 28), max(DAYS) + timedelta(days=2)
    assert days == [first + timedelta(days=nth) for nth in range((last - first).days + 1)]


def test_a_product_has_its_views_and_orders_of_each_day(built: KeptShop) -> None:
    rows = built.query("select day, page_views, orders from analytics_next.fact_product_sessions_daily order by day")
    assert rows == [(day, 24, 24) for day in DAYS]
