"""Whether a pooler before the warehouse gives each transaction another session, or drops what a session asks for.

A session's locks and settings would be another's then: two loads could write at a time, and days could begin in the
server's time zone. A pooler that keeps one session for each connection is fine.
"""

from __future__ import annotations

from contextlib import closing

import psycopg2
from psycopg2.extensions import connection as Connection

from include.settings import Warehouse
from include.warehouse import TIMEOUTS, open_connection, session

_NAME = "greenery pooler check"
# On a busy day any session may come free first.
_ROUNDS = 3


def problem(where: Warehouse) -> str | None:
    """What is wrong with the way to the warehouse; None where nothing is.

    It takes two connections or three, so ask where a run or a migration starts.
    """
    at = f"{where.host}:{where.port}"
    with closing(open_connection(_NAME, where)) as one, closing(open_connection(_NAME, where)) as other:
        if _is_shared(one, other):
            return (
                f"At {at} is a pooler that gives each transaction another session (transaction pooling), and locks and "
                "settings of ours would be somebody else's. Nothing was changed. Let WAREHOUSE_HOST and WAREHOUSE_PORT "
                "name the server itself, or a pooler of sessions."
            )
        if (zone := one.info.parameter_status("TimeZone")) != "UTC":
            return (
                f"At {at} is a pooler that drops the options with which a connection starts: the time zone is {zone}, "
                "and UTC was asked for. Nothing was changed. Let WAREHOUSE_HOST and WAREHOUSE_PORT name the server "
                "itself, or let the pooler pass `options` on."
            )
        wanted = session.options(one)
    if wanted and (why := _why_not_begun_with(wanted, where)):
        return (
            f"At {at} dbt's sessions can't begin with `{wanted}`: {why}. Nothing was changed. Let the administrator "
            f"set the same for {where.user} in this database (`alter role … in database … set …`), or let "
            "WAREHOUSE_HOST and WAREHOUSE_PORT name the server itself."
        )
    return None


def _why_not_begun_with(options: str, where: Warehouse) -> str | None:
    """Why a session, begun as dbt begins its own, is without these options; None where it has them."""
    try:
        with closing(psycopg2.connect(**where.libpq(), options=options, **TIMEOUTS)) as connection:
            return "a pooler drops them" if session.options(connection) else None
    except psycopg2.OperationalError as error:
        return str(error).strip()


def _is_shared(one: Connection, other: Connection) -> bool:
    """Whether one connection is served by several sessions, or two by the same, as a transaction of each shows."""
    one.autocommit = True
    ours: set[int] = set()
    for _ in range(_ROUNDS):
        # A pooler gives out what was given back last, which the other gets then, or first, and then we get two.
        ours |= {_session(one), _session(one)}
        if len(ours) > 1 or _session(other) in ours:
            return True
        other.rollback()
    return False


def _session(connection: Connection) -> int:
    """The session that serves it now, as the server knows it; what the driver knows is the pooler's invention."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return cursor.fetchone()[0]
