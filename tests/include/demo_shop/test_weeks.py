"""Five weeks of the demo shop: figures like the real data's, rows that hang together, and amounts exact to the cent."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from decimal import Decimal

import pytest

from include.demo_shop import demo
from include.raw.contract import TABLES
from include.raw.load import loaded_from
from tests.include.demo_shop.conftest import FIRST_DAY, SHOP, WEEKS, History
from tests.include.raw.conftest import query, value

pytestmark = pytest.mark.db

LAST_DAY = WEEKS * 7
date_of = SHOP.date_of
REPEAT_RATE = (
    "select 100.0 * count(*) filter (where orders > 1) / count(*) from"
    " (select count(*) as orders from raw.orders where created_at < %s group by user_id) as buyers"
)
SESSIONS = (
    "select count(*), count(*) filter (where bought), sum(events) from (select session_id, count(*) as events,"
    " bool_or(event_type = 'checkout') as bought from raw.events where created_at < %s group by session_id) as sessions"
)


# The figures of the shop: in the neighbourhood of the real data's.


def test_two_days_have_about_as_many_orders_as_the_real_ones(history: History) -> None:
    assert 310 <= value(history.db, "select count(*) from raw.orders where created_at < %s", date_of(3)) <= 410


def test_after_two_days_the_repeat_rate_is_plausible(history: History) -> None:
    assert 60 <= value(history.db, REPEAT_RATE, date_of(3)) <= 85


@pytest.mark.parametrize("day", [14, 21, 28, LAST_DAY])
def test_over_weeks_the_repeat_rate_is_near_the_real_one(history: History, day: int) -> None:
    assert 75 <= value(history.db, REPEAT_RATE, date_of(day + 1)) <= 85


@pytest.mark.parametrize("day", [2, 14, LAST_DAY])
def test_about_five_of_eight_sessions_buy(history: History, day: int) -> None:
    sessions, bought, _ = query(history.db, SESSIONS, date_of(day + 1))[0]
    assert 57 <= 100 * bought / sessions <= 68


def test_a_session_has_five_to_seven_events(history: History) -> None:
    sessions, _, events = query(history.db, SESSIONS, date_of(LAST_DAY))[0]
    assert 5 <= events / sessions <= 7


def test_the_calendar_begins_on_its_first_day(history: History) -> None:
    assert value(history.db, "select min(created_at)::date from raw.events") == FIRST_DAY


# The shape of the rows.


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_each_key_is_there_once(history: History, table) -> None:
    key = ", ".join(table.key)
    assert query(history.db, f"select {key} from raw.{table.name} group by {key} having count(*) > 1") == []


@pytest.mark.parametrize(
    ("child", "column", "parent"),
    [
        ("users", "address_id", "addresses"),
        ("orders", "user_id", "users"),
        ("orders", "address_id", "addresses"),
        ("orders", "promo_id", "promos"),
        ("order_items", "order_id", "orders"),
        ("order_items", "product_id", "products"),
        ("events", "user_id", "users"),
        ("events", "order_id", "orders"),
        ("events", "product_id", "products"),
    ],
)
def test_there_are_no_orphans(history: History, child: str, column: str, parent: str) -> None:
    orphans = (
        f"select count(*) from raw.{child} where {column} is not null"
        f" and {column} not in (select {column} from raw.{parent})"
    )
    assert value(history.db, orphans) == 0


@pytest.mark.parametrize(
    ("event_type", "has_order", "has_product", "page"),
    [
        ("page_view", False, True, "/product/"),
        ("add_to_cart", False, True, "/product/"),
        ("checkout", True, False, "/checkout/"),
        ("package_shipped", True, False, "/shipping/"),
    ],
)
def test_an_event_names_its_order_or_its_product(
    history: History, event_type: str, has_order: bool, has_product: bool, page: str
) -> None:
    shapes = query(
        history.db,
        "select distinct order_id is not null, product_id is not null,"
        " replace(page_url, coalesce(order_id, product_id), '') from raw.events where event_type = %s",
        event_type,
    )
    assert shapes == [(has_order, has_product, f"https://greenery.example{page}")]


def test_each_order_is_bought_in_one_session_of_its_user(history: History) -> None:
    sessions = query(
        history.db,
        "select order_id, count(event_id), min(events.user_id) = min(orders.user_id) from raw.orders"
        " left join raw.events using (order_id) where event_type = 'checkout' group by order_id",
    )
    assert {row[1:] for row in sessions} == {(1, True)}
    assert len(sessions) == value(history.db, "select count(*) from raw.orders")


def test_a_session_has_one_order_at_most(history: History) -> None:
    most = (
        "select max(n) from (select count(*) as n from raw.events where event_type = 'checkout' group by session_id) x"
    )
    assert value(history.db, most) == 1


def test_a_session_belongs_to_one_user(history: History) -> None:
    most = "select max(n) from (select count(distinct user_id) as n from raw.events group by session_id) as users"
    assert value(history.db, most) == 1


def test_what_is_bought_was_put_into_the_cart_in_that_session(history: History) -> None:
    assert (
        value(
            history.db,
            "select count(*) from raw.order_items join raw.events as checkout"
            " on checkout.order_id = order_items.order_id and checkout.event_type = 'checkout'"
            " where not exists (select from raw.events as cart where cart.session_id = checkout.session_id and"
            " cart.event_type = 'add_to_cart' and cart.product_id = order_items.product_id"
            " and cart.created_at < checkout.created_at)",
        )
        == 0
    )


def test_nobody_is_there_before_they_signed_up(history: History) -> None:
    early = "select count(*) from raw.events join raw.users using (user_id) where events.created_at < users.created_at"
    assert value(history.db, early) == 0


def test_profiles_change_now_and_then(history: History) -> None:
    assert sum(report.tables["users"].updated for report in history.reports.values()) > 0


def test_emails_are_of_the_domain_for_examples(history: History) -> None:
    assert value(history.db, "select count(*) from raw.users where email not like '%@example.com'") == 0


def test_telephone_numbers_are_those_for_fiction(history: History) -> None:
    numbers = [row[0] for row in query(history.db, "select phone_number from raw.users")]
    assert [number for number in numbers if not re.fullmatch(r"\d{3}-555-01\d\d", number)] == []


def test_zip_codes_have_five_digits_and_some_begin_with_a_zero(history: History) -> None:
    codes = [row[0] for row in query(history.db, "select zipcode from raw.addresses")]
    assert all(re.fullmatch(r"\d{5}", code) for code in codes)
    assert any(code.startswith("0") for code in codes)


def test_many_orders_ship_to_another_address_than_the_users(history: History) -> None:
    share = (
        "select avg((orders.address_id <> users.address_id)::integer) from raw.orders join raw.users using (user_id)"
    )
    assert 0.3 < value(history.db, share) < 0.7


# Orders: preparing, shipped, delivered.


def test_on_the_second_day_several_orders_go_from_preparing_to_shipped(history: History) -> None:
    assert 5 <= _changes(history, 2)["preparing", "shipped"] <= 50


def test_on_the_second_day_some_orders_are_delivered(history: History) -> None:
    assert _changes(history, 2)["shipped", "delivered"] > 0


def test_an_order_goes_forward_one_step_a_day_at_most(history: History) -> None:
    steps = {step for day in range(2, LAST_DAY + 1) for step in _changes(history, day)}
    assert steps == {("preparing", "shipped"), ("shipped", "delivered")}


def test_an_order_is_never_delivered_on_the_day_it_was_placed(history: History) -> None:
    assert "delivered" not in history.statuses[1].values()


def test_what_is_known_of_an_order_goes_with_its_status(history: History) -> None:
    known = query(
        history.db,
        "select distinct status, tracking_id is not null, shipping_service is not null, delivered_at is not null"
        " from raw.orders order by status",
    )
    assert known == [
        ("delivered", True, True, True),
        ("preparing", False, False, False),
        ("shipped", True, True, False),
    ]


def test_parcels_go_by_the_services_of_the_real_data(history: History) -> None:
    services = query(history.db, "select distinct shipping_service from raw.orders where status <> 'preparing'")
    assert {row[0] for row in services} == {"ups", "fedex", "usps", "dhl"}


def test_some_shipped_orders_have_no_estimate(history: History) -> None:
    share = "select avg((estimated_delivery_at is null)::integer) from raw.orders where status <> 'preparing'"
    assert 0.02 < value(history.db, share) < 0.12


def test_one_in_five_is_late(history: History) -> None:
    late = (
        "select avg((delivered_at > estimated_delivery_at)::integer) from raw.orders"
        " where status = 'delivered' and estimated_delivery_at is not null and created_at < %s"
    )
    assert 0.12 < value(history.db, late, date_of(LAST_DAY - 10)) < 0.28


def test_a_parcel_is_delivered_after_it_was_shipped_after_it_was_ordered(history: History) -> None:
    wrong = (
        "select count(*) from raw.orders join raw.events using (order_id) where event_type = 'package_shipped'"
        " and not (orders.created_at < events.created_at and events.created_at < coalesce(delivered_at, 'infinity'))"
    )
    assert value(history.db, wrong) == 0


def test_each_shipped_order_has_its_event_within_a_day(history: History) -> None:
    missing = (
        "select count(*) from raw.orders where status <> 'preparing' and _loaded_at < %s and not exists (select from"
        " raw.events where events.order_id = orders.order_id and event_type = 'package_shipped')"
    )
    assert value(history.db, missing, history.loaded_at(LAST_DAY)) == 0


def test_no_event_tells_of_a_shipping_before_the_order_is_shipped(history: History) -> None:
    early = (
        "select count(*) from raw.orders join raw.events using (order_id)"
        " where status = 'preparing' and event_type = 'package_shipped'"
    )
    assert value(history.db, early) == 0


# Money, stock, promos.


def test_order_totals_are_exact(history: History) -> None:
    wrong = (
        "select count(*) from raw.orders left join raw.promos using (promo_id)"
        " where order_total <> order_cost + shipping_cost - coalesce(discount, 0)"
    )
    assert value(history.db, wrong) == 0


def test_order_costs_are_the_items_at_the_prices_of_that_day(history: History) -> None:
    costs: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    written = {}
    for order_id, on, cost, product_id, quantity in query(
        history.db,
        "select order_id, created_at::date, order_cost, product_id, quantity"
        " from raw.orders left join raw.order_items using (order_id)",
    ):
        costs[order_id] += quantity * history.prices[(on - FIRST_DAY).days + 1][product_id]
        written[order_id] = cost
    assert costs == written


def test_money_has_two_decimals(history: History) -> None:
    columns = "order_cost", "shipping_cost", "order_total"
    scales = query(history.db, f"select distinct {', '.join(f'scale({name})' for name in columns)} from raw.orders")
    assert scales == [(2, 2, 2)]


def test_prices_change_now_and_then(history: History) -> None:
    changes = [
        product
        for day in range(2, LAST_DAY + 1)
        for product in history.prices[day]
        if history.prices[day][product] != history.prices[day - 1][product]
    ]
    assert LAST_DAY / 2 < len(changes) < 4 * LAST_DAY


def test_stock_falls_by_what_is_sold_and_rises_only_by_restocking(history: History) -> None:
    sold: Counter[tuple[int, str]] = Counter()
    for on, product_id, quantity in query(
        history.db,
        "select created_at::date, product_id, quantity from raw.orders join raw.order_items using (order_id)",
    ):
        sold[(on - FIRST_DAY).days + 1, product_id] += quantity
    restocked = [
        history.inventory[day][product] - history.inventory[day - 1][product] + sold[day, product]
        for day in range(2, LAST_DAY + 1)
        for product in history.inventory[day]
    ]
    assert min(restocked) == 0
    assert 0.1 < sum(units > 0 for units in restocked) / len(restocked) < 0.7


def test_stock_is_never_below_nothing(history: History) -> None:
    assert min(units for stock in history.inventory.values() for units in stock.values()) >= 0


def test_promos_come(history: History) -> None:
    assert set(history.promos[1]) < set(history.promos[LAST_DAY])


def test_promos_go(history: History) -> None:
    ended = [
        promo
        for day in range(2, LAST_DAY + 1)
        for promo, (_, status) in history.promos[day - 1].items()
        if status == "active" and history.promos[day][promo][1] == "inactive"
    ]
    assert ended


def test_only_active_promos_are_used(history: History) -> None:
    used = query(
        history.db, "select distinct created_at::date, promo_id from raw.orders where promo_id is not null order by 1"
    )
    assert {history.promos[(on - FIRST_DAY).days + 1][promo][1] for on, promo in used} == {"active"}


def test_one_order_in_ten_has_a_promo(history: History) -> None:
    assert 0.06 < value(history.db, "select avg((promo_id is not null)::integer) from raw.orders") < 0.15


# Loads.


@pytest.mark.parametrize("event_type", ["page_view", "package_shipped"])
def test_a_few_events_arrive_a_day_late(history: History, event_type: str) -> None:
    late = [
        value(
            history.db,
            "select count(*) from raw.events where event_type = %s and _loaded_at = %s and created_at < %s",
            event_type,
            history.loaded_at(day),
            date_of(day),
        )
        for day in range(2, LAST_DAY + 1)
    ]
    assert 1 < sum(late) / len(late) < 20


def test_no_event_arrives_later_than_a_day_late_or_before_it_happened(history: History) -> None:
    days = [(history.loaded_at(day), date_of(day)) for day in range(1, LAST_DAY + 1)]
    delays = {
        (dict(days)[loaded_at] - on).days
        for loaded_at, on in query(history.db, "select distinct _loaded_at, created_at::date from raw.events")
    }
    assert delays == {0, 1}


@pytest.mark.parametrize("table", TABLES)
def test_the_rows_that_a_day_wrote_carry_its_stamp(history: History, table: str) -> None:
    stamped = value(history.db, f"select count(*) from raw.{table} where _loaded_at = %s", history.loaded_at(LAST_DAY))
    assert stamped == history.reports[LAST_DAY].tables[table].stamped


def test_each_load_is_noted_for_each_table(history: History) -> None:
    noted = query(history.db, "select table_name, loaded_at, rows, loaded_from from raw.loads")
    told = [
        (table, report.loaded_at, counts.stamped, demo.NAME)
        for report in history.reports.values()
        for table, counts in report.tables.items()
    ]
    assert sorted(noted) == sorted(told)


def test_no_row_of_the_demo_goes(history: History) -> None:
    assert value(history.db, "select count(*) from raw.deletions") == 0


def test_the_origin_is_the_demo(history: History) -> None:
    assert loaded_from(history.db) == demo.NAME


def _changes(history: History, day: int) -> Counter[tuple[str, str]]:
    """How many orders went from which status to which on a day."""
    after = history.statuses[day]
    return Counter(
        (status, after[order_id]) for order_id, status in history.statuses[day - 1].items() if after[order_id] != status
    )
