"""The marts on a small shop: before and after its snapshots, reconciled, and through a change of price."""

from __future__ import annotations

import pytest

from tests.dbt.conftest import Dbt, KeptShop, Shop

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def built(dbt: Dbt, shop: KeptShop) -> Shop:
    """A small shop, its marts built and its snapshots not taken yet."""

    def build() -> None:
        shop.small()
        statuses = dbt("build", "--selector", "transform", "--exclude-resource-type", "unit_test")
        assert {name: status for name, status in statuses.items() if status not in ("success", "pass", "no-op")} == {}

    shop.come_to("small_marts", build)
    return shop


def marts(shop: Shop) -> dict[str, list[tuple]]:
    tables = shop.query("select tablename from pg_tables where schemaname = 'analytics_next'")
    return {name: shop.rows(f"analytics_next.{name}") for (name,) in tables}


def test_no_mart_needs_a_snapshot_to_be_there(built: Shop):
    assert built.value("select to_regclass('snapshots.products_snapshot')") is None
    assert built.value("select sum(amount) from analytics_next.fact_order_items") == 39


@pytest.mark.parametrize(
    ("damage", "test"),
    [
        ("update analytics_next.fact_orders set items_amount = items_amount * 2", "money_adds_up"),
        ("update analytics_next.int_user_product_sessions set amount = amount + 1", "money_adds_up"),
        ("update analytics_next.dim_users set lifetime_value = 0", "money_adds_up"),
        ("update analytics_next.fact_product set units = units + 1", "units_add_up"),
        ("delete from analytics_next.fact_product_sessions_daily where orders > 0", "orders_add_up"),
        ("delete from analytics_next.int_user_sessions where not is_converted", "sessions_add_up"),
        ("update analytics_next.int_user_sessions set packages_shipped = 0", "events_add_up"),
        ("update analytics_next.daily_metrics set value = value + 1 where metric = 'revenue'", "metrics_add_up"),
        ("delete from analytics_next.int_user_first_orders where user_id = 'ann'", "buyers_add_up"),
        (
            "update analytics_next.repeat_purchase_indicators set buyers = buyers + 1 where indicator = 'weekday'",
            "buyers_add_up",
        ),
        ("update analytics_next.product_funnel_daily set sessions_bought = 0", "funnel_adds_up"),
    ],
)
def test_a_mart_that_tells_another_figure_fails_its_reconciliation(dbt: Dbt, built: Shop, damage: str, test: str):
    table = damage.split("analytics_next.")[1].split()[0]
    built.query(f"create table keep as select * from analytics_next.{table}")
    try:
        built.query(damage)
        assert dbt("test", "--select", test) == {test: "fail"}
    finally:
        built.query(f"truncate analytics_next.{table}")
        built.query(f"insert into analytics_next.{table} select * from keep")
        built.query("drop table keep")


def test_a_new_price_rewrites_no_past_revenue(dbt: Dbt, built: Shop):
    """Day two changes a price and sells at it: rebuilt before and after its snapshot, the marts have the same rows."""
    shop = built
    first = marts(shop)
    dbt("snapshot")
    dbt("run", "--selector", "transform")
    assert marts(shop) == first

    tomorrow = "2021-02-13 06:00:00+00"
    shop.query(
        f"update raw.products set price = 100, inventory = 7, _loaded_at = '{tomorrow}' where product_id = 'fern'"
    )
    shop.insert("orders", shop.order("o4", order_cost=100, order_total=105), loaded_at=tomorrow)
    shop.insert("order_items", {"order_id": "o4", "product_id": "fern", "quantity": 1}, loaded_at=tomorrow)
    dbt("run", "--selector", "transform")
    test = "int_orders_cost_is_the_sum_of_the_items"
    assert dbt("test", "--select", test) == {test: "pass"}
    second = marts(shop)
    amounts = shop.query(
        "select order_id, amount from analytics_next.fact_order_items where product_id = 'fern' order by 1"
    )
    assert amounts == [("o1", 20), ("o2", 10), ("o4", 100)]

    dbt("snapshot")
    dbt("run", "--selector", "transform")
    assert marts(shop) == second
