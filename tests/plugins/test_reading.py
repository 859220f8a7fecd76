"""How the page reads the warehouse: with nothing but reading, and through a restart of the server."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from plugins.data_health.reading import connected, reading, stamp

pytestmark = pytest.mark.db


def test_it_can_write_nothing(ops: Connection) -> None:
    with reading() as found, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        found.rows("create temporary table mine (id int)")


def test_it_sees_neither_raw_nor_what_is_being_built(ops: Connection) -> None:
    for schema in ("raw", "staging", "analytics_next"):
        ops.cursor().execute(f"create table {schema}.some (id int)")
        with reading() as found, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            found.rows(f"select * from {schema}.some")


def _ask() -> int:
    with connected() as connection, connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return cursor.fetchone()[0]


def test_a_connection_is_kept(ops: Connection) -> None:
    assert _ask() == _ask()


def test_a_warehouse_that_was_restarted_is_read_without_anybody_noticing(ops: Connection) -> None:
    kept = _ask()
    with ops.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(%s, 5000)", (kept,))
        assert cursor.fetchone()[0]
    assert _ask() != kept


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
        "insert into ops.observations (unique_id, measure, day, run_id) values ('source', 'rows', '2026-11-23', 'one')",
        "update ops.observations set value = 1, observed_at = clock_timestamp()",
        "insert into ops.unusual (run_id, unique_id, measure, day, value, expected, least, most, score, since)"
        " values ('one', 'source', 'rows', '2026-11-23', 1, 3, 2, 4, 2, '2026-11-23')",
        "insert into ops.answers (answered_by, kind, unique_id, reason) values ('ada', 'mine', 'source', 'why')",
        "insert into ops.risks (due, promised_by, said_at, why, awaited, loaded_since)"
        " values (now(), now(), now(), 'late', '{}', now())",
        "update ops.risks set kept = true",
        "insert into ops.proofs (result) values ('{}')",
        "insert into ops.explanations (publication_id, metric, day, explanation)"
        " select publication_id, 'revenue', '2026-11-23', '{}' from ops.publications",
        "update ops.messages set waiting = false, sent_at = clock_timestamp()",
    ):
        cursor.execute(statement)
        told.append(stamp()[:-1])
    assert len(set(told)) == len(told)
