"""The demo shop: believable, exact to the cent, and the same every time."""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.demo_shop import demo
from include.demo_shop.catalogue import PRODUCTS
from include.demo_shop.customers import Shop
from include.demo_shop.day import Before, Shelf, opening_shelf, play
from include.raw import load
from include.raw.contract import TABLES
from include.raw.csv_loader import load_folder
from include.raw.load import loaded_from
from include.settings import Warehouse
from include.warehouse import transaction
from tests.include.demo_shop.conftest import WEEKS, History
from tests.include.raw.conftest import connect_to, contents, query, value

pytestmark = pytest.mark.db

LAST_DAY = WEEKS * 7
FIRST_DAY = date(2026, 3, 2)  # as tests/conftest.py sets it
SHOP = Shop(1, 180, FIRST_DAY)
date_of = SHOP.date_of
REPEAT_RATE = (
    "select 100.0 * count(*) filter (where orders > 1) / count(*) from"
    " (select count(*) as orders from raw.orders where created_at < %s group by user_id) as buyers"
)
SESSIONS = (
    "select count(*), count(*) filter (where bought), sum(events) from (select session_id, count(*) as events,"
    " bool_or(event_type = 'checkout') as bought from raw.events where created_at < %s group by session_id) as sessions"
)


def test_playing_the_same_days_again_gives_the_same_rows(db: Connection) -> None:
    played = []
    for _ in range(2):
        for day in (1, 2, 3):
            demo.play_day(db, day)
        played.append(contents(db))
        db.cursor().execute("drop schema raw cascade")
    assert played[0] == played[1]


def test_a_shop_is_the_same_on_whatever_date_it_begins(db: Connection) -> None:
    played = []
    for first_day in (FIRST_DAY, FIRST_DAY - timedelta(days=500)):
        for day in (1, 2, 3):
            demo.play_day(db, day, first_day=first_day)
        rows = contents(db)
        for table in TABLES.values():
            for nth, column in enumerate(table.columns):
                if column.endswith("_at"):
                    rows[table.name] = [
                        (*row[:nth], row[nth] and row[nth] - (first_day - FIRST_DAY), *row[nth + 1 :])
                        for row in rows[table.name]
                    ]
        played.append({name: sorted(found, key=repr) for name, found in rows.items()})
        db.cursor().execute("drop schema raw cascade")
    assert played[0] == played[1]


def test_another_seed_gives_another_shop(db: Connection) -> None:
    demo.play_day(db, 1, seed=1)
    first = contents(db)
    db.cursor().execute("drop schema raw cascade")
    demo.play_day(db, 1, seed=2)
    assert first["orders"] != contents(db)["orders"]


def test_playing_a_day_twice_changes_nothing(db: Connection) -> None:
    demo.play_day(db, 1)
    played = demo.play_day(db, 2)
    before = contents(db, stamps=True), query(db, "select * from raw.loads order by 1, 2")
    again = demo.play_day(db, 2)
    assert (contents(db, stamps=True), query(db, "select * from raw.loads order by 1, 2")) == before
    assert again.changed == 0
    assert again.loaded_at == played.loaded_at


def test_next_day_is_1_before_anything_was_played(db: Connection) -> None:
    assert demo.next_day(db) == 1


def test_next_day_follows_the_last_one(db: Connection) -> None:
    demo.play_day(db, 1)
    assert demo.next_day(db) == 2


# The clock: what is played is over.


@pytest.fixture
def by_the_clock(monkeypatch: pytest.MonkeyPatch) -> date:
    """Today, UTC, with nobody having said on which day the shop begins."""
    monkeypatch.delenv("GREENERY_DEMO_FIRST_DAY")
    return datetime.now(UTC).date()


def test_a_new_shop_has_two_days_to_play_of_which_the_last_is_yesterday(db: Connection, by_the_clock: date) -> None:
    assert demo.due(db) == [(1, by_the_clock - timedelta(days=2)), (2, by_the_clock - timedelta(days=1))]


def test_a_shop_that_was_played_up_to_yesterday_has_no_day_to_play(db: Connection, by_the_clock: date) -> None:
    for day, _ in demo.due(db):
        demo.play_day(db, day, orders_per_day=5)
    assert demo.due(db) == []
    with pytest.raises(demo.ShopError, match=f"day 3 of the demo shop is {by_the_clock}, which is not over"):
        demo.play_day(db, 3, orders_per_day=5)


def test_nothing_that_happened_is_dated_in_the_future(db: Connection, by_the_clock: date) -> None:
    for day, _ in demo.due(db):
        demo.play_day(db, day)
    for table in TABLES.values():
        for column in table.columns:
            if column.endswith("_at") and column != "estimated_delivery_at":
                assert value(db, f"select count(*) from raw.{table.name} where {column} > now()") == 0, column


