"""What the shop's tests share: a folder of seven small CSV files, and weeks of the demo shop, played once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.local import postgres
from include.settings import Warehouse
from include.shop import demo
from include.shop.load import LoadReport
from include.shop.raw import TABLES

WEEKS = 5


def query(db: Connection, statement: str, *parameters: object) -> list[tuple]:
    """The rows that a statement returns."""
    with db.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall()


def value(db: Connection, statement: str, *parameters: object) -> object:
    """The one value that a statement returns."""
    return query(db, statement, *parameters)[0][0]


def contents(db: Connection, *, stamps: bool = False) -> dict[str, list[tuple]]:
    """Every row of the raw tables, sorted, with or without `_loaded_at`."""
    return {
        table.name: sorted(
            query(db, f"select {', '.join(table.columns)}{', _loaded_at' if stamps else ''} from raw.{table.name}"),
            key=repr,
        )
        for table in TABLES.values()
    }


@pytest.fixture(scope="session")
def shop_database(server: postgres.LocalPostgres) -> Warehouse:
    """One database for all of these tests, since making one takes longer than most of them do."""
    postgres.ensure_database(server, "shop")
    return server.database("shop")


@pytest.fixture
def warehouse(shop_database: Warehouse) -> Iterator[Warehouse]:
    """The database without a raw table in it."""
    yield shop_database
    with closing(connect_to(shop_database)) as connection, connection, connection.cursor() as cursor:
        # What a failed test left open would hold the tables.
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        cursor.execute("drop schema if exists raw cascade")


def connect_to(where: Warehouse) -> Connection:
    """A connection that commits when told to."""
    return psycopg2.connect(
        host=where.host, port=where.port, dbname=where.database, user=where.user, options="-c timezone=UTC"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven small CSV files that hang together."""
    files = {
        "addresses": "address_id,address,zipcode,state,country\na1,1 Peat Row,02134,Massachusetts,United States\n",
        "users": (
            "user_id,first_name,last_name,email,phone_number,created_at,updated_at,address_id\n"
            "u1,Fern,Mossbank,fern@example.com,202-555-0101,2021-01-05T10:00:00Z,2021-01-06T10:00:00Z,a1\n"
        ),
        "products": "product_id,name,price,inventory\np1,Postcard Pothos,30.5,40\np2,Quiet ZZ,25.0,12\n",
        "promos": "promo_id,discount,status\nfirst sprout,2,active\n",
        "orders": (
            "order_id,user_id,promo_id,address_id,created_at,order_cost,shipping_cost,order_total,tracking_id,"
            "shipping_service,estimated_delivery_at,delivered_at,status\n"
            "o1,u1,,a1,2021-02-10T12:00:00Z,30.5,5.0,35.5,,,,,preparing\n"
            "o2,u1,first sprout,a1,2021-02-10T13:00:00Z,50.0,5.0,53.0,t2,ups,2021-02-12T13:00:00Z,,shipped\n"
        ),
        "order_items": "order_id,product_id,quantity\no1,p1,1\no2,p2,2\n",
        "events": (
            "event_id,session_id,user_id,page_url,created_at,event_type,order_id,product_id\n"
            "e1,s1,u1,https://greenery.example/product/p1,2021-02-10T11:59:00Z,page_view,,p1\n"
            "e2,s1,u1,https://greenery.example/checkout/o1,2021-02-10T12:00:00Z,checkout,o1,\n"
        ),
    }
    place = tmp_path / "small-shop"
    place.mkdir()
    for name, text in files.items():
        (place / f"{name}.csv").write_text(text)
    return place


@dataclass
class History:
    """The demo shop after some weeks, and what it looked like at the end of each day."""

    db: Connection
    reports: dict[int, LoadReport] = field(default_factory=dict)
    statuses: dict[int, dict[str, str]] = field(default_factory=dict)
    prices: dict[int, dict[str, Decimal]] = field(default_factory=dict)
    inventory: dict[int, dict[str, int]] = field(default_factory=dict)
    promos: dict[int, dict[str, tuple[Decimal, str]]] = field(default_factory=dict)

    def loaded_at(self, day: int) -> datetime:
        """When a day was loaded."""
        return self.reports[day].loaded_at


@pytest.fixture(scope="session")
def history(server: postgres.LocalPostgres) -> Iterator[History]:
    """Five weeks of the demo shop in its default size. Only to be read."""
    postgres.ensure_database(server, "shop_history")
    db = connect_to(server.database("shop_history"))
    db.autocommit = True
    weeks = History(db)
    for day in range(1, WEEKS * 7 + 1):
        weeks.reports[day] = demo.play_day(db, day)
        weeks.statuses[day] = dict(query(db, "select order_id, status from raw.orders"))
        weeks.prices[day] = dict(query(db, "select product_id, price from raw.products"))
        weeks.inventory[day] = dict(query(db, "select product_id, inventory from raw.products"))
        weeks.promos[day] = {row[0]: row[1:] for row in query(db, "select promo_id, discount, status from raw.promos")}
    yield weeks
    db.close()
