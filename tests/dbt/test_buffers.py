"""What a build remembers of the buffer that it writes to, on a project of one incremental model with our own macros.

An order that left raw without a word is still in an incremental build, and no longer in a full one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from include.daily import buffers
from include.dbt_project import release
from include.results import runs
from include.warehouse import connect, migrate
from tests.dbt.conftest import PROJECT, Dbt, KeptShop
from tests.dbt.days import SCHEMAS
from tests.waiting import wait_for

pytestmark = pytest.mark.db

MODEL = """
{{ config(
    materialized="incremental",
    meta={"key": "order_id", "follows": [{"of": "greenery.orders"}], "ignores": {"parent": "one row"}},
    contract={"enforced": false},
) }}
select orders.order_id
from {{ source("greenery", "orders") }} as orders
cross join {{ ref("parent") }} as parent
{{ only_changed() }}
{% if execute and var("meanwhile", none) %}{% do run_query(var("meanwhile")) %}{% endif %}
-- {{ env_var("GREENERY_REGION", "south") }} {{ size() }}
"""
SIZE = '{% macro size() %}{{ env_var("GREENERY_SIZE", "small") }}{% endmacro %}'
PARENT = '{{ config(contract={"enforced": false}) }}\nselect 1 as one'
SOURCES = """
sources:
  - {name: greenery, schema: raw, tables: [{name: orders}]}
  - {name: loading, schema: raw, tables: [{name: deletions}]}