def test_a_shop_that_begins_earlier_has_more_days_to_play(
    db: Connection, by_the_clock: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_DEMO_FIRST_DAY", str(by_the_clock - timedelta(days=10)))
    assert demo.due(db)[0] == (1, by_the_clock - timedelta(days=10))
    assert demo.due(db)[-1] == (10, by_the_clock - timedelta(days=1))


def test_a_shop_goes_on_from_the_day_on_which_it_began(
    db: Connection, by_the_clock: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.play_day(db, 1, orders_per_day=5, first_day=by_the_clock - timedelta(days=3))
    monkeypatch.setenv("GREENERY_DEMO_FIRST_DAY", "2026-01-01")
    assert demo.due(db) == [(2, by_the_clock - timedelta(days=2)), (3, by_the_clock - timedelta(days=1))]


def test_a_shop_that_is_to_begin_on_a_day_that_is_not_over_is_refused(
    db: Connection, by_the_clock: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_DEMO_FIRST_DAY", str(by_the_clock))
    with pytest.raises(demo.ShopError, match=f"GREENERY_DEMO_FIRST_DAY is {by_the_clock}, which is not over yet"):
        demo.due(db)


def test_a_shop_of_before_its_first_day_was_kept_goes_on_from_its_monday(db: Connection, by_the_clock: date) -> None:
    demo.play_day(db, 1, orders_per_day=5, first_day=FIRST_DAY)
    db.cursor().execute("alter table raw.shop_days drop column first_day")
    raw.create(db.cursor())
    assert demo.due(db)[0] == (2, FIRST_DAY + timedelta(days=1))
    demo.play_day(db, 2, orders_per_day=5)


def test_a_day_cannot_be_skipped(db: Connection) -> None:
    with pytest.raises(demo.ShopError, match="the next day of this shop is 1"):
        demo.play_day(db, 2)


def test_a_shop_goes_on_with_the_seed_it_began_with(db: Connection) -> None:
    demo.play_day(db, 1, seed=1)
    with pytest.raises(demo.ShopError, match="begun with seed 1 and 180 orders a day on 2026-03-02, not with seed 2"):
        demo.play_day(db, 2, seed=2)


def test_the_demo_is_not_played_over_files(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    with pytest.raises(demo.ShopError, match="hold small-shop, not the demo shop"):
        demo.play_day(db, 1)


def test_the_origin_is_the_demo(history: History) -> None:
    assert loaded_from(history.db) == demo.NAME


def test_a_failure_half_way_leaves_the_day_unplayed(db: Connection) -> None:
    demo.play_day(db, 1)
    before = contents(db, stamps=True)
    _fail_on_insert_into_events(db, "raise exception 'disk full'")
    with pytest.raises(psycopg2.errors.RaiseException):
        demo.play_day(db, 2)
    assert contents(db, stamps=True) == before
    assert demo.next_day(db) == 2


def test_a_killed_day_is_played_again_as_if_nothing_had_been(db: Connection, warehouse: Warehouse) -> None:
    demo.play_day(db, 1)
    _fail_on_insert_into_events(db, "perform pg_terminate_backend(pg_backend_pid())")
    victim = connect_to(warehouse)
    victim.autocommit = True
    with pytest.raises(psycopg2.OperationalError):
        demo.play_day(victim, 2)
    db.cursor().execute("drop trigger fail on raw.events")
    demo.play_day(db, 2)
    killed = contents(db)
    db.cursor().execute("drop schema raw cascade")
    for day in (1, 2):
        demo.play_day(db, day)
    assert killed == contents(db)


def test_in_a_callers_transaction_the_day_is_committed_by_the_caller(db: Connection, warehouse: Warehouse) -> None:
    caller = connect_to(warehouse)
    demo.play_day(caller, 1)
    caller.rollback()
    caller.close()
    assert demo.next_day(db) == 1


def test_of_two_who_play_a_day_at_once_one_does(db: Connection, warehouse: Warehouse) -> None:
    changed = []

    def play() -> None:
        connection = connect_to(warehouse)
        connection.autocommit = True
        changed.append(demo.play_day(connection, 1).changed)
        connection.close()

    players = [threading.Thread(target=play) for _ in range(2)]
    for player in players:
        player.start()
    for player in players:
        player.join()
    assert sorted(changed) == [0, sum(len(rows) for rows in contents(db).values())]


def test_a_day_does_not_read_the_history_of_events(db: Connection) -> None:
    for day in (1, 2, 3):
        demo.play_day(db, day)
    before = _scans_of_events(db)
    demo.play_day(db, 4)
    assert _scans_of_events(db) == before


def test_an_order_that_somebody_doubled_goes_on_doubled(db: Connection) -> None:
    demo.play_day(db, 1)
    doubled = value(
        db, "insert into raw.orders select * from raw.orders where status = 'preparing' limit 1 returning 1"
    )
    report = demo.play_day(db, 2)
    twice = query(db, "select order_id from raw.orders group by order_id having count(*) > 1")
    assert len(twice) == doubled
    assert value(db, "select count(*) from raw.orders where order_id = %s", *twice[0]) == 2
    assert value(db, "select count(*) - count(distinct event_id) from raw.events") == 0
    assert report.tables["orders"].deleted == 0


@pytest.mark.parametrize(
    "damage",
    [
        "update raw.orders set user_id = null",
        "update raw.orders set created_at = null",
        "update raw.orders set order_total = null",
        "update raw.products set price = null",
        "update raw.products set inventory = null",
        "update raw.products set inventory = -5",
        "delete from raw.products where price > 50",
        "delete from raw.orders",
        "delete from raw.users",
    ],
)
def test_a_damaged_shop_goes_on(db: Connection, damage: str) -> None:
    demo.play_day(db, 1)
    db.cursor().execute(damage)
    assert demo.play_day(db, 2).tables["orders"].inserted > 100
    assert value(db, "select min(quantity) from raw.order_items") > 0
    assert value(db, "select count(*) from raw.orders where 'None' in (user_id, address_id, promo_id)") == 0


@pytest.mark.parametrize("orders_per_day", [1, 7, 1_000])
def test_the_orders_of_a_day_are_about_as_many_as_wished(db: Connection, orders_per_day: int) -> None:
    days = 4
    for day in range(1, days + 1):
        demo.play_day(db, day, orders_per_day=orders_per_day)
    wished = days * orders_per_day
    assert abs(value(db, "select count(*) from raw.orders") - wished) <= 4 * wished**0.5 + 4


def test_a_shop_without_orders_is_refused(db: Connection) -> None:
    with pytest.raises(ValueError, match="needs one at least"):
        demo.play_day(db, 1, orders_per_day=0)


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


def test_what_is_sold_out_is_sold_no_more(db: Connection) -> None:
    nearly_empty = Shelf(opening_shelf(SHOP).prices, (3,) * len(PRODUCTS))
    with transaction(db) as cursor:
        load.prepare(cursor)
        load.upsert(cursor, play(SHOP, 1, Before(nearly_empty, ())), demo.NAME)
    assert query(db, "select distinct inventory from raw.products") == [(0,)]
    assert value(db, "select sum(quantity) from raw.order_items") == 3 * len(PRODUCTS)


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


def test_no_discount_is_more_than_the_order(db: Connection) -> None:
    demo.play_day(db, 1)
    db.cursor().execute("update raw.products set price = 0.05")
    demo.play_day(db, 2)
    assert value(db, "select min(order_total) from raw.orders") >= 0


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


def test_an_order_that_did_not_change_keeps_its_stamp(db: Connection) -> None:
    first = demo.play_day(db, 1)
    statuses = dict(query(db, "select order_id, status from raw.orders"))
    demo.play_day(db, 2)
    orders = query(db, "select order_id, status, _loaded_at from raw.orders")
    kept = {stamp for order_id, status, stamp in orders if statuses.get(order_id) == status}
    assert kept == {first.loaded_at}


def test_each_load_is_noted_for_each_table(history: History) -> None:
    noted = query(history.db, "select table_name, loaded_at, rows, loaded_from from raw.loads")
    told = [
        (table, report.loaded_at, counts.stamped, demo.NAME)
        for report in history.reports.values()
        for table, counts in report.tables.items()
    ]
    assert sorted(noted) == sorted(told)


def test_the_stamp_is_the_real_time_of_the_load(db: Connection) -> None:
    before = value(db, "select clock_timestamp()")
    report = demo.play_day(db, 1)
    assert before < report.loaded_at < value(db, "select clock_timestamp()")


def test_no_row_of_the_demo_goes(history: History) -> None:
    assert value(history.db, "select count(*) from raw.deletions") == 0


def _changes(history: History, day: int) -> Counter[tuple[str, str]]:
    """How many orders went from which status to which on a day."""
    after = history.statuses[day]
    return Counter(
        (status, after[order_id]) for order_id, status in history.statuses[day - 1].items() if after[order_id] != status
    )


def _scans_of_events(db: Connection) -> int:
    """How often raw.events was read from one end to the other."""
    query(db, "select pg_stat_force_next_flush()")
    return value(db, "select seq_scan from pg_stat_user_tables where schemaname = 'raw' and relname = 'events'")


def _fail_on_insert_into_events(db: Connection, how: str) -> None:
    db.cursor().execute(
        f"create function raw.fail() returns trigger language plpgsql as $$ begin {how}; return new; end $$;"
        " create trigger fail before insert on raw.events execute function raw.fail()"
    )


def test_the_command_says_why_a_day_could_not_be_loaded(
    db: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, setting in warehouse.environment().items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setattr("sys.argv", ["demo"])
    db.cursor().execute("create schema raw; create view raw.orders as select 1 as order_id")
    with pytest.raises(SystemExit, match="1"):
        demo.main()
    assert capsys.readouterr().err == "raw.orders can't be loaded, being a view: load the table that it shows\n"


def test_the_command_plays_the_days_that_are_over_and_called_again_none(
    db: Connection,
    warehouse: Warehouse,
    by_the_clock: date,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, setting in warehouse.environment().items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setattr("sys.argv", ["demo", "--orders-per-day", "5"])
    demo.main()
    assert capsys.readouterr().out.startswith("2 days played, ")
    demo.main()
    assert capsys.readouterr().out.startswith("0 days played, 0 events in ")
