"""The warehouse database: the one place that opens connections to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import settings
from include.warehouse import refused, session

# A host that is gone is noticed within half a minute, and not when TCP gives up. In seconds; the last in milliseconds.
TIMEOUTS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@contextmanager
def connect(application: str = "greenery", where: settings.Warehouse | None = None) -> Iterator[Connection]:
    """A connection to the warehouse; commits when the block ends well, rolls back when it raises, then closes.

    `application` shows up in `pg_stat_activity`, so that whoever looks at a lock knows who holds it.
    Raises psycopg2.OperationalError where the server can't be reached.
    """
    connection = open_connection(application, where or settings.warehouse())
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()  # rolls back what is not committed; `with connection` would hide a server that went away


def open_connection(application: str, where: settings.Warehouse) -> Connection:
    """The same for who keeps it open and closes it later."""
    try:
        connection = psycopg2.connect(
            **where.libpq(),
            application_name=application,
            options="-c timezone=UTC",
            **TIMEOUTS,
        )
    except psycopg2.OperationalError as error:
        raise refused.explained(error, lambda keyword: f"WAREHOUSE_{keyword.upper()}") from None
    session.make_ours(connection, is_limited=where.is_limited)
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """All or nothing: a transaction of its own on an autocommit connection, else a savepoint in the caller's.

    In the second case the work is committed when the caller commits; an error undoes this work alone.
    """
    idle = connection.info.transaction_status == TRANSACTION_STATUS_IDLE
    begin, keep, undo = (
        ("begin", "commit", "rollback")
        if connection.autocommit and idle
        else ("savepoint work", "release savepoint work", "rollback to savepoint work")
    )
    with connection.cursor() as cursor:
        cursor.execute(begin)
        try:
            yield cursor
        except BaseException:
            with suppress(psycopg2.Error):  # where the connection is gone, the server has undone it already
                cursor.execute(undo)
            raise
        cursor.execute(keep)


def is_gone(error: Exception) -> bool:
    """Whether an error says that the server is gone or can't be reached, and not what it answered.

    psycopg2 has three names for that. Where the server dies in the middle of a statement it is a plain DatabaseError.
    """
    return (
        isinstance(error, psycopg2.Error)
        and error.pgcode is None
        and (
            isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
            or type(error) is psycopg2.DatabaseError
        )
    )


def exists(cursor: Cursor, name: str) -> bool:
    """Whether there is a table or view of a name, with its schema before a dot."""
    cursor.execute("select to_regclass(%s) is not null", (name,))
    return cursor.fetchone()[0]


def has_columns(connection: Connection, table: str, *columns: str) -> bool:
    """Whether a table, named with its schema, is there with these columns: a project may make it otherwise."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select count(*)
            from pg_attribute
            where attrelid = to_regclass(%s) and attname = any(%s) and not attisdropped
            """,
            (table, list(columns)),
        )
        return cursor.fetchone()[0] == len(columns)
