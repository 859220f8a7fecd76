"""What incremental builds publish is, row for row, what one full build of the same raw tables gives.

Days of the demo shop are played and edited at random (`tests/dbt/edits.py`), loaded by the loaders' own code, built by
dbt, and published by swap. After each publish every mart is compared with what the models' own SQL, as it is for a full
build, makes of the same raw tables. `SEEDS=100` in the environment plays a hundred sequences instead of one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from dbt.adapters.postgres import PostgresAdapter

from include.dbt_project import release
from include.demo_shop import demo
from include.publish.publish import publish_run
from include.raw.contract import TABLES
from tests.clock import let_pass
from tests.dbt.conftest import KeptShop
from tests.dbt.days import NOTHING_TO_PROVE, ORDERS_PER_DAY, TAKING_CHANGES, Days, Project

pytestmark = pytest.mark.db


@pytest.fixture
def days(shop: KeptShop, projects: Project) -> Days:
    """A warehouse on its first day."""
    days = Days(shop, projects, seed=1)
    days.models = TAKING_CHANGES
    return days


@pytest.mark.parametrize("seed", range(1, int(os.environ.get("SEEDS", "1")) + 1))
def test_any_sequence_of_days_and_edits_gives_what_a_full_build_gives(shop: KeptShop, projects: Project, seed: int):
    """Of every model."""
    days = Days(shop, projects, seed)
    days.two_full_runs()
    for _ in range(4):
        if days.random.random() < 0.6:
            days.load_a_day()
        days.edit()
        assert days.run() == set()


def test_what_the_cache_of_dbt_lacks_is_not_taken_to_be_missing(days: Days, monkeypatch: pytest.MonkeyPatch):
    """Of a schema that holds no node of the project, a thread may read the cache while another one fills it."""
    days.two_full_runs()
    listed = PostgresAdapter.list_relations

    def half_filled(adapter: PostgresAdapter, database: str, schema: str) -> list:
        return listed(adapter, database, schema) if adapter._schema_is_cached(database, schema) else []

    monkeypatch.setattr(PostgresAdapter, "list_relations", half_filled)
    days.edit()
    assert days.run() == set()


def test_after_half_a_run_everything_is_built_anew(days: Days):
    """Each half in another buffer."""
    days.two_full_runs()
    for half in ("+int_events",), ("+int_orders",):
        days.edit()
        days.begin()
        days.build(*half)
        days.edit()
        assert days.run() == days.project.incremental
    days.edit()
    assert days.run() == set()


def test_what_was_built_by_hand_is_built_anew(days: Days):
    days.two_full_runs()
    days.build("int_events")
    assert days.begin() is True


def test_what_was_dropped_by_hand_is_built_anew(days: Days):
    days.two_full_runs()
    days.shop.query("drop table analytics_next.fact_orders")
    assert days.begin() is True


def test_what_was_never_begun_is_not_built_anew_and_what_somebody_asks_for_is(days: Days):
    days.two_full_runs()
    days.edit()
    days.begin()  # and then the source tests fail, say
    days.edit()
    assert days.run() == set()
    assert days.run(full_refresh=True) == days.project.incremental
    days.edit()
    assert days.run() == set()


def test_a_model_that_is_built_again_in_a_run_adds_to_what_it_changed_before(days: Days):
    """Its tests failed for want of a connection, say, or somebody mended the data and cleared it."""
    days.two_full_runs()
    days.edit()
    days.begin()
    days.build("+int_order_items", "+int_events")
    days.build("int_order_items")
    days.edit()
    days.build("int_order_items")
    days.build()
    days.publish()
    assert days.rebuilt() == set()
    days.load_a_day()
    assert days.run() == set()


def test_what_reads_a_model_that_somebody_rebuilt_in_a_run_is_rebuilt(days: Days):
    days.two_full_runs()
    days.edit()
    days.begin()
    days.build("+int_order_items")
    days.build("int_order_items", "--full-refresh")
    days.build("int_order_items")
    days.build()
    days.publish()
    assert days.rebuilt() == {"int_order_items"} | days.project.incremental & days.project.names(
        "--select", "int_order_items+"
    )
    days.load_a_day()
    days.run()
    assert days.run() == set()


def test_a_load_that_brings_what_is_there_already_changes_nothing(days: Days):
    days.two_full_runs()
    days.run()
    demo.play_day(days.shop.connection, 2, orders_per_day=ORDERS_PER_DAY)
    for table in TABLES:
        days.shop.query(f"update raw.{table} set _loaded_at = clock_timestamp()")
    assert days.run() == set()
    assert days.run() == set()
    assert days.shop.value("select count(*) from staging.int_events__changes") == 0


def test_a_publish_that_is_taken_back_is_followed_from_where_it_was(days: Days):
    days.two_full_runs()
    days.edit()
    days.run()
    for before, after in (("analytics", "former"), ("analytics_next", "analytics"), ("former", "analytics_next")):
        days.shop.query(f"alter schema {before} rename to {after}")
    for _ in range(2):
        days.edit()
        assert days.run() == set()


def test_a_row_that_was_stamped_before_it_could_be_seen_is_not_missed(days: Days):
    days.two_full_runs()
    days.overlap = timedelta(hours=1)
    days.load_a_day()
    stamp = days.shop.value("select max(_loaded_at) from raw.events")
    days.load_a_day()
    days.run()
    days.run()
    days.shop.query(
        "insert into raw.events select 'slow', session_id, user_id, page_url, created_at, event_type, order_id,"
        " product_id, %s from raw.events limit 1",
        stamp,
    )
    assert days.run() == set()
    assert days.run() == set()


def test_what_is_loaded_while_a_run_is_under_way_is_for_the_next_one(days: Days):
    days.two_full_runs()
    days.begin()
    days.build()
    days.shop.query("update raw.events set product_id = null, _loaded_at = clock_timestamp()")
    publish_run(f"run {days.runs}", NOTHING_TO_PROVE)
    assert days.run() == set()
    assert days.run() == set()


def test_what_was_built_with_a_price_that_no_snapshot_saw_is_built_anew(days: Days):
    """Another price was loaded while a run was under way: the models saw the one before it, the snapshot this one."""
    days.two_full_runs()
    days.begin()
    days.project("run", "--select", *days.models)
    days.shop.query("update raw.products set price = price + 1, _loaded_at = clock_timestamp()")
    days.project("build", "--selector", "snapshot")
    publish_run(f"run {days.runs}", NOTHING_TO_PROVE)
    days.load_a_day()
    assert days.run() == set()
    assert days.begin() is True


def test_a_change_that_the_snapshot_dated_ahead_costs_no_later_change(days: Days):
    """The server's clock was ahead while one run took its snapshot."""
    days.two_full_runs()
    days.begin()
    days.build("path:snapshots")
    newest = "(select max(dbt_valid_to) from snapshots.orders_snapshot)"
    days.shop.query(
        "update snapshots.orders_snapshot set dbt_valid_to = dbt_valid_to + interval '10 days'"
        f" where dbt_valid_to = {newest};"
        f" update snapshots.orders_snapshot set dbt_valid_from = {newest}"
        f" where dbt_valid_from = {newest} - interval '10 days'"
    )
    days.build()
    days.publish()
    for _ in range(2):
        days.load_a_day()
        assert days.run() == set()


