"""What ran out or was oversold, and the units in stock day by day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from psycopg2.extensions import connection as Connection

from plugins.data_health import pages
from plugins.data_health.views import inventory
from plugins.data_health.views.inventory import Oversold, Stock, StockOut
from tests.plugins.conftest import Ask

pytestmark = pytest.mark.db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOSTILE = "<script>alert('fern')</script>"


@pytest.fixture
def marts(ops: Connection) -> Connection:
    with ops.cursor() as cursor:
        cursor.execute(
            "create table analytics.fact_product"
            " (product_id text, product_name text, inventory integer, units bigint, oversold_units bigint);"
            "create table analytics.product_stock_outs (product_id text, product_name text, out_from timestamp,"
            " out_until timestamp, hours numeric(16, 2));"
            "create table snapshots.products_snapshot"
            " (product_id text, name text, inventory integer, dbt_valid_from timestamp, dbt_valid_to timestamp);"
            "grant select on all tables in schema analytics, snapshots to greenery_health"
        )
    return ops


def test_the_most_oversold_product_is_first_and_others_are_left_out(marts: Connection, ask: Ask) -> None:
    with marts.cursor() as cursor:
        cursor.execute(
            "insert into analytics.fact_product values"
            " ('a', 'Fern', 5, 6, 1), ('b', 'Moss', 2, 9, 7), ('c', 'Ivy', 9, 9, 0)"
        )
    found = ask(inventory.read, at=NOW)
    assert found.oversold == (Oversold("b", "Moss", 2, 9, 7), Oversold("a", "Fern", 5, 6, 1))
    assert found.oversold_count == 2


def test_what_is_still_out_of_stock_comes_first(marts: Connection, ask: Ask) -> None:
    with marts.cursor() as cursor:
        cursor.execute(
            "insert into analytics.product_stock_outs values"
            " ('a', 'Fern', '2026-11-20 06:00', '2026-11-21 06:00', 24), ('b', 'Moss', '2026-11-19 06:00', null, 120)"
        )
    found = ask(inventory.read, at=NOW)
    assert found.stock_outs == (
        StockOut("b", "Moss", datetime(2026, 11, 19, 6, tzinfo=UTC), None, 120),
        StockOut("a", "Fern", datetime(2026, 11, 20, 6, tzinfo=UTC), datetime(2026, 11, 21, 6, tzinfo=UTC), 24),
    )
    assert "still out" in pages.render("inventory.html", answer=found)


def test_a_day_has_the_units_that_were_in_stock_at_its_end(marts: Connection, ask: Ask) -> None:
    with marts.cursor() as cursor:
        cursor.execute(
            "insert into snapshots.products_snapshot values"
            " ('a', 'Fern', 9, '2026-11-21 06:00', '2026-11-23 06:00'),"
            " ('a', 'Fern', 7, '2026-11-23 06:00', '2026-11-23 20:00'),"
            " ('a', 'Fern', 0, '2026-11-23 20:00', null)"
        )
    found = ask(inventory.read, at=NOW)
    assert found.stocks == (Stock("a", "Fern", (*[None] * 10, 9, 9, 0, 0)),)
    assert found.days[-1] == NOW.date()


def test_a_hostile_name_of_a_product_is_escaped(marts: Connection, ask: Ask) -> None:
    with marts.cursor() as cursor:
        cursor.execute("insert into analytics.fact_product values ('a', %s, 0, 1, 1)", (HOSTILE,))
        cursor.execute("insert into snapshots.products_snapshot values ('a', %s, 0, '2026-11-21', null)", (HOSTILE,))
    page = pages.render("inventory.html", answer=ask(inventory.read, at=NOW))
    assert page.count("&lt;script&gt;alert(") == 2
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("analytics.fact_product", "no mart <code>fact_product</code>"),
        ("analytics.product_stock_outs", "no mart <code>product_stock_outs</code>"),
        ("snapshots.products_snapshot", "no history of products yet"),
    ],
)
def test_what_a_shop_does_not_have_is_said(marts: Connection, ask: Ask, table: str, says: str) -> None:
    with marts.cursor() as cursor:
        cursor.execute(f"drop table {table}")
    assert says in pages.render("inventory.html", answer=ask(inventory.read, at=NOW))
