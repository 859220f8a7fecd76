"""What else changes with the schemas: tables that nobody makes any more, people's own views, statistics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Thread

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.dbt_project.manifest import Manifest
from include.publish import exchange as exchanges
from include.publish import locks
from include.publish.exchange import exchange
from include.publish.gate import NotPublishedError
from include.results import publications, runs
from include.settings import Warehouse
from include.warehouse import connect
from tests.faulty import half_way
from tests.waiting import wait_for

pytestmark = pytest.mark.db

# Whether a session of an application waits for a lock.
WAITS = "select 1 from pg_stat_activity where application_name = '{}' and wait_event_type = 'Lock'"


@pytest.fixture
def live(db: Connection) -> Connection:
    """A warehouse in which run 1 is published, and run 2 has built."""
    build(db, "run 1", "m", "old")
    publish(db, "run 1", "m", "old")
    build(db, "run 2", "m", "old")
    return db


def publish(db: Connection, run_id: str, *models: str, views: tuple[str, ...] = ()) -> None:
    """Exchange the schemas for a run of a project that has these models; `views` are the relations of those which are.

    A view's model is called otherwise than the view, as with an `alias`.
    """
    nodes = {
        f"model.greenery.{name}": {
            "resource_type": "model",
            "name": name,
            "schema": "analytics_next",
            "config": {"materialized": "table"},
        }
        for name in models
    }
    for schema, name in (view.split(".") for view in views):
        nodes[f"model.greenery.{name}_of_a_file"] = {
            "resource_type": "model",
            "name": f"{name}_of_a_file",
            "alias": name,
            "schema": schema,
            "config": {"materialized": "view"},
        }
    exchange(run_id, buffers.current(db), manifest=Manifest(nodes, {}))


def build(db: Connection, run_id: str, *tables: str) -> None:
    """Build models, each of which leaves word of itself as dbt does."""
    runs.begin(db, run_id, "release")
    buffers.begin(db, run_id)
    for table in tables:
        do(db, f"drop table if exists analytics_next.{table}")
        do(db, f"create table analytics_next.{table} as select '{run_id}'::text as built_by")
        do(
            db,
            "insert into ops.buffer_models (schema_oid, unique_id, identifier, rebuilt)"
            f" values ('analytics_next'::regnamespace, 'model.greenery.{table}', '{table}', true)"
            " on conflict (schema_oid, unique_id) do update set built_at = clock_timestamp()",
        )


def do(db: Connection, statement: str) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def notes(db: Connection) -> str:
    return "\n".join(publications.live(db).notes)


def test_which_columns_are_personal_is_noted_with_the_publish(live: Connection) -> None:
    def publish_marked(marks: dict[str, object]) -> list[tuple]:
        columns = {name: {"config": {"meta": {"personal": mark}}} for name, mark in marks.items()}
        model = {"resource_type": "model", "name": "m", "schema": "analytics_next", "columns": columns}
        nodes = {"model.greenery.m": model | {"config": {"materialized": "table"}}}
        exchange("run 2", buffers.current(live), manifest=Manifest(nodes, {}))
        return do(live, "select column_name, key_of from ops.personal_columns order by 1")

    assert publish_marked({"email": True, "user_id": "user_id", "state": False}) == [
        ("address_id", "address_id"),  # a key of people, whatever is marked
        ("email", None),
        ("user_id", "user_id"),
    ]
    build(live, "run 2", "m")
    assert publish_marked({"phone": True})[1:] == [("phone", None), ("user_id", "user_id")]


def test_what_no_model_makes_any_more_is_dropped_from_both_buffers_and_said(live: Connection) -> None:
    publish(live, "run 2", "m")
    assert notes(live) == "table old is gone: no model makes it any more"
    assert do(live, "select to_regclass('analytics.old')") == [(None,)]
    build(live, "run 3", "m")
    publish(live, "run 3", "m")
    assert do(live, "select count(*) from pg_class where relname = 'old'") == [(0,)]


def test_where_ops_has_forgotten_the_buffers_marts_are_known_by_the_project(live: Connection) -> None:
    """As where a backup was restored: it holds nothing of them."""
    do(live, "delete from ops.buffer_models; delete from ops.watermarks; delete from ops.buffers")
    build(live, "run 2", "m", "old")
    publish(live, "run 2", "m", "old")
    assert notes(live) == ""
    assert do(live, "select built_by from analytics.m union all select built_by from analytics_next.m") == [
        ("run 2",),
        ("run 1",),
    ]


def test_a_table_that_somebody_reads_is_not_dropped_under_them(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select * from analytics_next.old")
    do(live, "update ops.buffer_models set checksum = 'c' where unique_id = 'model.greenery.old'")
    publish(live, "run 2", "m")
    assert "table old stays" in notes(live)
    assert do(live, "select checksum from ops.buffer_models where unique_id like '%old' and checksum is null") == [
        (None,)
    ], "once there is such a model again, it would be continued from then"
    assert do(live, "select * from reporting.mine") == [("run 2",)]
    for number in (3, 4):
        build(live, f"run {number}", "m")
        publish(live, f"run {number}", "m")
    assert "table old stays" in notes(live), "not said again where its turn has come again"
    do(live, "drop view reporting.mine")
    for number in (5, 6):
        build(live, f"run {number}", "m")
        publish(live, f"run {number}", "m")
    assert do(live, "select count(*) from pg_class where relname = 'old'") == [(0,)]


def test_peoples_own_views_read_the_new_marts(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select built_by from analytics.m")
    do(live, "create view reporting.on_top as select * from reporting.mine")
    for number in (2, 3, 4):
        publish(live, f"run {number}", "m", "old")
        assert do(live, "select * from reporting.on_top") == [(f"run {number}",)]
        assert "view" not in notes(live)
        build(live, f"run {number + 1}", "m", "old")


def test_a_view_that_does_not_fit_the_new_mart_is_named_with_its_owner(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select built_by from analytics.m")
    do(live, "alter table analytics_next.m rename column built_by to builder")
    publish(live, "run 2", "m", "old")
    assert "view reporting.mine of postgres does not read what is published now" in notes(live)
    assert do(live, "select builder from analytics.m") == [("run 2",)]


def test_a_materialized_view_is_named(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create materialized view reporting.copy as select built_by from analytics.m")
    publish(live, "run 2", "m", "old")
    assert "view reporting.copy of postgres does not read what is published now" in notes(live)


def test_what_is_published_has_statistics(live: Connection) -> None:
    do(live, "insert into analytics_next.m select 'more' from generate_series(1, 5000)")
    publish(live, "run 2", "m", "old")
    assert do(live, "select reltuples from pg_class where oid = 'analytics.m'::regclass") == [(5001,)]


def test_who_holds_a_table_that_has_no_statistics_yet_is_named_and_publish_gives_up(
    live: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "LONGEST_WAIT_FOR_STATISTICS", "100ms")
    monkeypatch.setattr(locks, "_of_maintenance", lambda _: 500)
    with connect("a shell") as shell, ThreadPoolExecutor(1) as pool:
        do(shell, "lock table analytics_next.m")
        publishing = pool.submit(exchange, "run 2", buffers.current(live), attempts=1)
        try:
            wait_for(publishing.done, "the publish has given up", 20)
        finally:
            shell.rollback()
        with pytest.raises(NotPublishedError, match=r"table analytics_next\.m was held by postgres \(a shell, pid"):
            publishing.result()
    assert do(live, "select * from analytics.m") == [("run 1",)]


@pytest.mark.parametrize(
    "meanwhile",
    [
        "lock table analytics_next.m",  # the one before, of which it has taken them
        "select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'greenery publish'",
    ],
)
def test_nothing_that_is_done_while_publish_waits_to_take_statistics_ends_it_or_takes_those_of_others_back(
    live: Connection, meanwhile: str
) -> None:
    with connect("a shell") as shell, ThreadPoolExecutor(1) as pool:
        do(shell, "lock table analytics_next.old")
        publishing = pool.submit(exchange, "run 2", buffers.current(live))
        waits = f"{WAITS.format('greenery publish')} and query like 'analyze%'"
        wait_for(lambda: publishing.done() or do(live, waits), "the publish waits")
        do(shell, meanwhile)
        shell.rollback()
        publishing.result()
    assert do(live, "select * from analytics.m") == [("run 2",)]
    taken = "select attname from pg_stats where schemaname = 'analytics' and tablename = 'm'"
    assert do(live, taken) == [("built_by",)]


def test_a_model_that_is_gone_is_forgotten_so_that_its_buffer_stays_sound(live: Connection) -> None:
    for number in (2, 3):
        build(live, f"run {number}", "m")
        do(
            live,
            "insert into ops.buffer_models (schema_oid, unique_id, checksum, rebuilt)"
            " values ('analytics_next'::regnamespace, 'model.greenery.old', 'x', true)"
            " on conflict (schema_oid, unique_id) do update set checksum = excluded.checksum",
        )
        publish(live, f"run {number}", "m")
    assert do(live, "select count(*) from ops.buffer_models where unique_id like '%old'") == [(0,)]
    assert buffers.begin(live, "run 4") is False


def test_of_two_that_were_found_fit_one_is_exchanged(live: Connection) -> None:
    buffer = buffers.current(live)
    exchange("run 2", buffer)
    with pytest.raises(NotPublishedError, match="Somebody else has built or published"):
        exchange("run 2", buffer)
    assert do(live, "select * from analytics.m") == [("run 2",)]


def test_what_is_built_while_publish_waits_for_readers_is_not_published_unseen(live: Connection) -> None:
    buffer = buffers.current(live)
    build(live, "run 3", "m", "old")
    with pytest.raises(NotPublishedError, match="Somebody else has built or published"):
        exchange("run 2", buffer)
    assert do(live, "select * from analytics.m") == [("run 1",)]


# What somebody's dbt does in a transaction that ends while a publish waits. It leaves word of rows alone here; where it
# makes a table or view anew, that is seen without.
BY_HAND = {
    "rows": "insert into analytics_next.m values ('by hand');"
    " update ops.buffer_models set built_at = clock_timestamp() where schema_oid = 'analytics_next'::regnamespace",
    "table": "create table analytics_next.m__dbt_tmp as select 'by hand' as built_by;"
    " alter table analytics_next.m rename to m__dbt_backup; alter table analytics_next.m__dbt_tmp rename to m",
    "truncated": "truncate analytics_next.m",
    "view": "create view analytics_next.v__dbt_tmp as select 'by hand' as told;"
    " alter view analytics_next.v rename to v__dbt_backup; alter view analytics_next.v__dbt_tmp rename to v",
    "replaced view": "create or replace view analytics_next.v as select 'by hand' as told",
    "materialized view": "refresh materialized view analytics_next.kept",
}


@pytest.fixture
def with_views(live: Connection) -> Connection:
    """The same, where run 2 has built a view and a materialized view beside the tables."""
    do(live, "create view analytics_next.v as select 'run 2' as told")
    do(live, "create materialized view analytics_next.kept as select 'run 2' as told")
    do(
        live,
        "insert into ops.buffer_models (schema_oid, unique_id, rebuilt)"
        " select 'analytics_next'::regnamespace, 'model.greenery.' || name, true"
        " from unnest('{v, kept}'::text[]) as name",
    )
    return live


def publish_while(db: Connection, statement: str) -> None:
    """Publish run 2, which waits for a transaction of a dbt at a shell; that one commits then."""
    buffer = buffers.current(db)
    with connect("dbt") as shell, ThreadPoolExecutor(1) as pool:
        do(shell, statement)
        publishing = pool.submit(exchange, "run 2", buffer)
        waits = WAITS.format("greenery publish")
        wait_for(lambda: publishing.done() or do(db, waits), "the publish waits for dbt")
        shell.commit()
        publishing.result()


@pytest.mark.parametrize("statement", BY_HAND.values(), ids=BY_HAND)
def test_what_a_dbt_at_a_shell_commits_while_publish_waits_for_it_is_not_published(
    with_views: Connection, statement: str
) -> None:
    with pytest.raises(NotPublishedError, match=r"built or published at this moment: \S*\b(m|v|kept)\b.* clear"):
        publish_while(with_views, statement)
    assert do(with_views, "select * from analytics.m") == [("run 1",)]


@pytest.mark.parametrize("analyzed", [True, False])  # where it is not, publish waits to do that
def test_a_table_that_is_dropped_while_publish_waits_for_it_stops_it(with_views: Connection, analyzed: bool) -> None:
    if analyzed:
        do(with_views, "analyze analytics_next.m")
    with pytest.raises(NotPublishedError, match=r"Somebody else has built or published at this moment: m\."):
        publish_while(with_views, "drop table analytics_next.m")
    assert do(with_views, "select * from analytics.m") == [("run 1",)]


@pytest.mark.parametrize("analyzed", [True, False])
def test_so_does_the_whole_schema(with_views: Connection, analyzed: bool) -> None:
    if analyzed:
        do(with_views, "analyze analytics_next.kept; analyze analytics_next.m; analyze analytics_next.old")
    with pytest.raises(NotPublishedError, match=r"Somebody else has built or published at this moment\. .* new run"):
        publish_while(with_views, "drop schema analytics_next cascade")
    assert do(with_views, "select * from analytics.m") == [("run 1",)]
    assert buffers.begin(with_views, "run 3") is True


@pytest.mark.parametrize("statement", BY_HAND.values(), ids=BY_HAND)
def test_what_a_dbt_at_a_shell_begins_while_publish_has_its_locks_is_not_published(
    with_views: Connection, statement: str
) -> None:
    """It waits, and goes on in the schema that is built in by then, if at all."""

    def build_by_hand() -> None:
        with connect("dbt") as shell:
            do(shell, statement)
            shell.commit()

    with half_way("run 2") as publish, ThreadPoolExecutor(1) as pool:
        building = pool.submit(build_by_hand)
        wait_for(lambda: building.done() or do(with_views, WAITS.format("dbt")), "dbt waits for the publish")
        publish.goes_on.set()
        wait_for(building.done, "dbt has ended")
    assert publish.ended_with is None
    published = [do(with_views, f"select * from analytics.{name}") for name in ("m", "v", "kept")]
    assert published == [[("run 2",)]] * 3


def test_who_reads_what_is_built_keeps_no_publish_out(with_views: Connection) -> None:
    """As a view of somebody's does that follows the former marts."""
    with connect("a dashboard") as reader:
        for name in ("m", "v", "kept"):
            do(reader, f"select * from analytics_next.{name}")
        exchange("run 2", buffers.current(with_views), attempts=1)
        assert do(reader, "select * from analytics.m") == [("run 2",)]


