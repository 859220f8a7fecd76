"""History is never lost without a word: a snapshot that is not as a run left it stops the run."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers, snapshots
from include.dbt_project.manifest import Manifest
from include.warehouse.login import at_a_shell

pytestmark = pytest.mark.db


def project(**config: object) -> Manifest:
    """A project with one snapshot."""
    node = {
        "resource_type": "snapshot",
        "name": "orders_snapshot",
        "alias": "orders_snapshot",
        "schema": "snapshots",
        "config": {"strategy": "check", "unique_key": "order_id", "check_cols": ["status"], **config},
    }
    return Manifest({"snapshot.greenery.orders_snapshot": node}, {})


@pytest.fixture
def taken(db: Connection) -> Connection:
    """A warehouse whose snapshot a run has written: three rows."""
    assert snapshots.problem(project()) is None
    with db.cursor() as cursor:
        cursor.execute("create table snapshots.orders_snapshot as select generate_series(1, 3) as order_id")
    snapshots.remember(project(), "run")
    return db


def do(db: Connection, statement: str) -> None:
    with db.cursor() as cursor:
        cursor.execute(statement)


def test_history_that_grew_is_fine(taken: Connection) -> None:
    do(taken, "insert into snapshots.orders_snapshot values (4)")
    assert snapshots.problem(project()) is None


def test_a_missing_table_is_not_created_anew(taken: Connection) -> None:
    do(taken, "drop table snapshots.orders_snapshot")
    assert "snapshots.orders_snapshot is missing, though a run has written 3 rows" in snapshots.problem(project())


def test_rows_that_are_gone_are_noticed(taken: Connection) -> None:
    do(taken, "delete from snapshots.orders_snapshot where order_id = 1")
    assert "holds 2 rows of history, fewer than the 3" in snapshots.problem(project())


@pytest.mark.parametrize("config", [{"check_cols": ["status", "tracking_id"]}, {"unique_key": "id"}])
def test_rows_that_would_be_compared_otherwise_are_noticed(taken: Connection, config: dict) -> None:
    problem = snapshots.problem(project(**config))
    assert f"{next(iter(config))} was" in problem
    assert "python -m include.daily.snapshots accept" in problem


def test_what_somebody_accepts_with_a_reason_goes_on(taken: Connection) -> None:
    do(taken, "drop table snapshots.orders_snapshot")
    assert snapshots.main(["accept", "--by", "ada", "--reason", " "]) == 1
    assert snapshots.problem(project()) is not None
    assert snapshots.main(["accept", "--by", "ada", "--reason", "a new shop"]) == 0
    assert snapshots.problem(project()) is None
    with taken.cursor() as cursor:
        cursor.execute("select action, decided_by, name_given, reason from ops.decisions")
        assert cursor.fetchall() == [("accept history", at_a_shell(taken), "ada", "a new shop")]
        cursor.execute("select headline from ops.messages")
        assert cursor.fetchall() == [("✋ Greenery data: the snapshots are accepted as they are",)]


def test_what_is_accepted_is_looked_at_as_a_whole(taken: Connection) -> None:
    buffers.begin(taken, "run")
    do(taken, "update ops.buffers set scan = false")
    snapshots.accept("an older copy")
    with taken.cursor() as cursor:
        cursor.execute("select scan from ops.buffers")
        assert cursor.fetchall() == [(True,)]
