"""The planner's settings: the warehouse's own, unless somebody has said otherwise or we may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.settings import Warehouse
from include.warehouse import connect, migrate

pytestmark = pytest.mark.db


def told(where: Warehouse) -> str:
    with connect(where=where) as connection, connection.cursor() as cursor:
        cursor.execute("show random_page_cost")
        return cursor.fetchone()[0]


def do(where: Warehouse, statement: str) -> None:
    with connect(where=where) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_migrated_warehouse_knows_that_a_page_out_of_order_is_cheap(empty_warehouse: Warehouse):
    assert told(empty_warehouse) == "4"
    migrate.upgrade()
    assert told(empty_warehouse) == "1.1"


def test_what_somebody_set_stays(empty_warehouse: Warehouse):
    do(empty_warehouse, f"alter database {empty_warehouse.database} set random_page_cost = 2")
    migrate.upgrade()
    assert told(empty_warehouse) == "2"


def test_who_is_not_the_owner_migrates_all_the_same_and_is_told(
    empty_warehouse: Warehouse, caplog: pytest.LogCaptureFixture
):
    do(empty_warehouse, "drop role if exists guest; create role guest login")
    do(empty_warehouse, f"grant create on database {empty_warehouse.database} to guest")
    guest = replace(empty_warehouse, user="guest")
    migrate.upgrade(guest)
    assert told(guest) == "4"
    assert "set random_page_cost = 1.1" in caplog.text
    do(guest, "select from ops.runs")
    do(empty_warehouse, "drop owned by guest cascade; drop role guest")
