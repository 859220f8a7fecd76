"""The raw tables in the warehouse: what they are called, what is there, and making what is missing.

An administrator makes them, with `python -m include.raw`; who loads writes rows and makes nothing.

No constraint is put on them: finding what is wrong with the data is the tests' work, and a replica mirrors it
faithfully.
"""

from __future__ import annotations

from collections.abc import Collection

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import settings, warehouse
from include.raw.contract import BOOKKEEPING, KEPT_BY_LOADS, TABLES

# Plain indexes, since a unique one would refuse what a replica has to mirror: by key, so that a day's load into a long
# history reads only the rows that it touches, and by `_loaded_at`, so that an incremental model does too.
_OPEN_ORDERS_INDEX = sql.SQL("create index orders_open on {} (order_id) where status <> 'delivered'")
# By the key that its staging view makes of two columns. Its statistics come with ANALYZE: without them the planner
# takes a day's items for half of all, and reads the history.
_ITEM_INDEX = sql.SQL("create index order_items_item on {0} ((order_id::text || '/' || product_id::text)); analyze {0}")


def named(name: str) -> sql.Identifier:
    """A table of the raw schema, for a statement."""
    return sql.Identifier(settings.raw_schema(), name)


def called(name: str) -> str:
    """The same for a sentence: raw.orders."""
    return f"{settings.raw_schema()}.{name}"


def exists(cursor: Cursor, name: str) -> bool:
    """Whether the raw schema holds a table, or a view in its place."""
    return warehouse.exists(cursor, called(name))


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


def may_create(cursor: Cursor) -> bool:
    """Whether we may make tables in the raw schema, or it is still to be made."""
    cursor.execute(
        "select coalesce(has_schema_privilege(to_regnamespace(%s), 'create'), true)", (settings.raw_schema(),)
    )
    return cursor.fetchone()[0]


def missing(cursor: Cursor) -> list[str]:
    """Which of the tables are not there, be it as a view, sorted."""
    return sorted(name for name in (*TABLES, *BOOKKEEPING, *KEPT_BY_LOADS) if not exists(cursor, name))


def create(cursor: Cursor, *, besides: Collection[str] = ()) -> None:
    """Create the schema, the seven tables, their indexes, and what loads keep where they are missing.

    What is there already is left alone, be it a view in a table's place; `besides` are to be views.
    """
    create_schema(cursor)
    for name in missing(cursor):
        if name in besides:
            continue
        if name in TABLES:
            columns = [
                sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind))
                for column, kind in TABLES[name].columns.items()
            ]
            inside = sql.SQL("{}, _loaded_at timestamptz not null").format(sql.SQL(", ").join(columns))
        else:
            inside = sql.SQL({**BOOKKEEPING, **KEPT_BY_LOADS}[name])
        cursor.execute(sql.SQL("create table if not exists {} ({})").format(named(name), inside))
    _complete(cursor)


def _complete(cursor: Cursor) -> None:
    """Create the indexes that are missing, and what tables of a former version lack."""
    # Asked for first, since `if not exists` locks the table even where there is nothing to do: it would wait for an
    # autovacuum, and then cancel it.
    cursor.execute(
        "select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
        " where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p') and not attisdropped",
        (settings.raw_schema(),),
    )
    columns = set(cursor.fetchall())
    if ("shop_days", "day") in columns and ("shop_days", "first_day") not in columns:
        # Shops that were begun before it was kept had all begun on that Monday.
        cursor.execute(
            sql.SQL("alter table {} add column first_day date not null default '2026-03-02'").format(named("shop_days"))
        )
    cursor.execute("select indexname from pg_indexes where schemaname = %s", (settings.raw_schema(),))
    there = {name for (name,) in cursor}

    def lacks(name: str, table: str, *on: str) -> bool:
        """What has another shape is told by the tests of the sources."""
        return name not in there and {(table, column) for column in on} <= columns

    for table in TABLES.values():
        for name, on in ((f"{table.name}_key", table.key), (f"{table.name}_loaded_at", ("_loaded_at",))):
            if lacks(name, table.name, *on):
                cursor.execute(
                    sql.SQL("create index {} on {} ({})").format(
                        sql.Identifier(name), named(table.name), sql.SQL(", ").join(map(sql.Identifier, on))
                    )
                )
    if lacks("deletions_deleted_at", "deletions", "deleted_at"):
        cursor.execute(sql.SQL("create index deletions_deleted_at on {} (deleted_at)").format(named("deletions")))
    if lacks("orders_open", "orders", "order_id", "status"):
        cursor.execute(_OPEN_ORDERS_INDEX.format(named("orders")))
    if lacks("order_items_item", "order_items", "order_id", "product_id"):
        cursor.execute(_ITEM_INDEX.format(named("order_items")))
