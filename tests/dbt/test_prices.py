"""What was told of the past stays: no figure depends on when a row was loaded, only on what it says.

Rows are corrected, rewritten every night, or loaded again after the warehouse was lost, under prices and inventories
that have changed meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from include import backup
from include.demo_shop import day as demo_day
from include.demo_shop import demo
from include.local import postgres
from include.raw import csv_loader, live
from include.raw.contract import TABLES
from tests.dbt.conftest import WAREHOUSE, KeptShop, Shop
from tests.dbt.days import SCHEMAS, TAKING_CHANGES, Days, Project
from tests.dbt.edits import Tables, deliver, replica

pytestmark = pytest.mark.db

FIRST_DAY = date(2026, 3, 2)  # as conftest.py sets it

Content = dict[str, list[tuple]]


class PricedDays(Days):
    """Days on which prices, and what was loaded under them, change."""

    def first_runs(self) -> None:
        """The demo shop's days are months behind the clock that stamps their loads, which is put back for prices."""
        self.two_full_runs()
        behind = self.shop.value("select min(dbt_valid_from) from snapshots.products_snapshot") - noon(1)
        stamps = ("dbt_valid_from", "dbt_valid_to", "dbt_updated_at", "_loaded_at")
        moved = ", ".join(f"{stamp} = {stamp} - %(behind)s" for stamp in stamps)
        for statement in (
            f"update snapshots.products_snapshot set {moved}",
            "update snapshots.order_items_snapshot set _loaded_at = _loaded_at - %(behind)s",
            "update raw.products set _loaded_at = _loaded_at - %(behind)s",
            "update raw.order_items set _loaded_at = _loaded_at - %(behind)s",
            "update ops.watermarks set loaded_at = loaded_at - %(behind)s where source in ('products', 'order_items')",
        ):
            with self.shop.connection.cursor() as cursor:
                cursor.execute(statement, {"behind": behind})

    def all_prices_and_inventories_change(self, tables: Tables | None = None) -> None:
        """At noon of the shop's second day."""
        tables = tables or replica(self.shop.connection)
        for product in tables["products"]:
            product["price"] = str(2 * Decimal(product["price"]))
            product["inventory"] = str(int(product["inventory"]) + 5)
        deliver(self.shop.connection, tables)
        self.shop.query("update raw.products set _loaded_at = %s at time zone 'UTC'", noon(2))

    def load_a_day_of_new_prices(self) -> None:
        """Half of them changed overnight; the load that shows it came as the doors opened, at noon, or a day later."""
        day = demo.next_day(self.shop.connection)
        stamp = noon(day) + timedelta(hours=self.random.choice([-12, 0, 18]))
        products = [product for (product,) in self.shop.query("select product_id from raw.products order by 1")]
        changed = self.random.sample(products, k=len(products) // 2)
        self.shop.query("update raw.products set price = price + 3 where product_id = any(%s)", changed)
        self.load_a_day()
        restamp = "update raw.products set _loaded_at = %s at time zone 'UTC' where product_id = any(%s)"
        self.shop.query(restamp, stamp, changed)

    def some_quantities_are_corrected(self) -> None:
        """Of items that were told, with what the shop charges for the order."""
        for item, price in self.random.sample(sorted(self.unit_prices().items()), k=3):
            order, product = item.split("/")
            self.shop.query(
                "update raw.order_items set quantity = quantity + 1, _loaded_at = clock_timestamp()"
                " where order_id = %s and product_id = %s",
                order,
                product,
            )
            self.shop.query(
                "update raw.orders set order_cost = order_cost + %s, order_total = order_total + %s,"
                " _loaded_at = clock_timestamp() where order_id = %s",
                price,
                price,
                order,
            )

    def stamps_go_back(self) -> None:
        """The loader's clock, or one that stamps a row with the shop's own time of its last change."""
        for table in TABLES:
            self.shop.query(f"update raw.{table} set _loaded_at = _loaded_at - interval '1 day'")

    def stamps_go_back_and_all_is_read_again(self) -> None:
        """What comes under an old stamp is seen by a full build."""
        self.stamps_go_back()
        self.everything_is_to_be_rebuilt()

    def everything_is_to_be_rebuilt(self) -> None:
        self.shop.query("update ops.buffers set rebuild = true")

    def raw_is_lost(self) -> None:
        """And loaded again; the demo shop knows still which day it is."""
        tables = replica(self.shop.connection)
        self.shop.query("alter table raw.shop_days set schema ops")
        self.shop.query("drop schema raw cascade")
        deliver(self.shop.connection, tables)
        self.shop.query("drop table raw.shop_days; alter table ops.shop_days set schema raw")

    def rewrite_every_row(self) -> None:
        """As a loader does that empties raw and fills it again."""
        for table in TABLES:
            self.shop.query(f"update raw.{table} set _loaded_at = clock_timestamp()")

    def unit_prices(self) -> dict[str, Decimal]:
        """By published item."""
        return dict(self.shop.query("select order_item_id, unit_price from analytics.fact_order_items"))

    def everything(self) -> Content:
        """Each published row."""
        tables = self.shop.query("select tablename from pg_tables where schemaname = 'analytics'")
        return {name: self.shop.rows(f"analytics.{name}") for (name,) in tables}


def noon(day: int) -> datetime:
    """Of a day of the shop, in UTC and without a time zone, as the snapshot has it."""
    return datetime.combine(FIRST_DAY + timedelta(days=day - 1), time(12))


@pytest.fixture
def days(request: pytest.FixtureRequest, shop: Shop, projects: Project) -> PricedDays:
    """A warehouse after two runs."""
    days = PricedDays(shop, projects, seed=1)
    days.models = getattr(request, "param", Days.models)
    days.first_runs()
    return days


# What is asked of single items needs none of the marts that are built in full each day.
of_items = pytest.mark.parametrize("days", [TAKING_CHANGES], indirect=True, ids=["items"])


@of_items
def test_a_quantity_that_is_corrected_after_a_price_change_keeps_its_price(days: PricedDays):
    told = days.unit_prices()
    tables = replica(days.shop.connection)
    for item in tables["order_items"]:
        item["quantity"] = str(int(item["quantity"]) + 1)
    days.all_prices_and_inventories_change(tables)
    days.run()
    assert {item: price for item, price in days.unit_prices().items() if item in told} == told


def test_a_loader_that_rewrites_every_row_each_night_moves_nothing(days: PricedDays):
    told = days.unit_prices()
    days.all_prices_and_inventories_change()
    days.rewrite_every_row()
    days.run()
    assert {item: price for item, price in days.unit_prices().items() if item in told} == told
    everything = days.everything()
    for full_refresh in (False, False, True):
        days.rewrite_every_row()
        days.run(full_refresh=full_refresh)
        assert days.everything() == everything


@of_items
def test_an_item_whose_product_comes_days_after_it_keeps_the_price_at_which_it_was_first_told(days: PricedDays):
    """On ordinary days, and not only where a run looks at everything; both buffers tell it without a price by then."""
    item = next(iter(days.unit_prices()))
    order = item.split("/")[0]
    days.shop.insert("order_items", {"order_id": order, "product_id": "late", "quantity": 1}, loaded_at="now")
    for _ in range(2):
        days.run()
        days.load_a_day()
    days.shop.query("update raw.order_items set _loaded_at = _loaded_at - interval '3 days' where product_id = 'late'")
    days.run()
    assert days.unit_prices()[f"{order}/late"] is None
    late = {"product_id": "late", "name": "Late", "price": 9, "inventory": 1}
    days.shop.insert("products", late, loaded_at="now")
    days.run()
    assert days.unit_prices()[f"{order}/late"] == 9
    days.shop.query("update raw.products set price = 18, _loaded_at = clock_timestamp() where product_id = 'late'")
    days.shop.query("update raw.order_items set quantity = 2, _loaded_at = clock_timestamp() where product_id = 'late'")
    for _ in range(2):
        days.run()
        assert days.unit_prices()[f"{order}/late"] == 9
    assert days.shop.value("select bool_or(scan) from ops.buffers") is False


@of_items
def test_an_item_of_red_days_keeps_the_price_at_which_it_was_first_told(days: PricedDays):
    """As where its product lacks: the sources' tests stop the runs, and their snapshots go on past the item."""
    order = next(iter(days.unit_prices())).split("/")[0]
    days.shop.insert("order_items", {"order_id": order, "product_id": "late", "quantity": 1}, loaded_at="now")
    days.shop.query("update raw.order_items set _loaded_at = now() - interval '3 days' where product_id = 'late'")
    days.load_a_day()
    assert days.begin() is False
    days.build("path:snapshots")
    late = {"product_id": "late", "name": "Late", "price": 9, "inventory": 1}
    days.shop.insert("products", late, loaded_at="now")
    days.run()
    assert days.unit_prices()[f"{order}/late"] == 9
    days.shop.query("update raw.products set price = 18, _loaded_at = clock_timestamp() where product_id = 'late'")
    days.shop.query("update raw.order_items set quantity = 2, _loaded_at = clock_timestamp() where product_id = 'late'")
    days.run()
    assert days.unit_prices()[f"{order}/late"] == 9
    assert days.shop.value("select bool_or(scan) from ops.buffers") is False


@of_items
def test_an_item_that_comes_before_its_order_has_the_price_at_which_it_was_ordered(days: PricedDays):
    """The price changed after the order was placed and before the item came, and no run knows then when that was."""
    [[product, price]] = days.shop.query("select product_id, price from raw.products order by 1 limit 1")
    days.shop.query("update raw.products set price = 2 * price, _loaded_at = now() where product_id = %s", product)
    days.shop.insert("order_items", {"order_id": "late", "product_id": product, "quantity": 1}, loaded_at="now")
    days.run()
    assert days.unit_prices()[f"late/{product}"] is None
    late = Shop.order("late", created_at=f"{noon(2)}+00", order_cost=price, order_total=price + 5)
    days.shop.insert("orders", late, loaded_at="now")
    days.run()
    assert days.unit_prices()[f"late/{product}"] == price


def test_stamps_that_go_back_move_nothing(days: PricedDays):
    days.all_prices_and_inventories_change()
    days.run()
    everything = days.everything()
    days.stamps_go_back()
    days.run(full_refresh=True)
    assert days.everything() == everything


def test_an_item_is_looked_up_by_the_key_that_staging_makes(days: PricedDays):
    """Not by reading all of history, as a day's items would be otherwise."""
    plan = "explain select from staging.stg_greenery__order_items where order_item_id = 'an order/a product'"
    days.shop.query("set enable_seqscan to off")
    found = days.shop.query(plan)
    days.shop.query("reset enable_seqscan")
    assert "order_items_item" in str(found)


def kept_in_files(days: PricedDays, folder: Path) -> Callable[[], object]:
    """What raw can be loaded from when the warehouse is lost: the shop as it is now, in CSV files."""
    with days.shop.connection.cursor() as cursor:
        for table in TABLES.values():
            with (folder / f"{table.name}.csv").open("wb") as file:
                columns = ", ".join(table.columns)
                cursor.copy_expert(f"copy (select {columns} from raw.{table.name}) to stdout csv header", file)
    return lambda: csv_loader.load_folder(days.shop.connection, folder)


def kept_in_a_database(days: PricedDays, folder: Path) -> Callable[[], object]:
    """The same in a database, that the live load reads."""
    days.shop.keep("shop_elsewhere")
    where = days.shop.server.database("shop_elsewhere")

    def load() -> None:
        with pytest.MonkeyPatch.context() as environment:
            address = f"postgresql://{where.user}@/{where.database}?host={where.host}&port={where.port}"
            environment.setenv("SHOP_DATABASE_URL", address)
            environment.setenv("SHOP_DATABASE_SCHEMA", "raw")
            environment.setenv("GREENERY_DBT_DIR", str(folder))
            live.load_shop()

    return load


@pytest.fixture
def save(server: postgres.LocalPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Makes a backup, by the programs of PostgreSQL that are of the server's version."""
    monkeypatch.setenv("PATH", f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}")
    return lambda: backup.save(tmp_path / "backups", server.database(WAREHOUSE))


def lose_all_but(saved: Path, days: PricedDays) -> None:
    """The warehouse is empty, but for what its backup brings."""
    for schema in SCHEMAS:
        days.shop.query(f"drop schema if exists {schema} cascade")
    backup.restore(saved, days.shop.server.database(WAREHOUSE))


def known_without_runs(everything: Content) -> Content:
    """What is told but for changes of orders and inventories: those are dated by the run that sees them."""
    dated_by_runs = {"order_status_changes", "product_stock_outs", "int_product_oversold_changes"}
    told = {name: rows for name, rows in everything.items() if name not in dated_by_runs}
    # A product's inventory on a day is told last.
    told["fact_product_sessions_daily"] = [row[:-1] for row in told["fact_product_sessions_daily"]]
    told["daily_metrics"] = [row for row in told["daily_metrics"] if "oversold_products" not in row]
    return told


@pytest.mark.parametrize("kept", [kept_in_files, kept_in_a_database])
def test_after_a_restore_and_a_load_of_all_of_raw_every_figure_is_what_it_was(
    days: PricedDays,
    save: Callable[[], Path],
    tmp_path: Path,
    kept: Callable[[PricedDays, Path], Callable[[], object]],
):
    days.all_prices_and_inventories_change()
    days.run()
    everything, load = days.everything(), kept(days, tmp_path)
    lose_all_but(save(), days)
    load()
    for _ in range(2):
        days.run()
        assert days.everything() == everything


def test_what_was_ordered_after_the_backup_has_the_price_that_the_shop_charged(
    days: PricedDays, save: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before prices changed and after it. No run that the backup knows of has seen either."""
    monkeypatch.setattr(demo_day, "_PRICE_CHANGES", 0)  # the shop's own: a price that changed twice is lost
    days.run()
    saved = save()
    days.load_a_day()
    days.run()
    days.all_prices_and_inventories_change()
    days.load_a_day()
    days.run()
    everything, load = days.everything(), kept_in_files(days, tmp_path)
    lose_all_but(saved, days)
    load()
    days.run()
    assert known_without_runs(days.everything()) == known_without_runs(everything)


@pytest.mark.parametrize("seed", range(1, int(os.environ.get("SEEDS", "1")) + 1))
def test_whatever_befalls_raw_and_the_warehouse_no_figure_moves(
    shop: KeptShop, projects: Project, save: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Two days, one of new prices, both corrected; a fault after the first, and a loss of all after the second."""
    monkeypatch.setattr(demo_day, "_PRICE_CHANGES", 0)
    days = PricedDays(shop, projects, seed)
    days.first_runs()
    days.run()
    random = days.random
    new_prices_on, saved_before = random.choice([1, 2]), random.choice([1, 2, 3])
    fault = random.choice([days.rewrite_every_row, days.stamps_go_back_and_all_is_read_again, days.raw_is_lost])
    saved: Path | None = None
    for day in (1, 2):
        if day == saved_before:
            saved = save()
        told = days.unit_prices()
        (days.load_a_day_of_new_prices if day == new_prices_on else days.load_a_day)()
        days.some_quantities_are_corrected()
        days.run()
        assert told.items() <= days.unit_prices().items()
        everything = days.everything()
        if day == 1:
            fault()
            days.run()
            assert days.everything() == everything
    told_again = known_without_runs if saved else dict
    tables = replica(shop.connection)
    lose_all_but(saved or save(), days)
    deliver(shop.connection, tables)
    days.run()
    assert told_again(days.everything()) == told_again(everything)
