"""History: what a run saw is kept, whatever became of the data meanwhile."""

from __future__ import annotations

import pytest

from tests.dbt.conftest import Dbt, KeptShop, Shop

pytestmark = pytest.mark.db


@pytest.fixture
def first_day(dbt: Dbt, shop: KeptShop) -> Shop:
    """A small shop whose first snapshots are taken."""

    def build() -> None:
        shop.small()
        statuses = dbt("build", "--selector", "snapshot")
        assert {statuses["orders_snapshot"], statuses["products_snapshot"]} == {"success"}

    shop.come_to("first_snapshots", build)
    return shop


def test_records_three_status_changes_and_no_more(dbt: Dbt, first_day: Shop):
    first_day.query(
        "update raw.orders set status = 'shipped', tracking_id = order_id || '-tracked', shipping_service = 'ups',"
        " estimated_delivery_at = created_at + interval '3 days', _loaded_at = now()"
    )
    first_day.insert("orders", first_day.order("new", order_cost=1, order_total=6))
    dbt("build", "--selector", "snapshot")
    changes = first_day.query(
        "select old.order_id, old.status, new.status, new.tracking_id from snapshots.orders_snapshot as old"
        " join snapshots.orders_snapshot as new"
        " on old.order_id = new.order_id and old.dbt_valid_to = new.dbt_valid_from order by 1"
    )
    assert changes == [(order, "preparing", "shipped", f"{order}-tracked") for order in ("o1", "o2", "o3")]


def test_versions_are_dated_in_utc(first_day: Shop):
    """Within the hour, and not some hours ago as the server's own time zone has it."""
    assert first_day.value(
        "select bool_and(abs(extract(epoch from (now() at time zone 'UTC') - dbt_valid_from)) < 3600)"
        " from snapshots.orders_snapshot"
    )


def test_a_reloaded_order_that_did_not_change_is_no_version(dbt: Dbt, first_day: Shop):
    first_day.query("update raw.orders set _loaded_at = now()")
    dbt("build", "--selector", "snapshot")
    assert first_day.value("select count(*) from snapshots.orders_snapshot") == 3


def test_a_price_is_dated_by_the_load_clock(dbt: Dbt, first_day: Shop):
    first_day.query(
        "update raw.products set price = 12, _loaded_at = '2021-02-13 06:00:00+00' where product_id = 'fern'"
    )
    dbt("build", "--selector", "snapshot")
    versions = first_day.query(
        "select price, dbt_valid_from::text, dbt_valid_to::text from snapshots.products_snapshot"
        " where product_id = 'fern' order by dbt_valid_from"
    )
    assert versions == [(10, "2021-02-12 06:00:00", "2021-02-13 06:00:00"), (12, "2021-02-13 06:00:00", None)]


def test_a_price_that_is_no_number_never_becomes_history(dbt: Dbt, first_day: Shop):
    first_day.query("update raw.products set price = 'NaN', _loaded_at = now() where product_id = 'fern'")
    dbt("build", "--selector", "snapshot")
    assert first_day.query(
        "select price from snapshots.products_snapshot where product_id = 'fern' order by dbt_valid_from"
    ) == [(10,), (None,)]


@pytest.mark.parametrize(("table", "other"), [("orders", "products"), ("products", "orders")])
def test_a_doubled_key_skips_its_own_snapshot_and_no_other(dbt: Dbt, first_day: Shop, table: str, other: str):
    before = first_day.rows(f"snapshots.{table}_snapshot")
    first_day.query(f"insert into raw.{table} select * from raw.{table} limit 1")
    statuses = dbt("build", "--selector", "snapshot")
    assert statuses[f"source_unique_greenery_{table}_{table[:-1]}_id"] == "fail"
    assert (statuses[f"{table}_snapshot"], statuses[f"{other}_snapshot"]) == ("skipped", "success")
    assert first_day.rows(f"snapshots.{table}_snapshot") == before


