"""History: what a run saw is kept, whatever became of the data meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from multiprocessing import get_context

import pytest

from tests.dbt.conftest import Dbt, KeptShop, Shop
from tests.dbt.days import Project
from tests.waiting import wait_for

pytestmark = pytest.mark.db


Build = Callable[..., None]


@pytest.fixture
def build(told_in_full: Project) -> Build:
    """Builds snapshots and models, by name and without their tests."""

    def build(*select: str) -> None:
        assert set(told_in_full.untested("build", "--select", *select).values()) == {"success"}

    return build


@pytest.fixture
def first_day(dbt: Dbt, shop: KeptShop) -> Shop:
    """A small shop whose first snapshots are taken."""

    def build() -> None:
        shop.small()
        statuses = dbt("build", "--selector", "snapshot")
        assert {statuses["orders_snapshot"], statuses["products_snapshot"]} == {"success"}

    shop.come_to("first_snapshots", build)
    return shop


def test_records_three_status_changes_and_no_more(build: Build, first_day: Shop):
    first_day.query(
        "update raw.orders set status = 'shipped', tracking_id = order_id || '-tracked', shipping_service = 'ups',"
        " estimated_delivery_at = created_at + interval '3 days', _loaded_at = now()"
    )
    first_day.insert("orders", first_day.order("new", order_cost=1, order_total=6))
    build("orders_snapshot")
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


def test_a_reloaded_order_that_did_not_change_is_no_version(build: Build, first_day: Shop):
    first_day.query("update raw.orders set _loaded_at = now()")
    build("orders_snapshot")
    assert first_day.value("select count(*) from snapshots.orders_snapshot") == 3


def test_a_price_is_dated_by_the_load_clock(build: Build, first_day: Shop):
    first_day.query(
        "update raw.products set price = 12, _loaded_at = '2021-02-13 06:00:00+00' where product_id = 'fern'"
    )
    build("products_snapshot")
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


def item_prices(shop: Shop) -> list[tuple]:
    return shop.query("select order_item_id, price from snapshots.order_items_snapshot order by 1")


def test_an_item_keeps_the_price_at_which_a_run_first_saw_it(dbt: Dbt, build: Build, first_day: Shop):
    """Corrected, and even where it left and came back; an item of a new order has the new price.

    One that comes late to an order that is held has the price at which that was placed.
    """
    before = item_prices(first_day)
    assert before == [("o1/fern", 10), ("o1/moss", Decimal("4.5")), ("o2/fern", 10), ("o3/moss", Decimal("4.5"))]
    first_day.query("update raw.products set price = 2 * price, _loaded_at = now()")
    first_day.query("update raw.order_items set quantity = quantity + 1, _loaded_at = now() where order_id <> 'o3'")
    first_day.query("delete from raw.order_items where order_id = 'o3'")
    first_day.insert("orders", first_day.order("o4", created_at="now"), loaded_at="now")
    first_day.insert("order_items", {"order_id": "o4", "product_id": "fern", "quantity": 1}, loaded_at="now")
    first_day.insert("order_items", {"order_id": "o2", "product_id": "moss", "quantity": 1}, loaded_at="now")
    build("products_snapshot", "order_items_snapshot")
    first_day.insert("order_items", {"order_id": "o3", "product_id": "moss", "quantity": 1}, loaded_at="now")
    statuses = dbt("build", "--selector", "snapshot")
    assert set(statuses.values()) == {"success", "pass"}
    assert item_prices(first_day) == sorted([*before, ("o2/moss", Decimal("4.5")), ("o4/fern", 20)])


@pytest.mark.parametrize("unknown", [None, -1, "NaN", "Infinity"])
def test_an_item_without_a_price_is_written_down_once_there_is_one(
    dbt: Dbt, build: Build, first_day: Shop, unknown: int | str | None
):
    before = item_prices(first_day)
    first_day.insert("products", {"product_id": "yew", "name": "Yew", "price": unknown, "inventory": 1})
    first_day.insert("orders", first_day.order("o9"))
    first_day.insert("order_items", {"order_id": "o9", "product_id": "yew", "quantity": 1})
    dbt("build", "--selector", "snapshot")
    assert item_prices(first_day) == before
    first_day.query("update raw.products set price = 9, _loaded_at = now() where product_id = 'yew'")
    build("products_snapshot", "order_items_snapshot")
    assert item_prices(first_day) == [*before, ("o9/yew", 9)]


def test_a_doubled_item_skips_the_prices_of_items_and_no_other_snapshot(dbt: Dbt, first_day: Shop):
    before = item_prices(first_day)
    first_day.query("insert into raw.order_items select * from raw.order_items limit 1")
    statuses = dbt("build", "--selector", "snapshot")
    assert statuses["order_items_snapshot"] == "skipped"
    assert (statuses["orders_snapshot"], statuses["products_snapshot"]) == ("success", "success")
    assert item_prices(first_day) == before


def versions_of_fern(shop: Shop) -> list[tuple]:
    """Price, and when it began and ended: the stamps of the shop, or "now" for the run's own time."""

    def told(column: str) -> str:
        return (
            f"case when abs(extract(epoch from (now() at time zone 'UTC') - {column})) < 600 then 'now'"
            f" else {column}::date::text end"
        )

    return shop.query(
        f"select price::int, {told('dbt_valid_from')}, {told('dbt_valid_to')} from snapshots.products_snapshot"
        " where product_id = 'fern' order by dbt_valid_from"
    )


