"""Orders that changed status, day by day, and how long those that stand still have stood."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.results.orders import OrderChange
from plugins.data_health import pages
from plugins.data_health.views import orders
from plugins.data_health.views.orders import Day, Standing
from tests.plugins.conftest import Ask

pytestmark = pytest.mark.db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def snapshot(ops: Connection) -> Connection:
    with ops.cursor() as cursor:
        cursor.execute(
            "create table snapshots.orders_snapshot (order_id text, user_id text, status text, tracking_id text,"
            " dbt_valid_from timestamp, dbt_valid_to timestamp);"
            "grant select on snapshots.orders_snapshot to greenery_health"
        )
    return ops


def versions(ops: Connection, order_id: str, *seen: tuple[float, str | None], tracking: str | None = None) -> None:
    """What runs saw of an order, each so many days before now."""
    times = [NOW.replace(tzinfo=None) - timedelta(days=ago) for ago, _ in seen]
    with ops.cursor() as cursor:
        for (_, status), begun, ended in zip(seen, times, [*times[1:], None], strict=True):
            cursor.execute(
                "insert into snapshots.orders_snapshot values (%s, 'somebody', %s, %s, %s, %s)",
                (order_id, status, tracking, begun, ended),
            )


def test_a_change_is_told_on_the_day_of_the_run_that_saw_it_the_last_day_first(snapshot: Connection, ask: Ask) -> None:
    versions(snapshot, "a", (3, "preparing"), (1, "shipped"))
    versions(snapshot, "b", (3, "preparing"), (1, "shipped"), (0, "delivered"))
    changed = ask(orders.read, 30, at=NOW).changed
    assert changed == (
        Day(date(2026, 11, 24), 1, (OrderChange("shipped", "delivered", 1, ("b",)),)),
        Day(
            date(2026, 11, 23),
            2,
            (OrderChange("preparing", "shipped", 2, ("a", "b")),),
        ),
    )


def test_neither_a_new_order_nor_a_delivery_that_is_estimated_anew_is_a_change(snapshot: Connection, ask: Ask) -> None:
    versions(snapshot, "new", (0, "preparing"))
    versions(snapshot, "same", (2, "shipped"), (1, "shipped"))
    assert ask(orders.read, 30, at=NOW).changed == ()


def test_days_go_back_from_today_and_no_further(snapshot: Connection, ask: Ask) -> None:
    versions(snapshot, "in", (40, "preparing"), (29, "shipped"))
    versions(snapshot, "out", (40, "preparing"), (30, "shipped"))
    assert [day.day for day in ask(orders.read, 30, at=NOW).changed] == [date(2026, 10, 26)]
    assert [day.orders for day in ask(orders.read, 90, at=NOW).changed] == [1, 1]


def test_many_orders_are_counted_and_the_page_of_the_day_names_them(snapshot: Connection, ask: Ask) -> None:
    for number in range(25):
        versions(snapshot, f"o{number:02}", (2, "preparing"), (1, "shipped"))
    [day] = ask(orders.read, 30, at=NOW).changed
    assert (day.orders, len(day.changes[0].first)) == (25, orders.NAMED)
    whole = ask(orders.read_day, day.day, at=NOW)
    assert whole.changes[0].first == tuple(f"o{number:02}" for number in range(25))
    assert ">o24<" in pages.render("orders_of_day.html", answer=whole)


def test_orders_of_long_ago_are_counted_only(snapshot: Connection, ask: Ask) -> None:
    versions(snapshot, "old", (60, "preparing"), (20, "shipped"))
    assert ask(orders.read, 30, at=NOW).changed[0].changes == (OrderChange("preparing", "shipped", 1, ()),)


def test_a_day_without_a_change_is_empty(snapshot: Connection, ask: Ask) -> None:
    found = ask(orders.read_day, date(2026, 1, 1), at=NOW)
    assert found == Day(date(2026, 1, 1), 0, ())
    assert "no run of that day saw an order change" in pages.render("orders_of_day.html", answer=found)


def test_orders_stand_in_their_status_since_it_changed_and_not_since_their_delivery_did(
    snapshot: Connection, ask: Ask
) -> None:
    versions(snapshot, "today", (5, "preparing"), (0.5, "shipped"))
    versions(snapshot, "two", (9, "preparing"), (2, "shipped"), (0.5, "shipped"))
    versions(snapshot, "six", (6, "shipped"), (0.5, "shipped"))
    versions(snapshot, "ten", (10, "shipped"))
    versions(snapshot, "odd", (1, None))
    assert ask(orders.read, 30, at=NOW).standing == (
        Standing("shipped", 4, 1, 1, 1, 1, NOW - timedelta(days=10)),
        Standing(None, 1, 0, 1, 0, 0, NOW - timedelta(days=1)),
    )


def test_hostile_values_are_escaped_and_nobody_is_named(snapshot: Connection, ask: Ask) -> None:
    hostile = "<script>alert(1)</script>"
    versions(snapshot, hostile, (1, hostile), (0, "shipped"), tracking="a parcel")
    page = pages.render("orders.html", answer=ask(orders.read, 30, at=NOW))
    assert page.count("&lt;script&gt;alert(1)") >= 3
    assert "<script>alert" not in page
    assert "somebody" not in page
    assert "a parcel" not in page


def test_a_warehouse_without_a_snapshot_says_so(ops: Connection, ask: Ask) -> None:
    found = ask(orders.read, 30)
    assert not found.recorded
    assert "There is no history of orders yet" in pages.render("orders.html", answer=found)
    with pytest.raises(LookupError, match="orders_snapshot"):
        ask(orders.read_day, date(2026, 1, 1))


def test_a_shop_without_tracking_numbers_has_changes_all_the_same(snapshot: Connection, ask: Ask) -> None:
    versions(snapshot, "a", (1, "preparing"), (0, "shipped"))
    with snapshot.cursor() as cursor:
        cursor.execute("alter table snapshots.orders_snapshot drop column tracking_id")
    assert ask(orders.read, 30, at=NOW).changed[0].changes[0].first == ("a",)
