"""What an ordinary day costs a changed model: what it reads as a whole, and whether it ends as a full build does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.local.postgres import LocalPostgres
from include.local.progress import silent
from include.preview import slow, version
from include.preview.build import Built, build
from include.preview.report import Kind, ModelChange, Plan, SlowModel
from include.preview.version import Version
from include.warehouse import connect, open_connection, roles, sandbox
from include.warehouse.relation import Relation
from include.warehouse.sandbox import Sandbox
from tests.forks import Forks
from tests.include.preview import shop
from tests.include.preview.shop import Home

pytestmark = pytest.mark.db

VISITS = 12_000  # more than `FEW_ROWS`
FILES = {
    "dbt_project.yml": shop.PROJECT,
    "models/staging/_sources.yml": """
sources: [{name: shop, schema: raw, tables: [{name: orders}, {name: events}]}]
models:
  - {name: stg_orders, columns: [{name: order_id, data_tests: [unique]}]}
  - {name: stg_events, columns: [{name: event_id, data_tests: [unique]}]}
""",
    "models/staging/stg_orders.sql": "select order_id, _loaded_at from {{ source('shop', 'orders') }}",
    "models/staging/stg_events.sql": """
select event_id, order_id, session_id, _loaded_at from {{ source('shop', 'events') }}
""",
    "models/marts/visits.sql": """
{{ config(
    materialized='incremental',
    indexes=[{'columns': ['event_id']}, {'columns': ['order_id']}],
    meta={'key': 'event_id', 'follows': [{'of': 'stg_events'}]}
) }}
select event_id, order_id, session_id from {{ ref('stg_events') }} {{ only_changed() }}
""",
    "models/marts/checkouts.sql": """
{{ config(
    materialized='incremental',
    indexes=[{'columns': ['order_id']}],
    meta={'key': 'order_id', 'follows': [{'of': 'stg_orders'}, {'of': 'visits'}]}
) }}
with orders as (select order_id from {{ ref('stg_orders') }} {{ only_changed() }}),
visits as (select order_id, session_id from {{ ref('visits') }} {{ only_changed() }}),
first as (
    select order_id, session_id, row_number() over (partition by order_id order by session_id) as number from visits
)
select orders.order_id, first.session_id
from orders
left join first on orders.order_id = first.order_id and first.number = 1
""",
    "models/marts/counted.sql": "select count(*) as orders from {{ ref('checkouts') }}",
}
CHECKOUTS, COUNTED = "models/marts/checkouts.sql", "models/marts/counted.sql"
# A shop of many visits and an order; the next day another order and, late, the visit of the first one.
SHOP = f"""
insert into raw.events (event_id, session_id, event_type, _loaded_at)
select 'e' || n, 's' || n, 'page_view', '2021-02-10 06:00:00+00' from generate_series(1, {VISITS}) as n;
insert into raw.orders (order_id, _loaded_at)
values ('one', '2021-02-10 06:00:00+00'), ('two', '2021-02-12 06:00:00+00');
insert into raw.events (event_id, session_id, event_type, order_id, _loaded_at)
values ('late', 'late', 'checkout', 'one', '2021-02-12 06:00:00+00');
analyze raw.events
"""


@dataclass
class Looked:
    """A project's folder, its state before a change, a sandbox, and who develops."""

    folder: Path
    old: Version
    here: Sandbox
    connection: Connection
    elsewhere: dict[str, Relation] = field(default_factory=dict)

    def built(self, model: str) -> tuple[Version, Plan, Built]:
        """The folder as it is now, of which one model is built."""
        new = version.of_folder(self.here)
        config = new.facts.nodes[f"model.small.{model}"]["config"]
        change = ModelChange(f"model.small.{model}", model, Kind.CHANGED, materialized=config["materialized"])
        return new, Plan((change,)), build(new, self.here, [change.unique_id], self.elsewhere, silent())

    def look(self, model: str) -> tuple[SlowModel, ...]:
        """What is found where one model is changed as the folder says now."""
        new, plan, built = self.built(model)
        return slow.look(self.connection, new, self.here, plan, built, self.old, silent())

    def write(self, file: str, this: str, instead: str) -> None:
        text = (self.folder / file).read_text()
        assert this in text
        (self.folder / file).write_text(text.replace(this, instead, 1))

    def tables(self) -> list[tuple]:
        """All that is in the sandbox: what each relation is, and what a view shows."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "select nspname, relname, pg_class.oid, case relkind when 'v' then pg_get_viewdef(pg_class.oid) end"
                " from pg_class join pg_namespace as spaces on spaces.oid = relnamespace where nspname = any(%s)"
                " order by 1, 2",
                (list(self.here.schemas),),
            )
            return cursor.fetchall()


@pytest.fixture(scope="module")
def begun(
    server: LocalPostgres,
    migrated: str,
    dbts: Forks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Home:
    """The shop and the project as every test begins with them."""
    home = Home(tmp_path_factory.mktemp("begun"), FILES, server, dbts)
    home.begin(migrated)
    with connect(where=home.warehouse) as connection, connection.cursor() as cursor:
        cursor.execute(SHOP)
    home.keep()
    return home


@pytest.fixture
def looked(begun: Home) -> Iterator[Looked]:
    begun.go_back()
    with begun.entered(), closing(open_connection("a test", settings.warehouse_developer())) as connection:
        here = sandbox.create(connection, "preview_ana", "a test")
        yield Looked(begun.folder, version.of_folder(here), here, connection)


@pytest.fixture
def admin(begun: Home) -> Iterator[Connection]:
    """Who may do anything in the shop's database."""
    with closing(psycopg2.connect(**begun.warehouse.libpq())) as connection:
        connection.autocommit = True
        yield connection


