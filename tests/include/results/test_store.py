"""`ops` as the report and the gate read it: a run's last word on each node, and what the snapshot saw change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.results import store
from include.results.nodes import NodeResult
from include.warehouse import migrate

pytestmark = pytest.mark.db


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops` and one run that began."""
    migrate.upgrade()
    store.begin(db, "run", "release")
    return db


def result(status: str, unique_id: str = "test.t", resource_type: str = "test") -> NodeResult:
    return NodeResult(unique_id, resource_type, "t", status, "error", 0, "", 0.1, None)


def test_migrating_twice_changes_nothing(ops: Connection) -> None:
    migrate.upgrade()
    assert store.run(ops, "run") is not None


def test_a_retry_has_the_last_word(ops: Connection) -> None:
    store.record(ops, "run", "task", 1, [result("fail")])
    store.record(ops, "run", "task", 2, [result("pass")])
    assert [one.status for one in store.node_results(ops, "run")] == ["pass"]


def test_a_later_task_has_the_last_word(ops: Connection) -> None:
    store.record(ops, "run", "check_sources", 1, [result("pass")])
    store.record(ops, "run", "snapshot", 1, [result("fail")])
    assert [one.status for one in store.node_results(ops, "run")] == ["fail"]


def test_another_runs_results_are_its_own(ops: Connection) -> None:
    store.begin(ops, "other", "release")
    store.record(ops, "other", "task", 1, [result("pass")])
    assert store.node_results(ops, "run") == []


def test_a_run_that_is_cleared_keeps_its_start_and_its_release(ops: Connection) -> None:
    before = store.run(ops, "run")
    assert store.begin(ops, "run", "newer") == "release"
    assert store.run(ops, "run") == before


def test_who_built_a_model_last_is_known_over_all_runs(ops: Connection) -> None:
    store.begin(ops, "later", "release")
    store.record(ops, "run", "task", 1, [result("success", "model.m", "model")])
    store.record(ops, "later", "task", 1, [result("success", "model.m", "model")])
    assert {model: run_id for model, (run_id, _) in store.newest_builds(ops, None).items()} == {"model.m": "later"}
    assert store.newest_builds(ops, datetime.now(UTC)) == {}
    store.record(ops, "run", "task", 2, [result("error", "model.m", "model")])
    assert store.newest_builds(ops, None) == {}, "a model that failed last is nobody's"


@pytest.fixture
def snapshot(ops: Connection) -> Connection:
    """A snapshot in which two orders were shipped and one delivered just now, and one was shipped long ago."""
    with ops.cursor() as cursor:
        cursor.execute("set timezone to 'UTC'")
        cursor.execute(
            """
            create table snapshots.orders_snapshot (
                order_id text, status text, dbt_valid_from timestamp, dbt_valid_to timestamp
            )
            """
        )
        cursor.execute(
            """
            insert into snapshots.orders_snapshot
            select
                order_id,
                unnest(array[before, after]),
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
            select 'first seen', 'preparing', clock_timestamp()::timestamp, null
            """
        )
    return ops


CHANGES = [store.OrderChange("preparing", "shipped", ("a", "b")), store.OrderChange("shipped", "delivered", ("c",))]


def test_orders_that_changed_are_counted_by_change(snapshot: Connection) -> None:
    assert store.order_changes(snapshot, "run") == CHANGES


def test_a_change_is_told_by_one_run_however_often_it_is_reported(snapshot: Connection) -> None:
    store.told_changes(snapshot, "run")
    store.begin(snapshot, "next", "release")
    assert store.order_changes(snapshot, "run") == CHANGES
    assert store.order_changes(snapshot, "next") == []


def test_a_change_that_a_run_could_not_tell_is_told_by_the_next(snapshot: Connection) -> None:
    with snapshot.cursor() as cursor:
        cursor.execute("update ops.runs set changes_told_until = started_at where run_id = 'run'")
    store.begin(snapshot, "next", "release")
    assert store.order_changes(snapshot, "next") == CHANGES


def test_before_the_first_snapshot_nothing_changed(ops: Connection) -> None:
    assert store.order_changes(ops, "run") == []


def test_failing_rows_are_few_and_hide_personal_columns(ops: Connection) -> None:
    sql = "select n as user_id, 'ada@example.com' as email from generate_series(1, 9) as n order by 1"
    failed = NodeResult("test.t", "test", "t", "fail", "error", 9, "", 0.1, None, compiled_sql=sql)
    rows = store.failing_rows(ops, failed, frozenset({"email"}))
    assert rows == [{"user_id": str(n)} for n in range(1, 6)]


def test_results_are_forgotten_after_their_time_and_runs_are_not(ops: Connection) -> None:
    store.record(ops, "run", "task", 1, [result("pass", "test.old"), result("pass", "test.new")])
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.node_results set recorded_at = now() - interval '401 days' where unique_id = 'test.old'"
        )
    assert store.forget_results(ops, timedelta(days=400)) == 1
    assert [one.unique_id for one in store.node_results(ops, "run")] == ["test.new"]
    assert store.run(ops, "run") is not None
