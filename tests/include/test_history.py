"""History is never lost without a word: a snapshot that is not as a run left it stops the run."""

from __future__ import annotations

import time

import pytest
from psycopg2.extensions import connection as Connection

from include import buffers, history
from include.dbt_project.manifest import Manifest
from include.warehouse import connect

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
    assert history.problem(project(), "next") is None
    with db.cursor() as cursor:
        cursor.execute(
            "create table snapshots.orders_snapshot as"
            " select order_id, now() at time zone 'UTC' as dbt_valid_from from generate_series(1, 3) as order_id"
        )
    history.remember(project(), "run")
    return db


def do(db: Connection, statement: str) -> None:
    with db.cursor() as cursor:
        cursor.execute(statement)


def take(db: Connection, *orders: int) -> None:
    """What a snapshot does."""
    do(db, f"insert into snapshots.orders_snapshot select unnest(array{list(orders)}), now() at time zone 'UTC'")


def rows_read(db: Connection) -> int:
    """Of the snapshot and its index so far, once all who read it have gone and left word."""
    until = time.monotonic() + 60
    with db.cursor() as cursor:
        while True:
            cursor.execute("select count(*) from pg_stat_activity where application_name = 'greenery history'")
            if cursor.fetchone() == (0,):
                break
            assert time.monotonic() < until
            time.sleep(0.01)
        cursor.execute(
            "select seq_tup_read + (select sum(idx_tup_read) from pg_stat_user_indexes as indexes"
            " where indexes.relid = tables.relid) from pg_stat_user_tables as tables where relname = 'orders_snapshot'"
        )
        return cursor.fetchone()[0]


def test_a_run_counts_all_of_history_once(taken: Connection) -> None:
    do(taken, "create index on snapshots.orders_snapshot (dbt_valid_from)")
    take(taken, *range(4, 10_001))
    do(taken, "vacuum analyze snapshots.orders_snapshot")
    before = rows_read(taken)
    assert history.problem(project(), "next") is None
    assert history.problem(project(), "next", again=True) is None
    take(taken, 10_001)
    history.remember(project(), "next")
    assert 10_000 <= rows_read(taken) - before < 20_000


def test_history_that_grew_is_fine(taken: Connection) -> None:
    take(taken, 4)
    assert history.problem(project(), "next") is None


def test_a_missing_table_is_not_created_anew(taken: Connection) -> None:
    do(taken, "drop table snapshots.orders_snapshot")
    assert "snapshots.orders_snapshot is missing, though a run has written 3 rows" in history.problem(project(), "next")


def test_rows_that_are_gone_are_noticed(taken: Connection) -> None:
    do(taken, "delete from snapshots.orders_snapshot where order_id = 1")
    assert "holds 2 rows of history, fewer than the 3" in history.problem(project(), "next")


@pytest.mark.parametrize("config", [{}, {"updated_at": "_loaded_at"}])
def test_rows_that_are_gone_are_noticed_whether_or_not_they_were_there_before_the_run(
    taken: Connection, config: dict
) -> None:
    """A version that a clock dated ahead is counted once, and one that the shop dates as any other."""
    facts = project(**config)
    history.accept("ada", "compared otherwise")
    history.remember(facts, "run")
    do(taken, "insert into snapshots.orders_snapshot values (4, '2999-01-01')")
    assert history.problem(facts, "next") is None
    take(taken, 5)
    do(taken, "insert into snapshots.orders_snapshot values (6, '12026-01-01')")
    history.remember(facts, "next")
    assert history.problem(facts, "a third") is None
    do(taken, "delete from snapshots.orders_snapshot where order_id = 6")
    assert "holds 5 rows of history, fewer than the 6" in history.problem(facts, "a fourth")


def test_what_a_run_has_not_counted_well_it_counts_again(taken: Connection) -> None:
    do(taken, "delete from snapshots.orders_snapshot where order_id = 1")
    for again in (False, True):
        assert "holds 2 rows of history, fewer than the 3" in history.problem(project(), "next", again=again)


def test_rows_that_go_while_a_run_is_under_way_are_noticed_by_the_next(taken: Connection) -> None:
    assert history.problem(project(), "next") is None
    do(taken, "delete from snapshots.orders_snapshot where order_id = 1")
    take(taken, 4)
    history.remember(project(), "next")
    assert "holds 3 rows of history, fewer than the 4" in history.problem(project(), "a third")


def test_what_is_accepted_is_looked_at_as_a_whole(taken: Connection) -> None:
    with connect() as connection:
        buffers.begin(connection, "run")
    do(taken, "update ops.buffers set scan = false")
    history.accept("ada", "an older copy")
    with taken.cursor() as cursor:
        cursor.execute("select scan from ops.buffers")
        assert cursor.fetchall() == [(True,)]


@pytest.mark.parametrize("config", [{"check_cols": ["status", "tracking_id"]}, {"unique_key": "id"}])
def test_rows_that_would_be_compared_otherwise_are_noticed(taken: Connection, config: dict) -> None:
    problem = history.problem(project(**config), "next")
    assert f"{next(iter(config))} was" in problem
    assert "python -m include.history accept" in problem


def test_what_somebody_accepts_with_a_reason_goes_on(taken: Connection) -> None:
    do(taken, "drop table snapshots.orders_snapshot")
    assert history.main(["accept", "--by", "ada", "--reason", " "]) == 1
    assert history.problem(project(), "next") is not None
    assert history.main(["accept", "--by", "ada", "--reason", "a new shop"]) == 0
    assert history.problem(project(), "next") is None
    with taken.cursor() as cursor:
        cursor.execute("select action, decided_by, reason from ops.decisions")
        assert cursor.fetchall() == [("accept history", "ada", "a new shop")]
        cursor.execute("select headline from ops.messages")
        assert cursor.fetchall() == [("✋ Greenery data: the snapshots are accepted as they are",)]
