"""What is wrong with the raw tables is found there, by a test whose name says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

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
    "a stamp that is text": ("alter table raw.orders alter _loaded_at type text", "source_has_shape_greenery_orders_"),
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
    "a session of nothing that can be seen": (
        r"update raw.events set session_id = E'\u200b\ufeff\u2060\u2003\U000e0041' where event_id = 'e6'",
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


@pytest.mark.parametrize(
    ("left", "published", "status"),
    [
        (49, "delivered", "fail"),
        (50, "delivered", "pass"),
        (0, "shipped", "fail"),
        (0, "preparing", "pass"),
        (0, "returned", "pass"),
        (None, "delivered", "pass"),
    ],
    ids=["most", "half", "from shipped", "where they were", "from a status that nobody knows", "nothing published"],
)
def test_orders_that_all_go_back_are_found(dbt: Dbt, shop: Shop, left: int | None, published: str, status: str):
    """As where the shop has lost its deliveries: each row is sound by itself."""
    shop.small()
    shop.insert("orders", *(shop.order(f"of {number}", status="preparing") for number in range(100)))
    if left is not None:
        published_as(shop, published)
        for number in range(left):
            shop.query("update raw.orders set status = 'delivered' where order_id = %s", f"of {number}")
    assert dbt("test", "--select", "most_orders_go_on") == {"most_orders_go_on": status}


def test_few_orders_that_go_back_are_a_correction(dbt: Dbt, shop: Shop):
    shop.small()
    shop.insert("orders", *(shop.order(f"of {number}", status="preparing") for number in range(99)))
    published_as(shop, "shipped")
    assert dbt("test", "--select", "most_orders_go_on") == {"most_orders_go_on": "pass"}


@pytest.mark.parametrize(
    ("seen", "without", "status"),
    [(10, 6, "fail"), (10, 5, "pass"), (9, 9, "pass"), (0, 10, "pass"), (None, 10, "pass")],
    ids=["most", "half", "few", "none had any", "nothing published"],
)
def test_products_that_are_all_out_of_stock_are_found(
    dbt: Dbt, shop: Shop, seen: int | None, without: int, status: str
):
    """As where their feed broke, and says 0 of all."""
    shop.small()
    for number in range(10):
        inventory = 0 if number < without else 5
        shop.insert("products", {"product_id": f"p{number}", "name": "P", "price": 1, "inventory": inventory})
    if seen is not None:
        shop.query("create schema analytics; create table analytics.fact_product (product_id text, inventory integer)")
        for number in range(10):
            shop.query("insert into analytics.fact_product values (%s, %s)", f"p{number}", int(number < seen))
    found = dbt("test", "--select", "most_products_keep_their_stock")
    assert found == {"most_products_keep_their_stock": status}


# What these tests ask people's tables for.
ASKED = {"fact_orders": ["order_id", "status"], "fact_product": ["product_id", "inventory"]}


@pytest.mark.parametrize(
    ("test", "table"), [("most_orders_go_on", "fact_orders"), ("most_products_keep_their_stock", "fact_product")]
)
def test_what_was_published_before_a_column_got_its_name_is_compared_with_nothing(
    dbt: Dbt, shop: Shop, test: str, table: str
):
    """Or no run could ever publish a mart in which it is renamed."""
    shop.small()
    key, column = ASKED[table]
    shop.query(f"create schema analytics; create table analytics.{table} ({key} text, former_{column} text)")
    assert dbt("test", "--select", test) == {test: "pass"}


def test_what_is_asked_of_published_tables_is_in_their_models(dbt: Dbt):
    for table, columns in ASKED.items():
        assert set(columns) <= dbt.manifest.nodes[f"model.greenery.{table}"].columns.keys()


def published_as(shop: Shop, status: str) -> None:
    """People see these orders, and no others, with this status."""
    shop.query("create schema analytics")
    shop.query(
        "create table analytics.fact_orders as select order_id, %s as status from raw.orders"
        " where starts_with(order_id, 'of ')",
        status,
    )


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


# A fault that a row may have and most may not: on a shop of a dozen of each, and by the tests that tell so.
EVENTS = ("events_tell_their_order_or_product", "most_events_tell_their_order_or_product")
DELIVERED = ("delivered_orders_tell_when", "most_delivered_orders_tell_when")
COSTS = ("int_orders_cost_is_the_sum_of_the_items", "most_orders_cost_about_what_their_items_do")
OF_ROWS = {
    "an event without its product": ("raw.events", "product_id = null", "event_type = 'page_view'", EVENTS),
    "an event without its order": ("raw.events", "order_id = null", "event_type = 'checkout'", EVENTS),
    "a delivery without a moment": ("raw.orders", "delivered_at = null", "status = 'delivered'", DELIVERED),
    "a moment before the delivery": ("raw.orders", "delivered_at = now()", "status = 'preparing'", DELIVERED),
    "a cost that is something else": (
        "analytics_next.int_orders",
        "order_cost = shipping_cost, shipping_cost = order_cost",
        "order_id ~ '-'",
        COSTS,
    ),
    "items that are gone": ("analytics_next.int_orders", "items_amount = 0", "order_id ~ '-'", COSTS),
}


class Dozens:
    """A shop with twelve orders that wait and twelve that were delivered, each viewed and bought in a session.

    `found` counts the rows of a test there, and `spoilt` keeps a fault for the time of a block.
    """

    def __init__(self, dbt: Dbt, shop: Shop) -> None:
        self.shop = shop
        shop.small()
        for number in range(12):
            shop.insert("orders", shop.order(f"waits-{number}", order_cost=40, order_total=45))
            delivered = {"status": "delivered", "delivered_at": "2021-02-12 10:00:00+00"}
            shop.insert("orders", shop.order(f"there-{number}", order_cost=40, order_total=45, **delivered))
            for order in ("waits", "there"):
                shop.insert("order_items", {"order_id": f"{order}-{number}", "product_id": "fern", "quantity": 4})
            visit = {"session_id": f"v{number}", "user_id": "ann", "created_at": "2021-02-10 10:00:00+00"}
            shop.insert("events", visit | {"event_id": f"v{number}", "event_type": "page_view", "product_id": "fern"})
            bought = {"event_type": "checkout", "order_id": f"there-{number}"}
            shop.insert("events", visit | {"event_id": f"c{number}", **bought})
        dbt("run", "--select", "+int_orders")
        done = dbt.results("compile", "--select", *EVENTS, *DELIVERED, *COSTS)
        self.tests = {result.node.name: result.node.compiled_code for result in done}

    def found(self, test: str) -> list[tuple]:
        return self.shop.query(self.tests[test])

    @contextmanager
    def spoilt(self, statement: str) -> Iterator[None]:
        self.shop.query("begin")
        try:
            self.shop.query(statement)
            yield
        finally:
            self.shop.query("rollback")


@pytest.fixture(scope="module")
def dozens(dbt: Dbt, shop: Shop) -> Dozens:
    """To be spoilt."""
    return Dozens(dbt, shop)


@pytest.mark.parametrize("fault", OF_ROWS)
def test_what_a_row_warns_of_is_an_error_where_most_rows_have_it(dozens: Dozens, fault: str):
    table, becomes, where, (one, most) = OF_ROWS[fault]
    assert dozens.found(one) == dozens.found(most) == []
    spoil = f"update {table} set {becomes} where ctid = any(array(select ctid from {table} where {where} limit {{}}))"
    with dozens.spoilt(spoil.format(3)):
        assert len(dozens.found(one)) == 3
        assert dozens.found(most) == []
    with dozens.spoilt(spoil.format(24)):
        assert len(dozens.found(most)) == 2  # of all that is new, and of the day


def test_what_most_rows_have_is_told_with_how_many_and_of_which_kind(dozens: Dozens):
    with dozens.spoilt("update raw.events set product_id = null"):
        # One add_to_cart is too few to say.
        assert {*dozens.found(EVENTS[1])} == {
            ("page_view", None, 14, 14),
            ("page_view", date(2021, 2, 10), 14, 14),
        }


@pytest.mark.parametrize(
    ("cost", "held"),
    [
        ("order_cost * 1.2", False),  # it has taxes in it
        ("case order_id when 'o2' then 10000 else order_cost end", True),  # all other orders together cost less
        ("case order_id when 'o2' then 100 else order_cost end", False),
    ],
)
def test_orders_are_weighed_by_their_money(dozens: Dozens, cost: str, held: bool):
    one, most = COSTS
    with dozens.spoilt(f"update analytics_next.int_orders set order_cost = {cost}"):
        assert dozens.found(one)
        assert bool(dozens.found(most)) == held


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
