"""What a session of ours has for itself, whatever is set for everybody: no limit that ends a wait, and its isolation.

What is set for its role in this very database stays: it is meant for us, as `include.warehouse.roles` sets it. So does
`default_transaction_read_only`, by which an administrator keeps all writers out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

# By the names and with the values that `pg_settings` shows. A limit of 0 is none.
LIMITS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
_OTHERS = {
    # Who waits for a lock looks at what is there once it has it.
    "default_transaction_isolation": "read committed",
    # psycopg2 reads no other; of dates it sees to that by itself.
    "IntervalStyle": "postgres",
}
OURS = LIMITS | _OTHERS
# Those that the server knows, and that are not set for our role in this database.
_FROM = """
    from unnest(%(names)s::text[], %(values)s::text[]) as ours (name, value)
    where current_setting(name, true) is not null
        and not exists (
            select from pg_db_role_setting cross join unnest(setconfig) as held (one)
            where setdatabase = (select oid from pg_database where datname = current_database())
                and setrole = (select oid from pg_roles where rolname = session_user)
                and split_part(one, '=', 1) = name
        )
"""
_PARAMETERS = {"names": list(OURS), "values": list(OURS.values())}
_OF_LIMITED = {"names": list(_OTHERS), "values": list(_OTHERS.values())}


def make_ours(connection: Connection, *, is_limited: bool) -> None:
    """Set them for a session that has just begun; the limits stay where it `is_limited`.

    By a statement, since a pooler may refuse an option of a connection that it does not know.
    """
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"select set_config(name, value, false) {_FROM}", _OF_LIMITED if is_limited else _PARAMETERS)
    connection.autocommit = False


@contextmanager
def limited(cursor: Cursor, seconds: float) -> Iterator[None]:
    """A statement in the block takes no longer. What was the limit is again after it, and by the rollback if it raises.

    The block may set another by `set local statement_timeout`, which ends with it too.
    """
    cursor.execute("select current_setting('statement_timeout')")
    [[former]] = cursor.fetchall()
    cursor.execute("set local statement_timeout = %s", (max(1, int(seconds * 1000)),))
    yield
    cursor.execute("set local statement_timeout = %s", (former,))


def options(connection: Connection) -> str:
    """The same as options of libpq, as far as a session that has just begun would have it otherwise."""
    with connection.cursor() as cursor:
        cursor.execute(f"select name, value {_FROM}", _PARAMETERS)
        wanted = cursor.fetchall()
        cursor.execute("select name, reset_val from pg_settings where name = any(%s)", ([name for name, _ in wanted],))
        at_first = dict(cursor.fetchall())
        otherwise = ((name, value) for name, value in wanted if at_first[name] != value)
        return " ".join(f"-c {name}={_escaped(value)}" for name, value in otherwise)


def _escaped(value: str) -> str:
    return value.replace(" ", "\\ ")


@contextmanager
def begun_with(options: str) -> Iterator[None]:
    """For the time of the block libpq begins sessions with these, where nobody names others: dbt takes none."""
    former = os.environ.get("PGOPTIONS", "")
    os.environ["PGOPTIONS"] = f"{former} {options}".strip()
    try:
        yield
    finally:
        os.environ["PGOPTIONS"] = former
