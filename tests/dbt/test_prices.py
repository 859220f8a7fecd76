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
from include.local import postgres
from include.raw import csv_loader, live
from include.raw.contract import TABLES
from tests.dbt.conftest import WAREHOUSE, Shop
from tests.dbt.days import SCHEMAS, Days, Project
from tests.dbt.edits import Tables, deliver, replica

pytestmark = pytest.mark.db

FIRST_DAY = date(2026, 3, 2)  # as conftest.py sets it

Content = dict[str, list[tuple]]


class EveryMart(Days):
    """Days on which every model is built."""

    def build(self, *select: str) -> None:
        super().build(*(select or ("path:models", "path:snapshots")))

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
def days(shop: Shop, projects: Project) -> EveryMart:
    """A warehouse after two runs."""
    days = EveryMart(shop, projects, seed=1)
    days.first_runs()
    return days


def test_a_quantity_that_is_corrected_after_a_price_change_keeps_its_price(days: EveryMart):
    told = days.unit_prices()
    tables = replica(days.shop.connection)
    for item in tables["order_items"]:
        item["quantity"] = str(int(item["quantity"]) + 1)
    days.all_prices_and_inventories_change(tables)
    days.run()
    assert {item: price for item, price in days.unit_prices().items() if item in told} == told


def test_a_loader_that_rewrites_every_row_each_night_moves_nothing(days: EveryMart):
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


def test_an_item_whose_product_comes_days_after_it_keeps_the_price_at_which_it_was_first_told(days: EveryMart):
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


def test_an_item_of_red_days_keeps_the_price_at_which_it_was_first_told(days: EveryMart):
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


def test_stamps_that_go_back_move_nothing(days: EveryMart):
    """The loader's clock, or one that stamps a row with the shop's own time of its last change."""
    days.all_prices_and_inventories_change()
    days.run()
    everything = days.everything()
    for table in TABLES:
        days.shop.query(f"update raw.{table} set _loaded_at = _loaded_at - interval '1 day'")
    days.run(full_refresh=True)
    assert days.everything() == everything


class Shops:
    """Where raw can be loaded from again when the warehouse is lost: what the shop is now is kept there first."""

    def __init__(self, days: EveryMart, folder: Path) -> None:
        self.days, self.folder = days, folder

    def keep_files(self) -> None:
        with self.days.shop.connection.cursor() as cursor:
            for table in TABLES.values():
                with (self.folder / f"{table.name}.csv").open("wb") as file:
                    columns = ", ".join(table.columns)
                    cursor.copy_expert(f"copy (select {columns} from raw.{table.name}) to stdout csv header", file)

    def load_files(self) -> None:
        csv_loader.load_folder(self.days.shop.connection, self.folder)

    def keep_database(self) -> None:
        self.days.shop.keep("live_shop")

    def load_database(self) -> None:
        where = self.days.shop.server.database("live_shop")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SHOP_DATABASE_URL", f"postgresql://{where.user}@{where.host}:{where.port}/live_shop")
            environment.setenv("SHOP_DATABASE_SCHEMA", "raw")
            environment.setenv("GREENERY_DBT_DIR", str(self.folder))
            live.load_shop()


@pytest.fixture
def save(server: postgres.LocalPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Makes a backup, by the programs of PostgreSQL that are of the server's version."""
    monkeypatch.setenv("PATH", f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}")
    return lambda: backup.save(tmp_path / "backups", server.database(WAREHOUSE))


def without_inventories(everything: Content) -> list[tuple]:
    """Of product and day, whose inventory is told last."""
    return [row[:-1] for row in everything["fact_product_sessions_daily"]]


def lose_everything_but(saved: Path, days: EveryMart) -> None:
    """The warehouse is empty, but for what its backup brings."""
    for schema in SCHEMAS:
        days.shop.query(f"drop schema if exists {schema} cascade")
    backup.restore(saved, days.shop.server.database(WAREHOUSE))


@pytest.mark.parametrize("loader", ["files", "database"])
def test_after_a_restore_and_a_load_of_all_of_raw_every_figure_is_what_it_was(
    days: EveryMart, save: Callable[[], Path], tmp_path: Path, loader: str
):
    shops = Shops(days, tmp_path)
    days.all_prices_and_inventories_change()
    days.run()
    days.load_a_day()
    days.run()
    everything = days.everything()
    getattr(shops, f"keep_{loader}")()
    lose_everything_but(save(), days)
    getattr(shops, f"load_{loader}")()
    for _ in range(2):
        days.run()
        assert days.everything() == everything


def test_what_was_ordered_after_the_backup_has_the_price_that_the_shop_charged(
    days: EveryMart, save: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before prices changed and after it. No run that the backup knows of has seen either."""
    monkeypatch.setattr(demo_day, "_PRICE_CHANGES", 0)  # the shop's own: a price that changed twice is lost as well
    shops = Shops(days, tmp_path)
    days.run()
    saved = save()
    days.load_a_day()
    days.run()
    days.all_prices_and_inventories_change()
    days.load_a_day()
    days.run()
    before = days.everything()
    shops.keep_files()
    lose_everything_but(saved, days)
    shops.load_files()
    days.run()
    after = days.everything()
    # What only a run can date is dated by the next one: changes of orders, and of inventories.
    assert {name for name in before if after[name] != before[name]} == {
        "order_status_changes",
        "fact_product_sessions_daily",
    }
    assert without_inventories(after) == without_inventories(before)
