"""The raw tables in the warehouse: what they are called, what is there, and making what is missing.

No constraint is put on them: finding what is wrong with the data is the tests' work, and a replica mirrors it
faithfully.
"""

from __future__ import annotations

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import settings
from include.raw.contract import BOOKKEEPING, TABLES

# Plain indexes, since a unique one would refuse what a replica has to mirror: by key, so that a day's load into a long
# history reads only the rows that it touches, and by `_loaded_at`, so that an incremental model does too.
_OPEN_ORDERS_INDEX = sql.SQL("create index orders_open on {} (order_id) where status <> 'delivered'")


def named(name: str) -> sql.Identifier:
    """A table of the raw schema, for a statement."""
    return sql.Identifier(settings.raw_schema(), name)


def called(name: str) -> str:
    """The same for a sentence: raw.orders."""
    return f"{settings.raw_schema()}.{name}"


def exists(cursor: Cursor, name: str) -> bool:
    """Whether the raw schema holds a table, or a view in its place."""
    cursor.execute("select to_regclass(%s) is not null", (called(name),))
    return cursor.fetchone()[0]


def views(cursor: Cursor) -> list[str]:
    """The tables of the raw schema that are views of others (see `include.raw.mapping`): no load writes them."""
    cursor.execute(
        "select relname from pg_class join pg_namespace as spaces on spaces.oid = relnamespace"
        " where nspname = %s and relname = any(%s) and relkind = 'v' order by 1",
        (settings.raw_schema(), [*TABLES, *BOOKKEEPING]),
    )
    return [name for (name,) in cursor.fetchall()]


def holds_rows(connection: Connection) -> bool:
    """Whether any raw table holds a row."""
    with connection.cursor() as cursor:
        for name in TABLES:
            if exists(cursor, name):
                cursor.execute(sql.SQL("select 1 from {} limit 1").format(named(name)))
                if cursor.fetchone():
                    return True
    return False


def create_schema(cursor: Cursor) -> None:
    """Create the schema if it is missing."""
    schema = settings.raw_schema()
    cursor.execute("select to_regnamespace(%s) is null", (schema,))
    if cursor.fetchone()[0]:  # asked for first: a loader that may not create a schema would be refused either way
        cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))


def create(cursor: Cursor) -> None:
    """Create the schema, the seven tables, their indexes and the bookkeeping where they are missing.

    What is there already is left alone, be it a view in a table's place.
    """
    create_schema(cursor)
    for table in TABLES.values():
        columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in table.columns.items()]
        cursor.execute(
            sql.SQL("create table if not exists {} ({}, _loaded_at timestamptz not null)").format(
                named(table.name), sql.SQL(", ").join(columns)
            )
        )
    for name, columns in BOOKKEEPING.items():
        cursor.execute(sql.SQL("create table if not exists {} ({})").format(named(name), sql.SQL(columns)))
    _create_indexes(cursor)


def _create_indexes(cursor: Cursor) -> None:
    """Create the indexes that are missing.

    Asked for first, since `create index if not exists` locks the table even where there is nothing to do: it would wait
    for an autovacuum, and then cancel it.
    """
    cursor.execute("select indexname from pg_indexes where schemaname = %s", (settings.raw_schema(),))
    there = {name for (name,) in cursor}
    shown = views(cursor)
    for table in TABLES.values():
        for name, on in ((f"{table.name}_key", table.key), (f"{table.name}_loaded_at", ("_loaded_at",))):
            if name not in there and table.name not in shown:
                cursor.execute(
                    sql.SQL("create index {} on {} ({})").format(
                        sql.Identifier(name), named(table.name), sql.SQL(", ").join(map(sql.Identifier, on))
                    )
                )
    if "deletions_deleted_at" not in there and "deletions" not in shown:
        cursor.execute(sql.SQL("create index deletions_deleted_at on {} (deleted_at)").format(named("deletions")))
    if "orders_open" not in there and "orders" not in shown:
        cursor.execute(_OPEN_ORDERS_INDEX.format(named("orders")))
