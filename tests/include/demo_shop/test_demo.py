"""The demo shop, day by day: the same every time, by the calendar, and whatever fails or is damaged on the way."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.demo_shop import demo
from include.demo_shop.catalogue import PRODUCTS
from include.demo_shop.day import Before, Shelf, opening_shelf, play
from include.raw import load
from include.raw.contract import TABLES
from include.raw.csv_loader import load_folder
from include.settings import Warehouse
from include.warehouse import transaction
from tests.include.demo_shop.conftest import FIRST_DAY, SHOP
from tests.include.raw.conftest import connect_to, contents, query, value

pytestmark = pytest.mark.db


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


def test_what_is_sold_out_is_sold_no_more(db: Connection) -> None:
    nearly_empty = Shelf(opening_shelf(SHOP).prices, (3,) * len(PRODUCTS))
    with transaction(db) as cursor:
        load.prepare(cursor)
        load.upsert(cursor, play(SHOP, 1, Before(nearly_empty, ())), demo.NAME)
    assert query(db, "select distinct inventory from raw.products") == [(0,)]
    assert value(db, "select sum(quantity) from raw.order_items") == 3 * len(PRODUCTS)


def test_no_discount_is_more_than_the_order(db: Connection) -> None:
    demo.play_day(db, 1)
    db.cursor().execute("update raw.products set price = 0.05")
    demo.play_day(db, 2)
    assert value(db, "select min(order_total) from raw.orders") >= 0


def test_an_order_that_did_not_change_keeps_its_stamp(db: Connection) -> None:
    first = demo.play_day(db, 1)
    statuses = dict(query(db, "select order_id, status from raw.orders"))
    demo.play_day(db, 2)
    orders = query(db, "select order_id, status, _loaded_at from raw.orders")
    kept = {stamp for order_id, status, stamp in orders if statuses.get(order_id) == status}
    assert kept == {first.loaded_at}


def test_the_stamp_is_the_real_time_of_the_load(db: Connection) -> None:
    before = value(db, "select clock_timestamp()")
    report = demo.play_day(db, 1)
    assert before < report.loaded_at < value(db, "select clock_timestamp()")


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


def _scans_of_events(db: Connection) -> int:
    """How often raw.events was read from one end to the other."""
    query(db, "select pg_stat_force_next_flush()")
    return value(db, "select seq_scan from pg_stat_user_tables where schemaname = 'raw' and relname = 'events'")


def _fail_on_insert_into_events(db: Connection, how: str) -> None:
    db.cursor().execute(
        f"create function raw.fail() returns trigger language plpgsql as $$ begin {how}; return new; end $$;"
        " create trigger fail before insert on raw.events execute function raw.fail()"
    )
