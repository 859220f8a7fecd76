"""How the page reads the warehouse: over connections that are kept, for as long as they hold."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from plugins.data_health.reading import connected

pytestmark = pytest.mark.db


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
