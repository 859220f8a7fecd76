"""What was told of the past stays: no figure depends on when a row was loaded, only on what it says.

Rows are corrected, rewritten every night, or loaded again after the warehouse was lost, under prices and inventories
that have changed meanwhile.
"""

from __future__ import annotations

import os
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from include import backup
from include.local import postgres
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


def test_after_a_restore_and_a_load_of_all_of_raw_every_figure_is_what_it_was(
    days: EveryMart, server: postgres.LocalPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    days.all_prices_and_inventories_change()
    days.run()
    everything, the_shop = days.everything(), replica(days.shop.connection)
    programs = Path(postgres.binary("psql")).parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    saved = backup.save(tmp_path, server.database(WAREHOUSE))
    for schema in SCHEMAS:
        days.shop.query(f"drop schema if exists {schema} cascade")
    backup.restore(saved, server.database(WAREHOUSE))
    deliver(days.shop.connection, the_shop)
    for _ in range(2):
        days.run()
        assert days.everything() == everything
