"""Write a masked copy: one transaction that reads, so that all tables are of one moment; no row lies in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.masked import folder, look, recent, replace, tables
from include.masked.folder import Contents, File
from include.masked.tables import MaskedError, Table
from include.settings import Warehouse
from include.warehouse import connect


def save(
    path: Path,
    where: Warehouse,
    *,
    days: int | None = None,
    plain: Collection[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Contents:
    """Copy a warehouse into a new folder; returns what is in it. Raises MaskedError.

    With `days` the newest events and orders alone. `plain` names columns (`raw.orders.note`) that look personal and
    are not. Only the folder's owner can read it.
    """
    if days is not None and days < 1:
        raise MaskedError("A copy takes 1 day or more; nothing was copied.")
    with folder.draft(path) as making, connect("greenery masked copy", where) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0")
            cursor.execute("select now()")
            [[made_at]] = cursor.fetchall()
            replace.make_key(cursor)
            files = []
            for table in tables.to_copy(cursor):
                tell(table.called)
                look.check(cursor, table, plain)
                files.append(_write(cursor, making, table, days))
        contents = Contents(made_at.astimezone(UTC), days, tuple(files), tuple(sorted(plain)))
        folder.write(making, contents)
    return contents


def _write(cursor: Cursor, making: Path, table: Table, days: int | None) -> File:
    rows = sql.SQL("copy (select {} from {} where {}) to stdout").format(
        sql.SQL(", ").join(column.sql for column in table.columns),
        table.relation.sql,
        sql.SQL("true") if days is None else recent.condition(cursor, table, days),
    )
    with folder.open_to_write(making, table) as file:
        cursor.copy_expert(rows, file)
    return File(table, cursor.rowcount, folder.sha256(making, table))
