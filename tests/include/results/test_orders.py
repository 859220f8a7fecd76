"""What the snapshot saw change in the orders, each told once."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.results import orders, runs

pytestmark = pytest.mark.db


@pytest.fixture
def snapshot(ops: Connection) -> Connection:
    """A snapshot in which two orders were shipped and one delivered just now, and one was shipped long ago."""
    with ops.cursor() as cursor:
        cursor.execute("set timezone to 'UTC'")
        cursor.execute(
            """
            create table snapshots.orders_snapshot (
                order_id text, status text, tracking_id text, dbt_valid_from timestamp, dbt_valid_to timestamp
            )
            """
        )
        cursor.execute(
            """
            insert into snapshots.orders_snapshot
            select
                order_id,
                unnest(array[before, after]),
                unnest(array[null, 'track ' || order_id]),
                unnest(array[closed - interval '1 day', closed]),
                unnest(array[closed, null])
            from (
                values
                    ('a', 'preparing', 'shipped', clock_timestamp()::timestamp),
                    ('b', 'preparing', 'shipped', clock_timestamp()::timestamp),
                    ('c', 'shipped', 'delivered', clock_timestamp()::timestamp),
                    ('same status', 'shipped', 'shipped', clock_timestamp()::timestamp),
                    ('long ago', 'preparing', 'shipped', timestamp '2020-01-01')
            ) as changed (order_id, before, after, closed)
            union all
            select 'first seen', 'preparing', null, clock_timestamp()::timestamp, null
            """
        )
    return ops


CHANGES = [
    orders.OrderChange("preparing", "shipped", 2, ("a", "b")),
    orders.OrderChange("shipped", "delivered", 1, ("c",)),
]


def test_orders_that_changed_are_counted_by_change(snapshot: Connection) -> None:
    assert orders.changes(snapshot, "run") == CHANGES


def test_a_change_is_told_by_one_run_however_often_it_is_reported(snapshot: Connection) -> None:
    orders.note_told(snapshot, "run")
    runs.begin(snapshot, "next", "release")
    assert orders.changes(snapshot, "run") == CHANGES
    assert orders.changes(snapshot, "next") == []


def test_a_change_that_is_dated_ahead_silences_no_later_one(snapshot: Connection) -> None:
    def change(order: str, at: str) -> None:
        with snapshot.cursor() as cursor:
            cursor.execute(
                "insert into snapshots.orders_snapshot select %(order)s, unnest(array['new', 'lost']), null,"
                f" unnest(array['2020-01-01', moment]), unnest(array[moment, null]) from (select {at}) as now (moment)",
                {"order": order},
            )

    change("ahead", "(now() + interval '10 days')::timestamp")
    orders.note_told(snapshot, "run")
    change("later", "clock_timestamp()::timestamp")
    runs.begin(snapshot, "next", "release")
    [told] = orders.changes(snapshot, "next")
    assert told.first == ("later",)


def test_a_change_that_a_run_could_not_tell_is_told_by_the_next(snapshot: Connection) -> None:
    with snapshot.cursor() as cursor:
        cursor.execute("update ops.runs set changes_told_until = started_at where run_id = 'run'")
    runs.begin(snapshot, "next", "release")
    assert orders.changes(snapshot, "next") == CHANGES


def test_of_many_orders_the_first_are_named_and_all_are_counted(snapshot: Connection) -> None:
    with snapshot.cursor() as cursor:
        cursor.execute(
            """
            insert into snapshots.orders_snapshot
            select 'm' || n, unnest(array['new', 'lost']), null, moment, unnest(array[moment, null])
            from generate_series(1, 30) as n
            cross join (select clock_timestamp()::timestamp as moment) as now
            """
        )
        cursor.execute("update snapshots.orders_snapshot set dbt_valid_from = '2020-01-01' where status = 'new'")
    [many] = [change for change in orders.changes(snapshot, "run") if change.after == "lost"]
    assert (many.count, many.first) == (30, ("m1", "m10", "m11", "m12", "m13"))


def test_before_the_first_snapshot_nothing_changed(ops: Connection) -> None:
    assert orders.changes(ops, "run") == []
