"""Another shop, called otherwise in every respect, comes to a published day by what `docs/own-shop.md` says.

The shop is the page's own example: its mapping, its commands and its grants are read from the page, and used as they
are. What is in it is the demo shop's, translated.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily import admission
from include.dbt_project import manifest, release
from include.demo_shop import demo
from include.fast_cosmos import invocation
from include.local import postgres
from include.publish.publish import publish_run
from include.raw import mapping
from include.raw.contract import TABLES
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect
from include.warehouse.roles import TRANSFORMER
from tests.dbt.conftest import PROJECT, Shop
from tests.dbt.days import ORDERS_PER_DAY, Days, Project
from tests.forks import Forks, fork_dbt
from tests.own_project.conftest import drawn, run_day

pytestmark = pytest.mark.db

PAGE = (PROJECT_ROOT / "docs" / "own-shop.md").read_text()
# Where the demo shop is played, for the German one to be translated from.
MODEL = "vorbild"
RAW = "greenery_raw"

# By table of the German shop: of which it is, its key, and its columns, each made from the other's.
LADEN = {
    "kunden": (
        "users",
        'kundennr uuid primary key, vorname text, nachname text, "E-Mail" text, angelegt timestamp, geändert timestamp,'
        " adressnr text",
        "user_id::uuid, first_name, last_name, upper(email), created_at at time zone 'UTC',"
        " updated_at at time zone 'UTC', address_id",
    ),
    "adressen": (
        "addresses",
        "adressnr text primary key, straße text, plz varchar(10), land text",
        "address_id, address, zipcode, state",
    ),
    "artikel": (
        "products",
        "artikelnr text primary key, bezeichnung text, preis_in_cent integer, bestand bigint",
        "product_id, name, price * 100, inventory",
    ),
    "gutscheine": (
        "promos",
        "code text primary key, nachlass real, gilt boolean",
        "promo_id, discount, status = 'active'",
    ),
    "bestellungen": (
        "orders",
        "bestellnr text primary key, kundennr uuid, gutschein text, adressnr text, bestellt timestamptz, warenwert"
        " numeric, versand numeric, summe numeric, sendung text, zusteller text, zugesagt timestamptz, zugestellt"
        " timestamptz, stand text",
        "order_id, user_id::uuid, promo_id, address_id, created_at, order_cost, shipping_cost, order_total,"
        " tracking_id, shipping_service, estimated_delivery_at, delivered_at,"
        " case status when 'preparing' then 'neu' when 'shipped' then 'unterwegs' else 'da' end",
    ),
    "positionen": (
        "order_items",
        "bestellnr text, artikelnr text, menge smallint, primary key (bestellnr, artikelnr)",
        "order_id, product_id, quantity",
    ),
    "klicks": (
        "events",
        "klicknr text primary key, besuch text, kundennr uuid, seite text, um timestamptz, art text, bestellnr text,"
        " artikelnr text",
        "event_id, session_id, user_id::uuid, page_url, created_at, event_type, order_id, product_id",
    ),
}


def blocks(language: str) -> list[str]:
    """The page's blocks of code in a language."""
    return [
        re.sub(r"^ {2}", "", text, flags=re.M) if text.startswith("  ") else text
        for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    ]


class Laden(Days):
    """The German shop, day after day, in a warehouse that was set up as the page says."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop, self.random, self.folder = shop, Random(1), folder  # noqa: S311
        self.runs, self.release = 0, "a release"
        self.overlap = timedelta(0)
        self.loaded_until = "-infinity"
        shop.query("create schema laden")
        for name, (_, columns, _) in LADEN.items():
            shop.query(f"create table laden.{name} ({columns}, geladen timestamptz not null)")
        self.load_a_day(note=False)

    def load_a_day(self, *, note: bool = True) -> None:
        """What the shop's own loader does: it writes what is new or changed, stamps it, and notes the load."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("GREENERY_RAW_SCHEMA", MODEL)
            day = demo.next_day(self.shop.connection)
            demo.play_day(self.shop.connection, day, orders_per_day=ORDERS_PER_DAY)
        for name, (table, _, values) in LADEN.items():
            new = f"from {MODEL}.{table} where _loaded_at > %s"
            key = ", ".join(TABLES[table].key)
            keys = ", ".join(column.split()[0] for column in LADEN[name][1].split(", ")[: len(TABLES[table].key)])
            keys = keys.replace("kundennr", "kundennr::text")
            self.shop.query(f"delete from laden.{name} where ({keys}) in (select {key} {new})", self.loaded_until)
            self.shop.query(f"insert into laden.{name} select {values}, clock_timestamp() {new}", self.loaded_until)
        self.loaded_until = self.shop.value(f"select max(loaded_at) from {MODEL}.loads")
        if note:
            self.shop.query(blocks("sql")[1])

    def lose_a_click(self) -> None:
        """A row is deleted, and noted."""
        [[gone]] = self.shop.query(
            "delete from laden.klicks where klicknr = (select min(klicknr) from laden.klicks where art = 'page_view')"
            " returning klicknr"
        )
        self.shop.query(f"delete from {MODEL}.events where event_id = %s", gone)
        note = blocks("sql")[2].replace("'order_items', '0190…/8a1f…'", "'events', %s")
        assert "%s" in note
        self.shop.query(note, gone)

    def build(self, *select: str) -> None:
        """All that a day builds, with the project's own tests."""
        statuses = self.project(
            "build", "--exclude-resource-type", "unit_test", *(("--select", *select) if select else ())
        )
        assert {name: status for name, status in statuses.items() if status not in ("success", "pass", "no-op")} == {}

    def sh(self, commands: str) -> str:
        """Run commands of the page; returns what they say."""
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(PROJECT_ROOT),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_a_day_task_by_task(self) -> None:
        """A run of the daily DAG, as Airflow draws it, with every test of the data; a publish at its end."""
        dag = drawn()
        made = release.current()
        assert made
        self.project = Project(made.path, self.folder / "work", invocation.load(made))
        self.runs, self.release = 1, made.stamp
        run_day(dag, "run 1")
        assert publish_run("run 1", manifest.read(made.manifest))
        admission.let_go("run 1")