def test_what_is_loaded_after_the_clock_was_set_back_is_in_both_buffers(days: Days):
    """A run that begins meanwhile tells of it, though no load is noted."""
    days.two_full_runs()
    days.run()
    let_pass(days.shop.query, -1)
    days.load_a_day()
    days.shop.query("truncate raw.loads")
    days.begin()
    let_pass(days.shop.query, 2)
    built_anew = [days.run() for _ in range(4)]
    assert [bool(models) for models in built_anew] == [True, True, False, False]


def test_a_clock_that_was_set_back_and_has_caught_up_hides_no_load(days: Days):
    days.two_full_runs()
    days.run()
    days.load_a_day()
    first = days.shop.value("select min(loaded_at) from ops.watermarks where loaded_at > '-infinity'")
    newest = days.shop.value("select max(loaded_at) from raw.loads")
    for table, stamp in [
        *((table, "_loaded_at") for table in TABLES),
        ("loads", "loaded_at"),
        ("deletions", "deleted_at"),
    ]:
        days.shop.query(f"update raw.{table} set {stamp} = %s - interval '1 minute' where {stamp} = %s", first, newest)
    built_anew = [days.run() for _ in range(4)]
    assert [bool(models) for models in built_anew] == [True, True, False, False]


# To each mart a column from a table that it reads already: its name and type, and where the SQL says it.
ADDED = {
    "int_events": ("page_url", "text", [("event_type,", "event_type, page_url,")]),
    "int_order_items": (
        "loaded_at",
        "timestamptz",
        [
            ("priced.quantity,", "priced.quantity, priced._loaded_at as loaded_at,"),
        ],
    ),
    "int_orders": (
        "promo_status",
        "text",
        [("orders.tracking_id,", "orders.tracking_id, promos.status as promo_status,")],
    ),
    "fact_orders": (
        "checkout_event_id",
        "text",
        [
            ("row_number() over (partition by order_id", "event_id, row_number() over (partition by order_id"),
            ("checkouts.session_id,\n", "checkouts.session_id, checkouts.event_id as checkout_event_id,\n"),
        ],
    ),
    "fact_order_items": ("discount", "numeric(16,2)", [("orders.promo_id,", "orders.promo_id, orders.discount,")]),
    "dim_users": (
        "deliveries",
        "bigint",
        [
            ("count(*) as orders,", "count(*) as orders, count(delivered_at) as deliveries,"),
            ("users.updated_at,", "users.updated_at, user_orders.deliveries,"),
        ],
    ),
    "int_user_sessions": (
        "last_order_id",
        "text",
        [
            ("min(user_id) as user_id,", "min(user_id) as user_id, max(order_id) as last_order_id,"),
            ("        started_at,\n", "        last_order_id, started_at,\n"),
        ],
    ),
    "int_product_session_days": (
        "first_event_at",
        "timestamp",
        [
            ("cast(created_at as date) as day,", "created_at, cast(created_at as date) as day,"),
            ("min(user_id) as user_id,", "min(user_id) as user_id, min(created_at) as first_event_at,"),
            ("        page_views,\n", "        first_event_at, page_views,\n"),
        ],
    ),
    "int_user_product_sessions": (
        "ended_at",
        "timestamp",
        [("sessions.started_at,", "sessions.started_at, sessions.ended_at,")],
    ),
    "int_first_purchases": (
        "orders",
        "bigint",
        [
            (
                "        min(cast(ordered_at as date)) as day\n",
                "        count(distinct order_id) as orders,\n        min(cast(ordered_at as date)) as day\n",
            ),
        ],
    ),
    "int_product_days": (
        "buyers",
        "bigint",
        [
            (
                "        sum(quantity) as units,\n",
                "        count(distinct user_id) as buyers,\n        sum(quantity) as units,\n",
            ),
            (
                "        coalesce(daily_sales.units, 0) as units,\n",
                "        daily_sales.buyers,\n        coalesce(daily_sales.units, 0) as units,\n",
            ),
        ],
    ),
    "product_funnel_daily": (
        "revenue",
        "numeric(16,2)",
        [
            (
                "        sum(checkouts) as sessions_bought,\n",
                "        sum(amount) as revenue,\n        sum(checkouts) as sessions_bought,\n",
            ),
            (
                "        sessions_shipped,\n        cast(",
                "        sessions_shipped,\n        cast(revenue as numeric(16, 2)) as revenue,\n        cast(",
            ),
        ],
    ),
    "int_user_first_orders": (
        "status",
        "text",
        [
            ("row_number() over (partition by user_id", "status, row_number() over (partition by user_id"),
            ("first_orders.promo_id,", "first_orders.promo_id, first_orders.status,"),
        ],
    ),
    "order_status_changes": (
        "from_tracking_id",
        "text",
        [("became.tracking_id,", "became.tracking_id, was.tracking_id as from_tracking_id,")],
    ),
}