def test_a_day_that_looks_its_keys_up_is_no_reason_to_warn(looked: Looked) -> None:
    [told] = looked.look("checkouts")
    assert (told.name, told.whole, told.differs, told.is_warned_of) == ("checkouts", (), 0, False)
    assert told.seconds_at_ten == told.seconds


def test_an_import_without_its_filter_reads_history_each_day(looked: Looked) -> None:
    looked.write(CHECKOUTS, "{{ ref('visits') }} {{ only_changed() }}", "{{ ref('visits') }}")
    [told] = looked.look("checkouts")
    assert (told.whole, told.differs) == ((("visits", VISITS + 1),), 0)
    assert told.seconds_at_ten > told.seconds
    assert "on visits: 12,001 rows" in told.plan


def test_a_model_without_an_index_by_its_key_reads_itself_each_day(looked: Looked) -> None:
    looked.write("models/marts/visits.sql", "{'columns': ['event_id']}, ", "")
    [told] = looked.look("visits")
    assert told.whole == (("visits", VISITS),)


def test_changes_that_a_model_does_not_follow_leave_other_rows_than_a_full_build(looked: Looked) -> None:
    # The rows of the session of a new visit, which the model knows only once it has taken that visit.
    looked.write(CHECKOUTS, "{'of': 'visits'}", "{'of': 'visits', 'on': 'session_id'}")
    [told] = looked.look("checkouts")
    assert (told.differs, told.is_warned_of) == (1, True)


def test_what_a_model_reads_and_is_published_lives_through_the_day_as_well(looked: Looked, admin: Connection) -> None:
    looked.elsewhere = {"model.small.visits": Relation("analytics", "visits")}
    with admin.cursor() as cursor:
        cursor.execute("create table analytics.visits as select event_id, order_id, session_id from raw.events")
        cursor.execute(f"grant select on analytics.visits to {roles.DEVELOPER}")
    looked.write(CHECKOUTS, "{'of': 'visits'}", "{'of': 'visits', 'on': 'session_id'}")
    [told] = looked.look("checkouts")
    assert told.differs == 1


def test_the_sandbox_is_left_as_the_preview_built_it(looked: Looked) -> None:
    new, plan, built = looked.built("checkouts")
    before = looked.tables()
    assert slow.look(looked.connection, new, looked.here, plan, built, looked.old, silent())
    assert looked.tables() == before


def test_where_a_day_can_not_be_built_nothing_is_told_and_the_sandbox_left_as_it_was(looked: Looked) -> None:
    looked.write(CHECKOUTS, "{{ only_changed() }}", "{{ only_changed() }} {{ 'nowhere' if is_incremental() }}")
    new, plan, built = looked.built("checkouts")
    before = looked.tables()
    assert slow.look(looked.connection, new, looked.here, plan, built, looked.old, silent()) == ()
    assert looked.tables() == before


def test_a_shop_that_came_at_once_has_no_ordinary_day(looked: Looked, admin: Connection) -> None:
    with admin.cursor() as cursor:
        cursor.execute("update raw.orders set _loaded_at = '2021-02-10 06:00:00+00'")
        cursor.execute("update raw.events set _loaded_at = '2021-02-10 06:00:00+00'")
    assert looked.look("checkouts") == ()


def test_a_table_that_newly_reads_a_long_one_does_so_each_day(looked: Looked) -> None:
    looked.write(COUNTED, "{{ ref('checkouts') }}", "{{ ref('stg_events') }}")
    [told] = looked.look("counted")
    assert told.whole == (("events", VISITS + 1),)


def test_a_table_that_read_it_before_is_not_told_of(looked: Looked) -> None:
    looked.write(COUNTED, "{{ ref('checkouts') }}", "{{ ref('stg_events') }}")
    looked.old = version.of_folder(looked.here)
    looked.write(COUNTED, "count(*)", "count(order_id)")
    assert looked.look("counted") == ()
