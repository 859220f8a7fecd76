"""Which backups were made, as `ops` knows them: the page and the watchdog see no folder of backups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection

from include.warehouse import exists


@dataclass(frozen=True)
class Made:
    """A backup: the name of its folder, as of when it is, which databases are in it, and its size in bytes."""

    name: str
    made_at: datetime
    databases: tuple[str, ...]
    size: int


def note(connection: Connection, made: Made) -> None:
    """Remember a backup. Nothing is remembered in a warehouse that was not migrated so far."""
    with connection.cursor() as cursor:
        if exists(cursor, "ops.backups"):
            cursor.execute(
                "insert into ops.backups (name, made_at, databases, bytes) values (%s, %s, %s, %s)",
                (made.name, made.made_at, list(made.databases), made.size),
            )


def newest(connection: Connection, now: datetime) -> Made | None:
    """The newest that was made by now; None where `ops` knows of none. A clock that was ahead names later ones."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select name, made_at, databases, bytes from ops.backups where made_at <= %s order by made_at desc limit 1",
            (now,),
        )
        row = cursor.fetchone()
    return Made(row[0], row[1], tuple(row[2]), row[3]) if row else None