"""


class One(Dbt):
    """The project, and the runs of it."""

    shop: KeptShop

    def write(self, name: str, text: str) -> None:
        """Change a file of the project, and make a release of it."""
        (self.project / name).parent.mkdir(parents=True, exist_ok=True)
        (self.project / name).write_text(text)
        release.write_macros_hash(self.project)
        self.parse()

    def begin(self) -> bool:
        """A run begins; True if it builds everything anew."""
        with connect() as connection:
            return buffers.begin(connection, "run")

    def run(self) -> None:
        """A whole run. What it built is published where it is: the next run builds into the same buffer."""
        self.begin()
        assert set(self("run").values()) == {"success"}
        with connect() as connection, connection.cursor() as cursor:
            buffers.published(cursor, buffers.BUILT, proven=True)

    def orders(self) -> list[str]:
        """What the model holds."""
        return [key for (key,) in self.shop.query("select order_id from analytics_next.one order by 1")]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory, shop: KeptShop) -> One:
    """The project, parsed."""
    home = tmp_path_factory.mktemp("one")
    for name in ("dbt_project.yml", "profiles.yml", "macros", "models/_groups.yml"):
        (home / "dbt" / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, home / "dbt" / name)
    one = One(home / "dbt", home / "work")
    one.shop = shop
    (one.project / "models" / "sources.yml").write_text(SOURCES)
    (one.project / "models" / "marts").mkdir()
    (one.project / "models" / "marts" / "parent.sql").write_text(PARENT)
    (one.project / "macros" / "size.sql").write_text(SIZE)
    one.write("models/marts/one.sql", MODEL)
    return one


@pytest.fixture
def one(parsed: One, tmp_path: Path, shop: KeptShop) -> Iterator[One]:
    """The project of one model, built, published, and a new order later."""
    shutil.copytree(parsed.project, tmp_path / "dbt")
    shutil.copytree(parsed.work, tmp_path / "work")
    one = One(tmp_path / "dbt", tmp_path / "work", parsed.manifest)
    one.shop = shop
    shop.reset()
    for schema in ("ops", "analytics"):
        shop.query(f"drop schema if exists {schema} cascade")
    migrate.upgrade()
    shop.insert("orders", shop.order("a"), shop.order("b"))
    one.run()
    shop.insert("orders", shop.order("new"), loaded_at="now")
    yield one
    for schema in SCHEMAS:
        shop.query(f"drop schema if exists {schema} cascade")


def test_a_run_takes_changes_alone(one: One) -> None:
    one.shop.query("delete from raw.orders where order_id = 'b'")
    one.run()
    assert one.orders() == ["a", "b", "new"]


def test_a_row_that_a_staging_view_leaves_out_from_now_on_is_in_no_mart_any_more(one: One) -> None:
    """A shop that marks what is deleted, say."""
    one.write(
        "models/staging/stg_orders.sql", "select * from {{ source('greenery', 'orders') }} where promo_id is null"
    )
    one.write(
        "models/marts/one.sql",
        MODEL.replace("greenery.orders", "stg_orders").replace('source("greenery", "orders")', 'ref("stg_orders")'),
    )
    one.run()
    one.shop.query("update raw.orders set promo_id = 'gone', _loaded_at = clock_timestamp() where order_id = 'b'")
    one.run()
    assert one.orders() == ["a", "new"]


@pytest.mark.parametrize(
    ("settings", "happened", "left"),
    [
        (
            "strategy='check', check_cols=['status'], hard_deletes='invalidate'",
            "delete from raw.orders where order_id = 'b'",
            ["a", "new"],
        ),
        (
            "strategy='timestamp', updated_at='delivered_at'",
            "update raw.orders set delivered_at = '2020-02-01', status = 'gone', _loaded_at = clock_timestamp()"
            " where order_id = 'b'",
            ["a", "new"],
        ),
        (
            "strategy='check', check_cols=['status'], updated_at='delivered_at'",
            "update raw.orders set delivered_at = '2020-02-01', status = 'gone', _loaded_at = clock_timestamp()"
            " where order_id = 'b'",
            ["a", "new"],
        ),
    ],
    ids=["a row that left", "by the shop's clock", "compared, and dated by the shop's clock"],
)
def test_what_a_snapshot_closes_or_dates_by_the_shop_is_followed(
    one: One, settings: str, happened: str, left: list[str]
) -> None:
    one.shop.query("update raw.orders set delivered_at = '2020-01-01'")
    with connect() as connection:  # without a run, each build looks at all versions
        runs.begin(connection, "run", "a release")
    one.write(
        "snapshots/kept.sql",
        "{% snapshot kept %}{{ config(unique_key='order_id', " + settings + ") }}"
        " select order_id, status, delivered_at from {{ source('greenery', 'orders') }}{% endsnapshot %}",
    )
    model = MODEL.replace("greenery.orders", "kept").replace('source("greenery", "orders")', 'ref("kept")')
    one.write(
        "models/marts/one.sql",
        model.replace(
            "{{ only_changed() }}",
            "{{ only_changed() }} {{ 'and' if is_incremental() else 'where' }}"
            " orders.dbt_valid_to is null and orders.status <> 'gone'",
        ),
    )
    for change in ("", f"update snapshots.kept set dbt_valid_from = '2020-01-01'; {happened}"):
        if change:
            one.shop.query(change)
        one.begin()
        assert set(one("snapshot").values()) == {"success"}
        one.run()
    one.shop.query("drop table snapshots.kept")
    assert one.orders() == left


@pytest.mark.parametrize(
    "follows",
    [{"of": "kept", "parent_key": "number"}, {"of": "kept", "on": "order_id", "parent_key": "number"}],
    ids=["the key", "a column"],
)
def test_all_versions_of_a_snapshot_may_be_looked_at_where_it_calls_the_key_otherwise(
    one: One, follows: dict[str, str]
) -> None:
    one.write(
        "snapshots/kept.sql",
        "{% snapshot kept %}{{ config(unique_key='number', strategy='check', check_cols=['status']) }}"
        " select order_id as number, status from {{ source('greenery', 'orders') }}{% endsnapshot %}",
    )
    one.write(
        "models/marts/one.sql",
        MODEL.replace('{"of": "greenery.orders"}', str(follows))
        .replace('source("greenery", "orders")', 'ref("kept")')
        .replace("select orders.order_id", "select orders.number as order_id")
        .replace("only_changed()", "only_changed('number')"),
    )
    one.begin()
    assert set(one("snapshot").values()) == {"success"}
    one.run()
    one.shop.query("delete from snapshots.kept where number = 'b'")
    one.run()
    one.shop.query("drop table snapshots.kept")
    assert one.orders() == ["a", "new"]


def test_a_buffer_is_marked_before_it_is_first_written_to_and_the_run_after_a_killed_one_builds_anew(one: One) -> None:
    is_dirty = "select dirty from ops.buffers where schema_oid = 'analytics_next'::regnamespace"
    assert one.begin() is False
    assert one.shop.value(is_dirty) is False
    with connect() as other, other.cursor() as cursor:
        cursor.execute("lock table analytics_next.one")
        build = Thread(target=one, args=("run", "--select", "one"))
        build.start()
        try:
            waits = "select pid from pg_locks where relation = 'analytics_next.one'::regclass and not granted"
            wait_for(lambda: one.shop.query(waits) or not build.is_alive(), "the build gets to write")
            assert build.is_alive(), "the build ended before it wrote"
            assert one.shop.value(is_dirty) is True
        finally:
            one.shop.query(f"select pg_terminate_backend(pid) from ({waits}) as build")
            build.join()
    one.shop.query("delete from raw.orders where order_id = 'b'")
    assert one.begin() is True
    one.run()
    assert one.orders() == ["a", "new"]
    assert one.shop.value(is_dirty) is False
    assert one.begin() is False


def test_a_buffer_that_was_written_to_without_a_mark_is_built_anew(one: One) -> None:
    """As by a release of before the mark."""
    one.begin()
    assert set(one("run").values()) == {"success"}
    one.shop.query("update ops.buffers set dirty = false")
    assert one.begin() is True


@pytest.mark.parametrize(
    "loss",
    [
        "drop table raw.orders; create table raw.orders as select * from kept.orders",
        "truncate raw.orders; insert into raw.orders select * from kept.orders",
        "drop table raw.deletions; create table raw.deletions (table_name text, key text, deleted_at timestamptz)",
    ],
    ids=["a table that was made anew", "a table that was emptied", "the deletions"],
)
def test_a_raw_that_was_lost_and_loaded_again_is_followed_anew(one: One, loss: str) -> None:
    """An order that the shop has deleted in between doesn't come again, and nobody notes that it left."""
    one.run()
    one.shop.query("delete from raw.orders where order_id = 'b'")
    one.shop.query("create schema kept; create table kept.orders as select * from raw.orders")
    one.shop.query(loss)
    one.shop.query("drop schema kept cascade")
    assert one.begin() is True
    assert one.begin() is True
    one.run()
    assert one.orders() == ["a", "new"]
    assert one.begin() is False


