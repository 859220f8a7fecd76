"""What is wrong with the raw tables is found there, by a test whose name says what it is."""

from __future__ import annotations

import pytest

from tests.dbt.conftest import Dbt, Shop

pytestmark = pytest.mark.db

FAULTS = {
    "a doubled order": (
        "insert into raw.orders select * from raw.orders limit 1",
        "source_unique_greenery_orders_order_id",
    ),
    "an order without a key": (
        "insert into raw.orders (order_id, _loaded_at) values (null, now())",
        "source_not_null_greenery_orders_order_id",
    ),
    "an order without a stamp": (
        "alter table raw.orders alter _loaded_at drop not null; update raw.orders set _loaded_at = null",
        "source_not_null_greenery_orders__loaded_at",
    ),
    "a doubled item": (
        "insert into raw.order_items select * from raw.order_items limit 1",
        "source_unique_combination_greenery_order_items_order_id__product_id",
    ),
    "emptied orders": ("truncate raw.orders", "source_not_empty_greenery_orders_"),
    "an unknown status": (
        "update raw.orders set status = 'lost'",
        "source_accepted_values_greenery_orders_status__preparing__shipped__delivered",
    ),
    "an unknown kind of event": (
        "update raw.events set event_type = 'swipe'",
        "source_accepted_values_greenery_events_event_type__page_view__add_to_cart__checkout__package_shipped",
    ),
    "an item of no order": (
        "update raw.order_items set order_id = 'gone' where order_id = 'o2'",
        "source_relationships_greenery_order_items_order_id__order_id__source_greenery_orders_",
    ),
    "a dropped column": ("alter table raw.orders drop column shipping_service", "source_has_shape_greenery_orders_"),
    "a retyped column": (
        "alter table raw.products alter column price type text",
        "source_has_shape_greenery_products_",
    ),
    "a negative quantity": (
        "update raw.order_items set quantity = -1",
        "source_not_negative_greenery_order_items_quantity",
    ),
    "a negative price": ("update raw.products set price = -1", "source_not_negative_greenery_products_price"),
    "a negative discount": ("update raw.promos set discount = -1", "source_not_negative_greenery_promos_discount"),
    "a discount that is no number": (
        "update raw.promos set discount = 'NaN'",
        "source_is_finite_greenery_promos_discount__promo_id",
    ),
    "an order of endless cost": (
        "update raw.orders set order_total = 'Infinity'",
        "source_is_finite_greenery_orders_order_total__order_id",
    ),
    "a price that no mart can hold": (
        "update raw.products set price = 1e14 where product_id = 'fern'",
        "source_is_finite_greenery_products_price__product_id",
    ),
    "a blank session": (
        r"update raw.events set session_id = E' \t\u00a0' where event_id = 'e6'",
        "source_is_id_greenery_events_event_id__session_id__event_id",
    ),
    "a session that no index can hold": (
        "update raw.events set session_id = repeat('x', 1001) where event_id = 'e6'",
        "source_is_id_greenery_events_event_id__session_id__event_id",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_finds(dbt: Dbt, shop: Shop, fault: str):
    damage, test = FAULTS[fault]
    shop.small()
    shop.query(damage)
    assert dbt("test", "--select", test) == {test: "fail"}


def test_a_price_that_is_no_number_is_found_with_its_product(dbt: Dbt, shop: Shop):
    shop.small()
    shop.query("update raw.products set price = 'NaN' where product_id = 'fern'")
    [result] = dbt.results("test", "--select", "source_is_finite_greenery_products_price__product_id")
    [(product, price)] = shop.query(result.node.compiled_code)
    assert (product, price.is_nan()) == ("fern", True)


def test_every_column_that_can_hold_no_number_is_asked_for_it(dbt: Dbt, shop: Shop):
    tested = {
        (test.depends_on.nodes[0], test.column_name)
        for test in dbt.manifest.nodes.values()
        if test.unique_id.split(".")[2].startswith("source_is_finite_")
    }
    numbers = {
        (source.unique_id, column.name)
        for source in dbt.manifest.sources.values()
        for column in source.columns.values()
        if column.data_type == "numeric"
    }
    assert tested == numbers


def test_a_stamp_from_the_future_is_told_with_its_row_and_stops_nothing(dbt: Dbt, shop: Shop):
    """But for a person's key, which no message may show."""
    shop.small()
    shop.query("update raw.products set _loaded_at = now() + interval '1 minute'")  # no clock is exact
    shop.query("update raw.order_items set _loaded_at = '12021-01-01' where order_id = 'o2'")
    shop.query("update raw.users set _loaded_at = '2999-01-01' where user_id = 'bob'")
    shop.query("insert into raw.deletions values ('users', 'cid', '2999-01-01'), ('promos', 'p', '2999-01-01')")
    [result] = dbt.results("test", "--select", "stamps_from_the_future")
    assert str(result.status) == "warn"
    assert shop.query(f"select table_name, key from ({result.node.compiled_code}) as found order by 1, 2") == [
        ("deletions", "promos/p"),
        ("deletions", "users"),
        ("order_items", "o2/fern"),
        ("users", None),
    ]


def test_a_date_that_the_calendar_can_not_hold_is_found_with_its_row(dbt: Dbt, shop: Shop):
    shop.small()
    shop.query("update raw.users set created_at = '1900-01-01', updated_at = '1900-01-01' where user_id = 'bob'")
    shop.query("update raw.orders set delivered_at = '2999-12-31' where order_id = 'o2'")
    shop.query("update raw.orders set estimated_delivery_at = 'infinity' where order_id = 'o3'")
    shop.query("update raw.events set created_at = '0044-03-15 BC' where event_id = 'e1'")
    [result] = dbt.results("test", "--select", "dates_out_of_the_calendar")
    assert str(result.status) == "fail"
    assert shop.query(
        f"select table_name, key, column_name from ({result.node.compiled_code}) as found order by 1, 2"
    ) == [
        ("events", "e1", "created_at"),
        ("orders", "o2", "delivered_at"),
        ("orders", "o3", "estimated_delivery_at"),
        ("users", None, "created_at"),
    ]


def test_a_total_that_is_not_its_parts_is_an_error_and_a_cost_that_is_not_its_items_warns(dbt: Dbt, shop: Shop):
    shop.small()
    shop.query("update raw.orders set order_cost = order_cost + 1 where order_id = 'o2'")
    statuses = dbt("build", "--select", "+int_orders")
    assert statuses["int_orders_total_is_cost_plus_shipping_less_discount"] == "fail"
    assert statuses["int_orders_cost_is_the_sum_of_the_items"] == "warn"


def test_a_column_that_nobody_declared_may_change_under_staging(dbt: Dbt, shop: Shop):
    shop.small()
    shop.query("alter table raw.orders add column gift_note integer")
    dbt("run", "--select", "stg_greenery__orders")
    shop.query("alter table raw.orders alter column gift_note type text")
    shop.query("alter table raw.orders drop column gift_note")
    assert shop.value("select count(*) from staging.stg_greenery__orders") == 3


def test_freshness_reads_when_each_table_was_loaded(dbt: Dbt, shop: Shop):
    shop.small()
    shop.query("update raw.loads set loaded_at = now() - interval '30 hours' where table_name in ('orders', 'promos')")
    shop.query("update raw.loads set loaded_at = now() - interval '60 hours' where table_name = 'events'")
    shop.query("delete from raw.loads where table_name = 'users'")
    done = dbt.invoke("source", "freshness")
    statuses = {result.node.name: str(result.status) for result in done.result.results}
    assert statuses == {
        **dict.fromkeys(("addresses", "order_items", "products", "promos"), "pass"),
        "orders": "warn",
        "events": "error",
        "users": "error",
    }


def test_a_sound_shop_passes_and_a_column_that_nobody_declared_is_noted_and_stops_nothing(dbt: Dbt, shop: Shop):
    test = "raw_has_undeclared_columns"
    shop.small()
    assert dbt("test", "--select", test) == {test: "pass"}
    shop.query("alter table raw.orders add column gift_note text, add column _batch bigint")
    statuses = dbt("test", "--selector", "sources")
    assert {name: status for name, status in statuses.items() if status != "pass"} == {test: "warn"}


def test_what_the_live_load_saw_change_in_the_shop_is_told_for_a_week(dbt: Dbt, shop: Shop):
    shop.small()
    test = "raw_has_undeclared_columns"
    shop.query("insert into raw.shop_drift values ('orders', 'note', 'gone', now() - interval '8 days')")
    assert dbt("test", "--select", test) == {test: "pass"}
    shop.query("insert into raw.shop_drift values ('orders', 'gift', 'new, text', now() - interval '6 days')")
    assert dbt("test", "--select", test) == {test: "warn"}
