"""What an administrator sets for everybody changes no session of ours; what is meant for our role does."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import settings
from include.raw import lease
from include.settings import Warehouse
from include.warehouse import connect, roles, session
from include.warehouse.roles import TRANSFORMER

pytestmark = pytest.mark.db

FOR_EVERYBODY = {
    "statement_timeout": "100ms",
    "lock_timeout": "50ms",
    "idle_in_transaction_session_timeout": "1s",
    "idle_session_timeout": "1s",
    "default_transaction_isolation": "serializable",
    "IntervalStyle": "iso_8601",
}


@pytest.fixture
def strict(db: Connection) -> Connection:
    """A warehouse whose administrator lets nobody wait."""
    for name, value in FOR_EVERYBODY.items():
        for_everybody(db, name, value)
    return db


def for_everybody(db: Connection, name: str, value: str) -> None:
    database = sql.Identifier(db.info.dbname)
    with db.cursor() as cursor:
        cursor.execute(
            sql.SQL("alter database {} set {} = {}").format(database, sql.Identifier(name), sql.Literal(value))
        )


def shown(connection: Connection) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("select name, setting from pg_settings where name = any(%s)", (list(session.OURS),))
        return dict(cursor.fetchall())


def ours(connection: Connection) -> dict[str, str]:
    """Of these the settings that the server knows."""
    return {name: value for name, value in session.OURS.items() if name in shown(connection)}


def test_a_session_of_ours_waits_however_short_others_may(strict: Connection) -> None:
    with connect() as connection:
        assert shown(connection) == ours(connection)
        connection.rollback()
        assert shown(connection) == ours(connection)


def test_so_does_what_another_program_of_the_process_begins(strict: Connection, warehouse: Warehouse) -> None:
    with connect() as connection:
        options = session.options(connection)
    with session.begun_with(options), closing(psycopg2.connect(**warehouse.libpq())) as other:
        assert shown(other) == ours(other)
    with closing(psycopg2.connect(**warehouse.libpq())) as later:
        assert shown(later)["lock_timeout"] == "50"


def test_where_nobody_has_set_anything_a_session_begins_with_no_option(db: Connection) -> None:
    """A pooler may refuse what it does not know."""
    with connect() as connection:
        assert session.options(connection) == ""


def test_what_is_set_for_our_role_in_this_database_stays(strict: Connection, warehouse: Warehouse) -> None:
    roles.ensure(strict, login=True)
    with connect("test", replace(warehouse, user=TRANSFORMER)) as connection:
        assert shown(connection)["lock_timeout"] == "600000"
        assert "lock_timeout" not in session.options(connection)


def test_who_only_reads_or_tries_out_is_held_to_what_everybody_is(
    strict: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_DEVELOPER_USER", "postgres")
    for where in (settings.warehouse_health(), settings.warehouse_developer()):
        with connect("test", replace(where, user="postgres")) as connection:
            assert shown(connection)["lock_timeout"] == "50"
            assert shown(connection)["default_transaction_isolation"] == "read committed"


def test_a_limit_of_one_statement_ends_with_it(strict: Connection) -> None:
    with connect() as connection, connection.cursor() as cursor:
        with session.limited(cursor, 2):
            assert shown(connection)["statement_timeout"] == "2000"
        assert shown(connection)["statement_timeout"] == "0"
        cursor.execute("select pg_sleep(0.2)")


def test_who_waits_for_a_load_sees_what_it_has_loaded(strict: Connection) -> None:
    """By a snapshot of before the wait it would not."""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        with connect("a load") as load, load.cursor() as loading:
            lease.lock_raw(loading)
            loading.execute("create table came as select 1 as one")
        lease.lock_raw(cursor)
        cursor.execute("select to_regclass('came') is not null, (select count(*) from came)")
        assert cursor.fetchall() == [(True, 1)]