@pytest.fixture
def till(one: One) -> Iterator[One]:
    """The same where raw shows a view of the shop's, which calls its tables otherwise."""
    one.shop.query("create schema till; alter table raw.orders set schema till")
    one.shop.query("create view till.shown as table till.orders; create view raw.orders as table till.shown")
    yield one
    one.shop.query("drop view raw.orders; drop view till.shown; alter table till.orders set schema raw")
    one.shop.query("drop schema till cascade")


def test_a_table_behind_a_view_of_raw_that_was_emptied_and_loaded_again_is_followed_anew(till: One) -> None:
    """As by a loader that writes its tables anew each night."""
    till.run()
    assert till.begin() is False
    till.shop.query("create table till.kept as select * from till.orders where order_id <> 'b'")
    till.shop.query("truncate till.orders; insert into till.orders select * from till.kept")
    assert till.begin() is True
    till.run()
    assert till.orders() == ["a", "new"]


@pytest.mark.parametrize("stamp", ["now", "2999-01-01 00:00:00+00"])
def test_a_retry_takes_what_was_loaded_since_the_run_began_whatever_its_stamp(one: One, stamp: str) -> None:
    one.shop.query("delete from raw.orders where order_id = 'b'")
    one.begin()
    assert set(one("run").values()) == {"success"}
    one.shop.insert("orders", one.shop.order("late"), loaded_at=stamp)
    assert one("run", "--select", "one") == {"one": "success"}
    assert one.orders() == ["a", "b", "late", "new"]
    assert one.shop.query("select is_present, order_id from staging.one__changes order by 2") == [
        (True, "late"),
        (True, "new"),
    ]


def test_a_model_that_is_called_otherwise_leaves_word_of_its_former_table(one: One) -> None:
    """Which is there still, for the publish to drop."""
    one.write("models/parents.yml", "models: [{name: parent, config: {alias: parents}}]")
    one.begin()
    assert set(one("run").values()) == {"success"}
    assert one.shop.query("select identifier, unique_id from ops.buffer_models where identifier like 'parent%'") == [
        ("parent", "model.greenery.parent as parent"),
        ("parents", "model.greenery.parent"),
    ]


def test_a_model_that_was_compiled_to_take_changes_does_not_become_them(one: One) -> None:
    """What it was compiled for stands no more when it runs: everything is to be built anew."""
    one.begin()
    meanwhile = "update ops.buffers set rebuild = true"
    statuses = one("run", "--select", "one", "--vars", f"{{meanwhile: {meanwhile}}}")
    assert statuses == {"one": "error"}
    assert one.orders() == ["a", "b"]
    assert one("run", "--select", "one") == {"one": "success"}
    assert one.orders() == ["a", "b", "new"]


def another_table(one: One, environment: pytest.MonkeyPatch) -> None:
    one.shop.query("create table raw.orders_of_2026 as table raw.orders")
    one.write("models/sources.yml", SOURCES.replace("name: orders", "name: orders, identifier: orders_of_2026"))


def another_value_in_the_environment(one: One, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GREENERY_REGION", "north")


def another_value_for_a_macro(one: One, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GREENERY_SIZE", "large")


def another_name_of_what_it_reads(one: One, environment: pytest.MonkeyPatch) -> None:
    one.write("models/parents.yml", "models: [{name: parent, config: {alias: parents}}]")


def another_configuration(one: One, environment: pytest.MonkeyPatch) -> None:
    one.write("models/ones.yml", "models: [{name: one, config: {unique_key: order_id, pre_hook: select 1}}]")


@pytest.mark.parametrize(
    "change",
    [
        another_table,
        another_value_in_the_environment,
        another_value_for_a_macro,
        another_name_of_what_it_reads,
        another_configuration,
    ],
)
def test_what_a_model_is_compiled_from_is_what_a_change_of_builds_it_anew(
    one: One, monkeypatch: pytest.MonkeyPatch, change: Callable[[One, pytest.MonkeyPatch], None]
) -> None:
    one.shop.query("delete from raw.orders where order_id = 'b'")
    one.run()
    assert "b" in one.orders()
    change(one, monkeypatch)
    one.run()
    assert one.orders() == ["a", "new"]
