"""The raw tables, as the shop's replica delivers them: names, columns, types and keys, and the schema they live in.

Source: the CSV headers of the public Greenery course. Ids are text, timestamps are UTC, a zip code is text.
No constraint is put on them: finding what is wrong with the data is the tests' work, and a replica mirrors it
faithfully.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.warehouse import connect

SCHEMA = "raw"


@dataclass(frozen=True)
class Table:
    """A raw table: `columns` maps each column's name to its Postgres type, `key` names a row."""

    name: str
    key: tuple[str, ...]
    columns: dict[str, str]


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "addresses",
            ("address_id",),
            {"address_id": "text", "address": "text", "zipcode": "text", "state": "text", "country": "text"},
        ),
        Table(
            "users",
            ("user_id",),
            {
                "user_id": "text",
                "first_name": "text",
                "last_name": "text",
                "email": "text",
                "phone_number": "text",
                "created_at": "timestamptz",
                "updated_at": "timestamptz",
                "address_id": "text",
            },
        ),
        Table(
            "products",
            ("product_id",),
            {"product_id": "text", "name": "text", "price": "numeric", "inventory": "integer"},
        ),
        Table("promos", ("promo_id",), {"promo_id": "text", "discount": "numeric", "status": "text"}),
        Table(
            "orders",
            ("order_id",),
            {
                "order_id": "text",
                "user_id": "text",
                "promo_id": "text",
                "address_id": "text",
                "created_at": "timestamptz",
                "order_cost": "numeric",
                "shipping_cost": "numeric",
                "order_total": "numeric",
                "tracking_id": "text",
                "shipping_service": "text",
                "estimated_delivery_at": "timestamptz",
                "delivered_at": "timestamptz",
                "status": "text",
            },
        ),
        Table(
            "order_items",
            ("order_id", "product_id"),
            {"order_id": "text", "product_id": "text", "quantity": "integer"},
        ),
        Table(
            "events",
            ("event_id",),
            {
                "event_id": "text",
                "session_id": "text",
                "user_id": "text",
                "page_url": "text",
                "created_at": "timestamptz",
                "event_type": "text",
                "order_id": "text",
                "product_id": "text",
            },
        ),
    )
}

# What was loaded when, and which keys left a table: freshness and incremental models read these.
# `key` is the key's columns, joined by "/", as the models join them.
BOOKKEEPING = """
create table if not exists raw.loads (
    table_name text not null,
    loaded_at timestamptz not null,
    rows bigint not null,
    loaded_from text not null default '',
    primary key (table_name, loaded_at)
);
create table if not exists raw.deletions (
    table_name text not null,
    key text not null,
    deleted_at timestamptz not null
);
"""


# Plain indexes, since a unique one would refuse what a replica has to mirror: by key, so that a day's load into a long
# history reads only the rows that it touches, and by `_loaded_at`, so that an incremental model does too.
OPEN_ORDERS_INDEX = "create index orders_open on raw.orders (order_id) where status <> 'delivered'"


def create(cursor: Cursor) -> None:
    """Create the schema, the seven tables, their indexes and the bookkeeping where they are missing.

    What is there already is left alone.
    """
    cursor.execute("select to_regnamespace(%s) is null", (SCHEMA,))
    if cursor.fetchone()[0]:  # asked for first: a loader that may not create a schema would be refused either way
        cursor.execute("create schema if not exists raw")
    for table in TABLES.values():
        columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in table.columns.items()]
        cursor.execute(
            sql.SQL("create table if not exists {}.{} ({}, _loaded_at timestamptz not null)").format(
                sql.Identifier(SCHEMA), sql.Identifier(table.name), sql.SQL(", ").join(columns)
            )
        )
    cursor.execute(BOOKKEEPING)
    _create_indexes(cursor)


def _create_indexes(cursor: Cursor) -> None:
    """Create the indexes that are missing.

    Asked for first, since `create index if not exists` locks the table even where there is nothing to do: it would wait
    for an autovacuum, and then cancel it.
    """
    cursor.execute("select indexname from pg_indexes where schemaname = %s", (SCHEMA,))
    there = {name for (name,) in cursor}
    for table in TABLES.values():
        for name, on in ((f"{table.name}_key", table.key), (f"{table.name}_loaded_at", ("_loaded_at",))):
            if name not in there:
                cursor.execute(
                    sql.SQL("create index {} on {}.{} ({})").format(
                        sql.Identifier(name),
                        sql.Identifier(SCHEMA),
                        sql.Identifier(table.name),
                        sql.SQL(", ").join(map(sql.Identifier, on)),
                    )
                )
    if "deletions_deleted_at" not in there:
        cursor.execute("create index deletions_deleted_at on raw.deletions (deleted_at)")
    if "orders_open" not in there:
        cursor.execute(OPEN_ORDERS_INDEX)


def holds_rows(connection: Connection) -> bool:
    """Whether any raw table holds a row."""
    with connection.cursor() as cursor:
        for name in TABLES:
            cursor.execute("select to_regclass(%s)", (f"{SCHEMA}.{name}",))
            if cursor.fetchone()[0] is not None:
                cursor.execute(
                    sql.SQL("select 1 from {}.{} limit 1").format(sql.Identifier(SCHEMA), sql.Identifier(name))
                )
                if cursor.fetchone():
                    return True
    return False


def main() -> None:
    """`python -m include.shop.raw`: create what is missing in the warehouse that the environment names."""
    with connect("greenery raw") as connection, connection.cursor() as cursor:
        create(cursor)


if __name__ == "__main__":
    main()