def test_what_was_held_back_at_the_last_moment_is_not_published(live: Connection) -> None:
    publications.decide(live, publications.HOLD, None, "ada", "the auditors are here")
    with pytest.raises(NotPublishedError, match="the auditors are here"):
        publish(live, "run 2", "m", "old")
    assert do(live, "select * from analytics.m") == [("run 1",)]


def test_a_view_keeps_its_options(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine with (security_barrier) as select built_by from analytics.m")
    publish(live, "run 2", "m", "old")
    assert do(live, "select reloptions from pg_class where relname = 'mine'") == [(["security_barrier=true"],)]


def build_view(db: Connection, content: str) -> None:
    """What dbt does with a model that is a view, in a folder that sets nothing."""
    do(db, "drop view if exists analytics_next.v")
    do(db, f"create view analytics_next.v as select '{content}'::text as told, built_by from analytics_next.m")


def test_a_mart_that_is_a_view_is_published_with_its_definition_of_now(live: Connection) -> None:
    for number in (2, 3, 4):
        build_view(live, f"run {number}")
        publish(live, f"run {number}", "m", views=("analytics_next.v",))
        assert do(live, "select told, built_by from analytics.v") == [(f"run {number}", f"run {number}")]
        assert "view" not in notes(live)
        build(live, f"run {number + 1}")
        do(live, "drop table analytics_next.m cascade")
        build(live, f"run {number + 1}", "m")


def test_a_mart_that_became_a_view_is_published_as_a_view(live: Connection) -> None:
    publish(live, "run 2", "m", "v")
    for number in (3, 4):
        build(live, f"run {number}", "m")
        build_view(live, f"run {number}")
        publish(live, f"run {number}", "m", views=("analytics_next.v",))
        assert do(live, "select told from analytics.v") == [(f"run {number}",)]
        do(live, "drop view if exists analytics_next.v")


def test_a_view_that_no_model_makes_any_more_is_gone_from_both_buffers(live: Connection) -> None:
    for number in (2, 3):
        build_view(live, f"run {number}")
        publish(live, f"run {number}", "m", views=("analytics_next.v",))
        do(live, "drop view if exists analytics_next.v")
        build(live, f"run {number + 1}", "m")
    for number in (4, 5):
        publish(live, f"run {number}", "m")
        assert do(live, "select to_regclass('analytics.v')") == [(None,)]
        do(live, "drop table analytics_next.m cascade")
        build(live, f"run {number + 1}", "m")


def test_a_way_back_leads_to_the_former_definition(live: Connection) -> None:
    for number in (2, 3):
        build_view(live, f"run {number}")
        publish(live, f"run {number}", "m", views=("analytics_next.v",))
        if number == 2:
            build(live, "run 3")
            do(live, "drop table analytics_next.m cascade")
            build(live, "run 3", "m")
    exchange("run 2", buffers.current(live), as_of=datetime.now(UTC))
    assert do(live, "select told, built_by from analytics.v") == [("run 2", "run 2")]


def test_a_view_that_a_model_makes_elsewhere_reads_what_is_published_and_is_no_news(live: Connection) -> None:
    do(live, "create schema finance")
    do(live, "create view finance.v as select built_by from analytics_next.m")
    publish(live, "run 2", "m", views=("finance.v",))
    assert do(live, "select built_by from finance.v") == [("run 2",)]
    assert "view" not in notes(live)


def test_an_exchange_waits_for_one_that_is_under_way(live: Connection, warehouse: Warehouse) -> None:
    other = psycopg2.connect(**warehouse.libpq())
    do(other, "select pg_advisory_xact_lock(hashtext('greenery exchange'))")
    publishing = Thread(target=publish, args=(live, "run 2", "m", "old"))
    publishing.start()
    try:
        waits = "select 1 from pg_locks where locktype = 'advisory' and not granted"
        wait_for(lambda: do(other, waits), "the second one waits")
    finally:
        other.close()
        publishing.join()
    assert do(live, "select built_by from analytics.m") == [("run 2",)]
