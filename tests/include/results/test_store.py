"""`ops` as the report and the gate read it: a run's last word on each node, and what the snapshot saw change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from psycopg2.extensions import connection as Connection

from include.results import store
from include.results.artifacts import NodeResult
from include.warehouse import migrate

pytestmark = pytest.mark.db

SNAPSHOT = """
create table snapshots.orders_snapshot (order_id text, status text, dbt_valid_from timestamp, dbt_valid_to timestamp)
"""


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


def test_a_run_that_is_cleared_keeps_its_start(ops: Connection) -> None:
    before = store.run(ops, "run").started_at
    store.begin(ops, "run", "newer")
    assert (store.run(ops, "run").started_at, store.run(ops, "run").release) == (before, "newer")


def test_models_built_before_a_moment_do_not_count(ops: Connection) -> None:
    store.record(ops, "run", "task", 1, [result("success", "model.m", "model")])
    assert store.models_built_since(ops, "run", None) == {"model.m"}
    assert store.models_built_since(ops, "run", datetime.now(UTC)) == frozenset()


def test_orders_that_changed_are_counted_by_change(ops: Connection) -> None:
    with ops.cursor() as cursor:
        cursor.execute(SNAPSHOT)
        cursor.execute(
            """
            insert into snapshots.orders_snapshot values
                ('a', 'preparing', '2026-01-01', '2026-01-02'), ('a', 'shipped', '2026-01-02', null),
                ('b', 'preparing', '2026-01-01', '2026-01-02'), ('b', 'shipped', '2026-01-02', null),
                ('c', 'shipped', '2026-01-01', '2026-01-02'), ('c', 'delivered', '2026-01-02', null),
                ('same status', 'shipped', '2026-01-01', '2026-01-02'), ('same status', 'shipped', '2026-01-02', null),
                ('first seen', 'preparing', '2026-01-02', null),
                ('earlier', 'preparing', '2025-12-01', '2025-12-02'), ('earlier', 'shipped', '2025-12-02', null)
            """
        )
    assert store.order_changes(ops, datetime(2026, 1, 2, tzinfo=UTC)) == [
        store.OrderChange("preparing", "shipped", ("a", "b")),
        store.OrderChange("shipped", "delivered", ("c",)),
    ]


def test_before_the_first_snapshot_nothing_changed(ops: Connection) -> None:
    assert store.order_changes(ops, datetime(2026, 1, 2, tzinfo=UTC)) == []


def test_failing_rows_are_few_and_hide_personal_columns(ops: Connection) -> None:
    sql = "select n as user_id, 'ada@example.com' as email from generate_series(1, 9) as n order by 1"
    failed = NodeResult("test.t", "test", "t", "fail", "error", 9, "", 0.1, None, compiled_sql=sql)
    rows = store.failing_rows(ops, failed, frozenset({"email"}))
    assert rows == [{"user_id": str(n)} for n in range(1, 6)]
