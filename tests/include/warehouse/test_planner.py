"""The planner's settings: the warehouse's own, unless somebody has said otherwise or we may not."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.settings import Warehouse
from include.warehouse import connect, migrate

pytestmark = pytest.mark.db


def told(where: Warehouse) -> str:
    with connect(where=where) as connection, connection.cursor() as cursor:
        cursor.execute("show random_page_cost")
        return cursor.fetchone()[0]


def test_a_migrated_warehouse_knows_that_a_page_out_of_order_is_cheap(warehouse: Warehouse):
    assert told(warehouse) == "4"
    migrate.upgrade()
    assert told(warehouse) == "1.1"


def test_what_somebody_set_stays(db: Connection, warehouse: Warehouse):
    with db.cursor() as cursor:
        cursor.execute(f"alter database {warehouse.database} set random_page_cost = 2")
    migrate.upgrade()
    assert told(warehouse) == "2"


def test_who_is_not_the_owner_migrates_all_the_same_and_is_told(
    db: Connection, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
):
    with db.cursor() as cursor:
        cursor.execute("drop role if exists guest")
        cursor.execute("create role guest login")
        cursor.execute(f"grant create on database {warehouse.database} to guest")
    guest = Warehouse(warehouse.host, warehouse.port, warehouse.database, "guest", "")
    migrate.upgrade(guest)
    assert told(guest) == "4"
    assert "set random_page_cost = 1.1" in caplog.text
    with psycopg2.connect(host=guest.host, port=guest.port, dbname=guest.database, user="guest") as connection:
        connection.cursor().execute("select from ops.runs")
    connection.close()
    with db.cursor() as cursor:
        cursor.execute("drop owned by guest cascade")
        cursor.execute("drop role guest")
