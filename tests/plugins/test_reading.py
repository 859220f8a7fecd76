"""How the page reads the warehouse: with nothing but reading, and through a restart of the server."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from plugins.data_health.reading import reading, stamp

pytestmark = pytest.mark.db


def test_it_can_write_nothing(ops: Connection) -> None:
    with reading() as found, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        found.rows("create temporary table mine (id int)")


def test_it_sees_neither_raw_nor_what_is_being_built(ops: Connection) -> None:
    for schema in ("raw", "staging", "analytics_next"):
        ops.cursor().execute(f"create table {schema}.some (id int)")
        with reading() as found, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            found.rows(f"select * from {schema}.some")


def test_connections_that_the_server_has_ended_are_replaced(ops: Connection) -> None:
    before = stamp()[:-1]
    ops.cursor().execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    assert stamp()[:-1] == before


def test_whatever_a_page_shows_changes_the_stamp(ops: Connection) -> None:
    cursor = ops.cursor()
    told = [stamp()[:-1]]
    for statement in (
        "insert into ops.runs (run_id, release) values ('one', 'release')",
        "insert into ops.node_results (run_id, task_id, attempt, unique_id, resource_type, name, status, seconds)"
        " values ('one', 'task', 1, 'node', 'model', 'node', 'success', 1)",
        "insert into ops.leases (holder) values ('run one')",
        "update ops.leases set released_at = clock_timestamp()",
        "insert into ops.publications (run_id, schema_oid, data_as_of) values ('one', 1, now())",
        "insert into ops.decisions (action, decided_by, reason) values ('hold', 'ada', 'why')",
        "insert into ops.messages (run_id, kind, headline, body, blocks, waiting)"
        " values ('one', 'k', '', '', '[]', true)",
        "update ops.messages set waiting = false, sent_at = clock_timestamp()",
    ):
        cursor.execute(statement)
        told.append(stamp()[:-1])
    assert len(set(told)) == len(told)