def is_sound(shop: Shop) -> bool:
    """Whether each version has a key of its own, and none ends before it begins."""
    return shop.value(
        "select count(*) = count(distinct dbt_scd_id) and bool_and(coalesce(dbt_valid_from < dbt_valid_to, true))"
        " from snapshots.products_snapshot"
    )


def test_a_price_that_changes_under_its_old_stamp_is_dated_by_the_run_that_saw_it(build: Build, first_day: Shop):
    for price in (12, 13):
        first_day.query(f"update raw.products set price = {price} where product_id = 'fern'")
        build("products_snapshot")
    assert versions_of_fern(first_day) == [(10, "2021-02-12", "now"), (12, "now", "now"), (13, "now", None)]
    assert is_sound(first_day)


def test_an_older_dump_that_was_restored_doubles_no_version(build: Build, first_day: Shop):
    first_day.query("create table raw.dump as table raw.products")
    for change in (
        "update raw.products set price = 12, _loaded_at = '2021-02-13' where product_id = 'fern'",
        "update raw.products set price = dump.price, _loaded_at = dump._loaded_at from raw.dump"
        " where dump.product_id = products.product_id",
    ):
        first_day.query(change)
        build("products_snapshot")
    assert versions_of_fern(first_day) == [
        (10, "2021-02-12", "2021-02-13"),
        (12, "2021-02-13", "now"),
        (10, "now", None),
    ]
    assert is_sound(first_day)


def test_a_price_with_a_stamp_from_the_future_is_dated_by_the_run_that_saw_it(build: Build, first_day: Shop):
    for price, stamp in ((12, "'2999-01-01'"), (13, "now()")):
        first_day.query(f"update raw.products set price = {price}, _loaded_at = {stamp} where product_id = 'fern'")
        build("products_snapshot")
    assert versions_of_fern(first_day) == [(10, "2021-02-12", "now"), (12, "now", "now"), (13, "now", None)]
    assert is_sound(first_day)


def test_a_change_under_an_old_stamp_is_told_before_the_snapshot_takes_it(dbt: Dbt, build: Build, first_day: Shop):
    first_day.query("update raw.products set price = 12 where product_id = 'fern'")
    first_day.query("update raw.products set price = 5, _loaded_at = '2021-02-13' where product_id = 'moss'")
    [result] = dbt.results("test", "--select", "products_changed_under_an_old_stamp")
    assert str(result.status) == "warn"
    assert first_day.query(
        "select product_id, price_before::int, price::int, stamped_at::text"
        f" from ({result.node.compiled_code}) as found"
    ) == [("fern", 10, 12, "2021-02-12 06:00:00")]
    build("products_snapshot")
    assert dbt("test", "--select", "products_changed_under_an_old_stamp") == {
        "products_changed_under_an_old_stamp": "pass"
    }


def test_a_price_that_is_no_number_is_no_change_once_the_snapshot_has_it(dbt: Dbt, first_day: Shop):
    """Other tests tell of it every day. A change of the stock under the same stamp is told still, once."""
    test = ("test", "--select", "products_changed_under_an_old_stamp")
    for change, told in (
        ("price = 'NaN', _loaded_at = now()", "pass"),
        ("price = 'Infinity'", "pass"),
        ("inventory = inventory + 1", "warn"),
    ):
        first_day.query(f"update raw.products set {change} where product_id = 'fern'")
        assert dbt(*test) == {"products_changed_under_an_old_stamp": told}
        dbt("build", "--selector", "snapshot")
        assert dbt(*test) == {"products_changed_under_an_old_stamp": "pass"}


@pytest.mark.parametrize(("table", "other"), [("orders", "products"), ("products", "orders")])
def test_a_doubled_key_skips_its_own_snapshot_and_the_prices_of_items(
    dbt: Dbt, first_day: Shop, table: str, other: str
):
    before = first_day.rows(f"snapshots.{table}_snapshot")
    first_day.query(f"insert into raw.{table} select * from raw.{table} limit 1")
    statuses = dbt("build", "--selector", "snapshot")
    assert statuses[f"source_unique_greenery_{table}_{table[:-1]}_id"] == "fail"
    assert (statuses[f"{table}_snapshot"], statuses[f"{other}_snapshot"]) == ("skipped", "success")
    # An item's price comes from the products, and its time from the orders.
    assert statuses["order_items_snapshot"] == "skipped"
    assert first_day.rows(f"snapshots.{table}_snapshot") == before


