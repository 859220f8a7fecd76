"""What the tests of the raw tables share: a database of their own, and a folder of seven small CSV files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.local import postgres
from include.raw.contract import TABLES
from include.settings import Warehouse


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


def replace_in(path: Path, old: str, new: str) -> None:
    """Change what a file says."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def append(path: Path, text: str) -> None:
    """Add to a file."""
    with path.open("a") as file:
        file.write(text)


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
