"""The shop's live database, a Postgres that SHOP_DATABASE_URL names, read in one snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import settings
from include.raw import mapping
from include.raw.contract import TABLES
from include.raw.mapping import Mapped, MappingError
from include.warehouse import refused


@dataclass(frozen=True)
class Mark:
    """Up to where a shop was followed: which database, read how, and its oldest transaction that was not over by then.

    `columns` are the shop's types by column, by raw table.
    """

    source: str
    position: int
    columns: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Shop:
    """The shop's database in one snapshot: where each raw table is in it, and which SQL each column of it is."""

    cursor: Cursor
    mark: Mark
    tables: dict[str, sql.Identifier]
    values: dict[str, dict[str, sql.Composable]]

    def count(self, name: str) -> int:
        """How many rows the shop's own table of a raw one has."""
        self.cursor.execute(sql.SQL("select count(*) from {}").format(self.tables[name]))
        return self.cursor.fetchone()[0]


@contextmanager
def reading(url: str) -> Iterator[Shop]:
    """The shop in one snapshot, which is held until the block ends."""
    mapped = mapping.read(settings.dbt_source_dir())
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            select pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
                format('%s, timeline %s, database %s', system_identifier, timeline_id, databases.oid)
            from pg_control_system(), pg_control_checkpoint(), pg_database as databases
            where datname = current_database()
            """
        )
        position, system = cursor.fetchone()
        tables, values, columns, oids = {}, {}, {}, []
        for table in TABLES.values():
            source = mapped.get(table.name, Mapped(settings.shop_database_schema(), table.name, {}, {}))
            columns[table.name] = types = mapping.types(cursor, source)
            oids.append(_oid(cursor, source))
            tables[table.name] = sql.Identifier(source.schema, source.table)
            values[table.name] = {name: mapping.value(table.name, name, source, types) for name in table.columns}
        read = sql.SQL(", ").join(value for by_column in values.values() for value in by_column.values())
        known = f"{read.as_string(cursor)}{tables}{oids}"
        how = hashlib.blake2b(known.encode(), digest_size=8).hexdigest()
        yield Shop(cursor, Mark(f"{system} read as {how}", position, columns), tables, values)


def _oid(cursor: Cursor, source: Mapped) -> int:
    """Which table it is: one that was put in its place has another. Raises MappingError where it is no table."""
    cursor.execute(
        "select oid, relkind in ('r', 'p') from pg_class where oid = to_regclass(format('%%I.%%I', %s, %s))",
        (source.schema, source.table),
    )
    oid, is_table = cursor.fetchone()
    if not is_table:
        raise MappingError(
            f"{source.schema}.{source.table} is no table, and only of a table's rows can be told when they were "
            f"written; name the table that it shows, in {mapping.FILE}"
        )
    return oid


def connect(url: str) -> Connection:
    """A connection that reads one moment of the shop."""
    try:
        connection = psycopg2.connect(url, application_name="greenery live load", connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise refused.explained(error, lambda keyword: f"{keyword} in SHOP_DATABASE_URL") from None
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection.cursor() as cursor:
        # Of the one transaction that reads: what a connection starts with, a pooler may drop. It waits, with its
        # snapshot, while rows are written to the warehouse.
        cursor.execute(
            "set local timezone = 'UTC'; set local datestyle = 'ISO'; set local intervalstyle = 'postgres';"
            "set local idle_in_transaction_session_timeout = 0"
        )
    return connection