def test_a_missing_key_skips_the_snapshot(dbt: Dbt, first_day: Shop):
    first_day.query("update raw.orders set order_id = null where order_id = 'o1'")
    assert dbt("build", "--selector", "snapshot")["orders_snapshot"] == "skipped"


def test_a_fault_in_another_column_stops_no_history(dbt: Dbt, first_day: Shop):
    first_day.query("update raw.orders set user_id = null, status = 'lost' where order_id = 'o1'")
    dbt("build", "--selector", "snapshot")
    assert first_day.value("select count(*) from snapshots.orders_snapshot where status = 'lost'") == 1


def test_two_that_take_it_at_once_write_each_change_once(dbt: Dbt, first_day: Shop):
    """A task that was given up and its retry: neither may write before both have come as far as they can."""
    first_day.query("update raw.orders set status = 'shipped', _loaded_at = now()")
    take = ("build", "--select", "orders_snapshot", "--exclude-resource-type", "test")
    both = [get_context("fork").Process(target=dbt, args=take) for _ in range(2)]
    waiting = "select count(*) from pg_locks where not granted"
    first_day.query("begin")
    try:
        first_day.query("lock table snapshots.orders_snapshot in exclusive mode")
        for one in both:
            one.start()
        wait_for(lambda: first_day.value(waiting) == 2, "both wait to write")
    finally:
        first_day.query("commit")
    for one in both:
        one.join(120)
    assert [one.exitcode for one in both] == [0, 0]
    assert first_day.query(
        "select order_id, count(*), count(dbt_valid_to) from snapshots.orders_snapshot group by order_id order by 1"
    ) == [(order, 2, 1) for order in ("o1", "o2", "o3")]


def test_columns_that_nobody_declared_ride_through(build: Build, first_day: Shop):
    for change in ("add column gift_note integer", "alter column gift_note type text", "drop column gift_note"):
        first_day.query(f"alter table raw.orders {change}")
        build("orders_snapshot")
    assert first_day.value("select count(*) from snapshots.orders_snapshot") == 3


def test_an_order_that_left_raw_keeps_its_history(build: Build, first_day: Shop):
    first_day.query("delete from raw.orders where order_id = 'o1'")
    build("orders_snapshot")
    assert first_day.value("select dbt_valid_to from snapshots.orders_snapshot where order_id = 'o1'") is None


def test_what_a_snapshot_saw_change_is_told_with_its_tracking(dbt: Dbt, build: Build, first_day: Shop):
    first_day.query("update raw.orders set status = 'shipped', tracking_id = 't1', shipping_service = 'ups'")
    first_day.insert("orders", first_day.order("new", order_cost=1, order_total=6))
    build("orders_snapshot")
    first_day.query("update raw.orders set tracking_id = 't2' where order_id = 'o1'")
    first_day.query("update raw.orders set status = 'delivered' where order_id = 'o2'")
    build("orders_snapshot")
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


def test_a_mart_that_lacks_a_change_of_an_order_does_not_add_up(dbt: Dbt, build: Build, first_day: Shop):
    first_day.query("update raw.orders set status = 'shipped'")
    build("orders_snapshot", "order_status_changes")
    test = ("test", "--select", "order_changes_add_up")
    assert dbt(*test) == {"order_changes_add_up": "pass"}
    first_day.query("delete from analytics_next.order_status_changes where order_id = 'o2'")
    assert dbt(*test) == {"order_changes_add_up": "fail"}


def test_a_stock_out_is_told_from_the_load_that_showed_it_to_the_one_that_ended_it(
    dbt: Dbt, build: Build, first_day: Shop
):
    """Ivy has been out from the start; fern sells out, changes its price and comes back, moss sells out last."""
    for at, change in (
        ("2021-02-13 06:00:00+00", "inventory = 0 where product_id = 'fern'"),
        ("2021-02-14 06:00:00+00", "price = 12 where product_id = 'fern'"),
        ("2021-02-14 18:00:00+00", "inventory = 5 where product_id = 'fern'"),
        ("2021-02-15 06:00:00+00", "inventory = 0 where product_id = 'moss'"),
    ):
        first_day.query(f"update raw.products set _loaded_at = '{at}', {change}")
        build("products_snapshot")
    statuses = dbt("build", "--select", "product_stock_outs", "--exclude-resource-type", "unit_test")
    assert set(statuses.values()) == {"success", "pass"}
    assert first_day.query(
        "select product_name, out_from::text, out_until::text, hours from analytics_next.product_stock_outs order by 1"
    ) == [
        ("Fern", "2021-02-13 06:00:00", "2021-02-14 18:00:00", 36),
        ("Ivy", "2021-02-12 06:00:00", None, 72),
        ("Moss", "2021-02-15 06:00:00", None, 0),
    ]
