"""What the tests of erasing share: a shop of three that was loaded, with one mart, and how one of them is forgotten."""

from __future__ import annotations

import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include.erase import erasure
from include.raw import load
from include.raw.contract import TABLES
from include.raw.load import LoadReport, Rows
from include.warehouse import personal, transaction

AT = "2026-03-01T10:00:00+00:00"
SHOP: dict[str, list[dict[str, object]]] = {
    "addresses": [
        {"address_id": "home", "address": "1 Elm Street", "zipcode": "01234", "state": "Ohio", "country": "US"},
        {"address_id": "work", "address": "2 Mill Lane", "zipcode": "99999", "state": "Texas", "country": "US"},
    ],
    "users": [
        {"user_id": "ann-0001", "first_name": "Ann", "last_name": "May", "email": "ann@example.com"}
        | {"phone_number": "555-0001", "created_at": AT, "updated_at": AT, "address_id": "home"},
        {"user_id": "bob-0002", "first_name": "Bob", "last_name": "May", "email": "bob@example.com"}
        | {"phone_number": "555-0002", "created_at": AT, "updated_at": AT, "address_id": "work"},
        {"user_id": "eve-0003", "first_name": "Eve", "last_name": "Roe", "email": "eve@example.com"}
        | {"phone_number": "555-0003", "created_at": AT, "updated_at": AT, "address_id": "work"},
    ],
    "orders": [
        {"order_id": "o1", "user_id": "ann-0001", "address_id": "home", "tracking_id": "parcel-1", "created_at": AT},
        {"order_id": "o2", "user_id": "ann-0001", "address_id": "work", "tracking_id": "parcel-2", "created_at": AT},
        {"order_id": "o3", "user_id": "bob-0002", "address_id": "work", "tracking_id": "parcel-3", "created_at": AT},
    ],
    "events": [
        {"event_id": "e1", "user_id": "ann-0001", "page_url": "https://shop/ann-0001/o1", "created_at": AT},
        {"event_id": "e2", "user_id": "eve-0003", "page_url": "https://shop/fern", "created_at": AT},
    ],
}
ANN = ("ann-0001", "ann@example.com", "555-0001", "1 Elm Street", "parcel-1", "parcel-2", "Ann")


def brought(shop: dict[str, list[dict[str, object]]]) -> dict[str, Rows]:
    """What a loader brings of a shop."""
    rows = {name: Rows() for name in TABLES}
    for name, found in shop.items():
        rows[name].extend(
            load.line(None if one.get(column) is None else str(one[column]) for column in TABLES[name].columns)
            for one in found
        )
    return rows


def loaded(connection: Connection, shop: dict[str, list[dict[str, object]]]) -> LoadReport:
    with transaction(connection) as cursor:
        load.prepare(cursor)
        return load.replace(cursor, brought(shop), "a shop")


@pytest.fixture
def shop(db: Connection) -> Connection:
    """A shop of three that was loaded, with one mart, in which Ann has an older e-mail address."""
    fill(db)
    return db


def fill(db: Connection) -> None:
    """Load that shop, and make its mart."""
    loaded(db, SHOP)
    with db.cursor() as cursor:
        cursor.execute(
            """
            create table analytics.dim_users as
            select user_id, first_name, last_name, 'old' || email as email, created_at,
                address_id, address, state, country
            from raw.users join raw.addresses using (address_id);
            create table analytics_next.int_first_purchases as
            select user_id || '/fern' as user_product_id, user_id, 'fern' as product_id from raw.users;
            create table staging.int_orders__changes as select true as is_present, orders.* from raw.orders;
            """
        )
        personal.note(
            cursor,
            {"first_name": None, "last_name": None, "email": None, "phone_number": None, "address": None}
            | {"tracking_id": None, "user_id": "user_id", "user_product_id": "user_id", "address_id": "address_id"},
        )


def forget(user_id: str, reason: str = "asked for it") -> erasure.Certificate:
    return erasure.erase(user_id, reason, lambda _: "ada")


def everything(connection: Connection) -> str:
    """All rows of all tables, as text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
            " union all select 'pg_catalog', 'pg_stats' order by 1, 2"
        )
        content = []
        for table in cursor.fetchall():
            cursor.execute(sql.SQL("select whole::text from {} as whole order by 1").format(sql.Identifier(*table)))
            content += [f"{'.'.join(table)}: {row}" for (row,) in cursor.fetchall()]
    return "\n".join(content)


def ask(connection: Connection, query: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()