def test_a_missing_key_skips_the_snapshot(dbt: Dbt, first_day: Shop):
    first_day.query("update raw.orders set order_id = null where order_id = 'o1'")
    assert dbt("build", "--selector", "snapshot")["orders_snapshot"] == "skipped"


def test_a_fault_in_another_column_stops_no_history(dbt: Dbt, first_day: Shop):
    first_day.query("update raw.orders set user_id = null, status = 'lost' where order_id = 'o1'")
    dbt("build", "--selector", "snapshot")
    assert first_day.value("select count(*) from snapshots.orders_snapshot where status = 'lost'") == 1


def test_columns_that_nobody_declared_ride_through(dbt: Dbt, first_day: Shop):
    for change in ("add column gift_note integer", "alter column gift_note type text", "drop column gift_note"):
        first_day.query(f"alter table raw.orders {change}")
        assert dbt("build", "--selector", "snapshot")["orders_snapshot"] == "success"
    assert first_day.value("select count(*) from snapshots.orders_snapshot") == 3


def test_an_order_that_left_raw_keeps_its_history(dbt: Dbt, first_day: Shop):
    first_day.query("delete from raw.orders where order_id = 'o1'")
    dbt("build", "--selector", "snapshot")
    assert first_day.value("select dbt_valid_to from snapshots.orders_snapshot where order_id = 'o1'") is None


def test_what_a_snapshot_saw_change_is_told_with_its_tracking(dbt: Dbt, first_day: Shop):
    first_day.query("update raw.orders set status = 'shipped', tracking_id = 't1', shipping_service = 'ups'")
    first_day.insert("orders", first_day.order("new", order_cost=1, order_total=6))
    dbt("build", "--selector", "snapshot")
    first_day.query("update raw.orders set tracking_id = 't2' where order_id = 'o1'")
    first_day.query("update raw.orders set status = 'delivered' where order_id = 'o2'")
    dbt("build", "--selector", "snapshot")
    statuses = dbt("build", "--select", "order_status_changes", "--exclude-resource-type", "unit_test")
    assert set(statuses.values()) == {"success", "pass"}
    assert first_day.query(
        "select order_id, what_changed, from_status, to_status, tracking_id, shipping_service"
        " from analytics_next.order_status_changes order by changed_at, order_id"
    ) == [
        ("o1", "status", "preparing", "shipped", "t1", "ups"),
        ("o2", "status", "preparing", "shipped", "t1", "ups"),
        ("o3", "status", "preparing", "shipped", "t1", "ups"),
        ("o1", "delivery", "shipped", "shipped", "t2", "ups"),
        ("o2", "status", "shipped", "delivered", "t1", "ups"),
    ]


def test_a_stock_out_is_told_from_the_load_that_showed_it_to_the_one_that_ended_it(dbt: Dbt, first_day: Shop):
    """Ivy has been out from the start; fern sells out, changes its price and comes back, moss sells out last."""
    for at, change in (
        ("2021-02-13 06:00:00+00", "inventory = 0 where product_id = 'fern'"),
        ("2021-02-14 06:00:00+00", "price = 12 where product_id = 'fern'"),
        ("2021-02-14 18:00:00+00", "inventory = 5 where product_id = 'fern'"),
        ("2021-02-15 06:00:00+00", "inventory = 0 where product_id = 'moss'"),
    ):
        first_day.query(f"update raw.products set _loaded_at = '{at}', {change}")
        dbt("build", "--selector", "snapshot")
    statuses = dbt("build", "--select", "product_stock_outs", "--exclude-resource-type", "unit_test")
    assert set(statuses.values()) == {"success", "pass"}
    assert first_day.query(
        "select product_name, out_from::text, out_until::text, hours from analytics_next.product_stock_outs order by 1"
    ) == [
        ("Fern", "2021-02-13 06:00:00", "2021-02-14 18:00:00", 36),
        ("Ivy", "2021-02-12 06:00:00", None, 72),
        ("Moss", "2021-02-15 06:00:00", None, 0),
    ]
