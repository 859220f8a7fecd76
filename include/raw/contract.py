"""The contract of the raw tables, as the shop's replica delivers them: names, columns, types and keys.

Source: the CSV headers of the public Greenery course. Ids are text, timestamps are UTC, a zip code is text.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A raw table: `columns` maps each column's name to its Postgres type, `key` names a row.

    `personal` names the columns that tell of a person, but for keys: they are emptied where a person is erased. `kind`
    names the column that says which of the others are filled, as the status of an order does.
    """

    name: str
    key: tuple[str, ...]
    columns: dict[str, str]
    personal: tuple[str, ...] = ()
    kind: str | None = None


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "addresses",
            ("address_id",),
            {"address_id": "text", "address": "text", "zipcode": "text", "state": "text", "country": "text"},
            ("address", "zipcode"),
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
            ("first_name", "last_name", "email", "phone_number"),
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
            ("tracking_id",),
            "status",
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
            ("page_url",),
            "event_type",
        ),
    )
}

# What a person is known by: a user and an address, each with the column that holds its key, here and in other tables.
PERSONS = {"users": "user_id", "addresses": "address_id"}

# What was loaded when, and which keys left a table: freshness and incremental models read these.
# `key` is the key's columns, joined by "/", as the models join them.
BOOKKEEPING = {
    "loads": """
    table_name text not null,
    loaded_at timestamptz not null,
    rows bigint not null,
    loaded_from text not null default '',
    primary key (table_name, loaded_at)
""",
    "deletions": """
    table_name text not null,
    key text not null,
    deleted_at timestamptz not null
""",
}

# What our own loads keep for themselves. The live load: up to where it has followed the shop's database, and which
# columns came, went or changed their type there, which the contract knows nothing of. The demo shop: the days played.
KEPT_BY_LOADS = {
    "shop_mark": """
    source text not null,
    position bigint not null,
    columns jsonb not null,
    compared_at timestamptz not null
""",
    "shop_drift": """
    table_name text not null,
    column_name text not null,
    column_type text not null,
    seen_at timestamptz not null
""",
    "shop_days": """
    day integer primary key,
    seed integer not null,
    orders_per_day integer not null,
    loaded_at timestamptz not null,
    first_day date not null
""",
}

# What a raw relation has to show: the type of each column by its name.
COLUMNS: dict[str, dict[str, str]] = {
    **{table.name: {**table.columns, "_loaded_at": "timestamptz"} for table in TABLES.values()},
    "loads": {"table_name": "text", "loaded_at": "timestamptz", "rows": "bigint", "loaded_from": "text"},
    "deletions": {"table_name": "text", "key": "text", "deleted_at": "timestamptz"},
}