@pytest.fixture(scope="module")
def _importer(server: postgres.LocalPostgres) -> Iterator[None]:
    """Whom the page grants rights to, for as long as there are databases with such rights."""
    with postgres.admin(server) as cursor:
        cursor.execute("create role laden_import")
    yield
    with postgres.admin(server) as cursor:
        cursor.execute("drop role laden_import")


@pytest.fixture
def laden(
    _importer: None,
    db: Connection,
    warehouse: Warehouse,
    dbts: Forks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Laden:
    """The shop on its first day, in a warehouse of its own; nothing is there yet. dbt parses in a fork."""
    fork_dbt(dbts, monkeypatch)
    monkeypatch.setenv("GREENERY_RAW_SCHEMA", RAW)
    monkeypatch.setenv("WAREHOUSE_ADMIN_USER", warehouse.user)
    monkeypatch.setenv("WAREHOUSE_USER", TRANSFORMER)
    monkeypatch.setenv("GREENERY_DBT_DIR", str(tmp_path / "dbt"))
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path / "state"))
    shutil.copytree(PROJECT, tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    return Laden(Shop(db), tmp_path)


def test_another_shop_comes_to_published_days_by_what_the_page_says(laden: Laden):
    (laden.folder / "dbt" / mapping.FILE).write_text(blocks("yaml")[0])
    told = laden.sh(blocks("sh")[2])
    assert f"{RAW}.orders: a view of laden.bestellungen" in told
    assert f"{RAW}.loads: a table" in told
    laden.shop.query("alter role greenery_transformer login")  # as its password does, where a server asks for one
    laden.shop.query(blocks("sql")[0])
    laden.shop.query(blocks("sql")[1])
    laden.sh(blocks("sh")[3])
    assert mapping.problem(laden.folder / "dbt") is None

    laden.run_a_day_task_by_task()
    assert laden.rebuilt() == laden.project.incremental
    assert_published_is_of_the_same_shop(laden)

    laden.load_a_day()
    assert laden.run() == laden.project.incremental
    laden.load_a_day()
    laden.lose_a_click()
    assert laden.run() == set(), "the third day was not built from what changed"
    assert (
        laden.shop.query(
            "select source from ops.watermarks"
            " where schema_oid = to_regnamespace('analytics')::oid and loaded_at = '-infinity' and source <> 'promos'"
        )
        == []
    ), "how far a view has come was not seen"
    assert_published_is_of_the_same_shop(laden)
    assert laden.shop.value("select count(*) > 0 from snapshots.orders_snapshot where status = 'shipped'")


def assert_published_is_of_the_same_shop(laden: Laden) -> None:
    """What people query says of the translated shop what the demo shop's own tables say."""
    for published, model in {
        "status, count(*), sum(order_total), max(ordered_at)::timestamptz from analytics.fact_orders": (
            f"status, count(*), sum(order_total), max(created_at) from {MODEL}.orders"
        ),
        "event_type, count(*) from analytics.int_events": f"event_type, count(*) from {MODEL}.events",
        "email, count(*) from analytics.dim_users": f"email, count(*) from {MODEL}.users",
        "price, sum(inventory) from analytics.fact_product": f"price, sum(inventory) from {MODEL}.products",
    }.items():
        assert laden.shop.query(f"select {published} group by 1 order by 1") == laden.shop.query(
            f"select {model} group by 1 order by 1"
        )


def test_another_mapping_is_another_project_and_no_run_begins_on_the_views_of_before(
    laden: Laden, monkeypatch: pytest.MonkeyPatch
):
    folder = laden.folder / "dbt"
    (folder / mapping.FILE).write_text(blocks("yaml")[0])
    laden.sh(blocks("sh")[2])
    laden.shop.query("alter role greenery_transformer login")
    stamp = release.releases().stamp_of(folder)
    release.write_macros_hash(folder)
    macros = (folder / "macros" / "daily" / "macros_hash.sql").read_text()

    (folder / mapping.FILE).write_text(blocks("yaml")[0].replace("preis_in_cent / 100.0", "preis_in_cent / 200.0"))
    assert release.releases().stamp_of(folder) != stamp
    release.write_macros_hash(folder)
    assert (folder / "macros" / "daily" / "macros_hash.sql").read_text() != macros, (
        "what is built already would be continued"
    )
    assert f"{RAW}.products does not show what" in mapping.problem(folder)

    laden.sh(blocks("sh")[2])
    assert mapping.problem(folder) is None
    laden.shop.query("drop table laden.artikel cascade")
    assert f"{RAW}.products does not show what" in mapping.problem(folder)

    stamp = release.releases().stamp_of(folder)
    monkeypatch.setenv("GREENERY_RAW_SCHEMA", "elsewhere")
    assert release.releases().stamp_of(folder) != stamp


def test_no_load_writes_to_a_table_that_is_a_view(laden: Laden):
    (laden.folder / "dbt" / mapping.FILE).write_text(blocks("yaml")[0])
    laden.sh(blocks("sh")[2])
    with (
        connect("test", settings.warehouse_admin()) as connection,
        pytest.raises(RuntimeError, match=rf"{RAW}\.orders.* can't be loaded, being a view"),
    ):
        demo.play_day(connection, 1)