def edit(file: Path, this: str, that: str) -> None:
    assert this in file.read_text(), f"{file.name} no longer says {this!r}"
    file.write_text(file.read_text().replace(this, that))


@pytest.fixture
def change(days: Days, tmp_path: Path) -> Callable[..., None]:
    """Changes a copy of the project, which the days go on with: `change({"file.sql": ("this", "that")})`."""
    shutil.copytree(days.project.project, tmp_path / "dbt")
    (tmp_path / "work" / "target").mkdir(parents=True)
    shutil.copy(days.project.work / "target" / "partial_parse.msgpack", tmp_path / "work" / "target")

    def change(changes: dict[str, tuple[str, str]]) -> None:
        for name, (this, that) in changes.items():
            [file] = (tmp_path / "dbt").rglob(name)
            edit(file, this, that)
        release.write_macros_hash(tmp_path / "dbt")
        days.project = Project(tmp_path / "dbt", tmp_path / "work")
        days.project.parse()

    return change


def test_what_a_change_of_code_concerns_is_built_in_full_in_both_buffers(days: Days, change: Callable[..., None]):
    days.two_full_runs()

    change(
        {
            "fact_orders.sql": (
                "orders.order_total,",
                "cast(orders.order_total + 1 as numeric(16, 2)) as order_total,",
            ),
            "_marketing__models.yml": (
                "- columns: [session_id]\n        - columns: [user_id]\n",
                "- columns: [session_id]\n",
            ),
        }
    )
    concerned = {
        *("fact_orders", "int_user_product_sessions", "int_user_sessions", "int_user_first_orders"),
        "product_funnel_daily",
    }
    for rebuilt in (concerned, concerned, set()):
        days.edit()
        assert days.run() == rebuilt

    change({"int_user_first_orders.sql": (" as minutes_browsed,\n", " + 0 as minutes_browsed,\n")})
    days.edit()
    assert days.run() == {"int_user_first_orders"}

    change({"int_events.sql": ("    created_at\n", "    created_at + interval '1 hour' as created_at\n")})
    days.edit()
    assert days.run() == days.project.incremental - {
        *("int_order_items", "int_orders", "fact_order_items", "dim_users", "order_status_changes"),
        "int_first_purchases",
    }

    change({"count_if.sql": ("then 1 end", "then 2 end")})
    days.edit()
    assert days.run() == days.project.incremental


def test_a_column_that_is_added_from_a_table_that_a_mart_reads_is_right_from_the_first_run_on(
    days: Days, change: Callable[..., None], tmp_path: Path
):
    """On days on which anything may change that it is made of."""
    assert ADDED.keys() == days.project.incremental
    days.two_full_runs()
    for mart, (column, data_type, places) in ADDED.items():
        [file] = (tmp_path / "dbt").rglob(f"{mart}.sql")
        for this, that in places:
            edit(file, this, that)
        [described] = [
            one for one in (tmp_path / "dbt").rglob("*__models.yml") if f"- name: {mart}\n" in one.read_text()
        ]
        before, name, after = described.read_text().partition(f"  - name: {mart}\n")
        after = after.replace(
            "    columns:\n", f"    columns:\n      - name: {column}\n        data_type: {data_type}\n", 1
        )
        described.write_text(before + name + after)
    change({})
    # Both buffers are rebuilt for it; from the third run on they take changes.
    for rebuilt in (days.project.incremental, days.project.incremental, set(), set(), set()):
        assert days.run() == rebuilt
        if days.random.random() < 0.6:
            days.load_a_day()
        days.edit()
