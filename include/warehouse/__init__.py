"""The warehouse database: the one place that opens connections to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import settings
from include.warehouse import refused


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
        return psycopg2.connect(
            **where.libpq(),
            application_name=application,
            options="-c timezone=UTC",
            connect_timeout=10,
            # A host that is gone is noticed within half a minute, and not when TCP gives up.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )
    except psycopg2.OperationalError as error:
        raise refused.explained(error, lambda keyword: f"WAREHOUSE_{keyword.upper()}") from None


def exists(cursor: Cursor, name: str) -> bool:
    """Whether there is a table or view of a name, with its schema before a dot."""
    cursor.execute("select to_regclass(%s) is not null", (name,))
    return cursor.fetchone()[0]
