"""Bring a masked copy into a warehouse that is empty: one transaction, all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.masked import folder
from include.masked.folder import Contents, File
from include.masked.tables import RAW, MaskedError, Table
from include.raw import lease
from include.warehouse import connect, roles


def fill(path: Path, where: settings.Warehouse, *, tell: Callable[[str], None] = lambda _: None) -> Contents:
    """Bring a copy into a migrated warehouse without rows; returns what it brought. Raises MaskedError.

    The copy is read to its end first, and its rows are counted before anybody sees them.
    """
    contents = folder.check(path)
    try:
        with connect("greenery masked copy", where) as connection, connection.cursor() as cursor:
            lease.lock_raw(cursor)
            _check_is_empty(cursor, where)
            raw.create(cursor)
            for file in contents.files:
                tell(file.table.called)
                _bring(cursor, path, file)
            roles.ensure(connection)  # who hands over the history to who builds
            cursor.execute("analyze")
    except psycopg2.Error as error:
        raise MaskedError(f"Nothing was brought in: {str(error).strip()}") from error
    return contents


def _check_is_empty(cursor: Cursor, where: settings.Warehouse) -> None:
    cursor.execute(
        "select schemaname, tablename from pg_tables"
        " where schemaname = any(%s) or (schemaname, tablename) = ('ops', 'publications') order by 1, 2",
        ([settings.raw_schema(), "snapshots", settings.LIVE, settings.BUILT],),
    )
    for table in cursor.fetchall():
        cursor.execute(sql.SQL("select exists (select from {})").format(sql.Identifier(*table)))
        if cursor.fetchone()[0]:
            raise MaskedError(
                f"Database {where.database} holds rows ({'.'.join(table)}); nothing was brought in. Bring the copy "
                "into an empty one; or, on a laptop, add --replace: what is there is kept aside."
            )


def _bring(cursor: Cursor, path: Path, file: File) -> None:
    table, target = file.table, file.table.relation.sql
    if table.schema != RAW:
        _make(cursor, table)
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    with folder.open_to_read(path, table) as rows:
        cursor.copy_expert(sql.SQL("copy {} ({}) from stdin").format(target, columns), rows)
    if cursor.rowcount != file.rows:
        raise MaskedError(
            f"{table.called} has {cursor.rowcount} rows in {path}, and should have {file.rows}; nothing was brought "
            "in. Make the copy again."
        )


def _make(cursor: Cursor, table: Table) -> None:
    """A table of the history, with the types that it had."""
    for column in table.columns:
        cursor.execute("select %s::regtype", (column.kind,))  # which takes a type and nothing else
    inside = [sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.kind)) for column in table.columns]
    cursor.execute(sql.SQL("create table {} ({})").format(table.relation.sql, sql.SQL(", ").join(inside)))
