"""What else changes with the schemas: tables that nobody makes any more, people's own views, statistics."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include import buffers
from include.dbt_project.manifest import Manifest
from include.publish.exchange import exchange
from include.publish.gate import NotPublishedError
from include.results import publications, store
from include.warehouse import migrate

pytestmark = pytest.mark.db


@pytest.fixture
def live(db: Connection) -> Connection:
    """A warehouse in which run 1 is published, and run 2 has built."""
    migrate.upgrade()
    build(db, "run 1", "m", "old")
    publish(db, "run 1", "m", "old")
    build(db, "run 2", "m", "old")
    return db


def publish(db: Connection, run_id: str, *models: str) -> None:
    """Exchange the schemas for a run of a project that has these models."""
    nodes = {
        f"model.greenery.{name}": {
            "resource_type": "model",
            "name": name,
            "schema": "analytics_next",
            "config": {"materialized": "table"},
        }
        for name in models
    }
    exchange(run_id, buffers.current(db), manifest=Manifest(nodes, {}))


def build(db: Connection, run_id: str, *tables: str) -> None:
    store.begin(db, run_id, "release")
    buffers.begin(db, run_id)
    for table in tables:
        do(db, f"drop table if exists analytics_next.{table}")
        do(db, f"create table analytics_next.{table} as select '{run_id}'::text as built_by")


def do(db: Connection, statement: str) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def notes(db: Connection) -> str:
    return "\n".join(publications.live(db).notes)


def test_what_no_model_makes_any_more_is_dropped_from_both_buffers_and_said(live: Connection) -> None:
    publish(live, "run 2", "m")
    assert notes(live) == "table old is gone: no model makes it any more"
    assert do(live, "select to_regclass('analytics.old')") == [(None,)]
    build(live, "run 3", "m")
    publish(live, "run 3", "m")
    assert do(live, "select count(*) from pg_class where relname = 'old'") == [(0,)]


def test_a_table_that_somebody_reads_is_not_dropped_under_them(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select * from analytics_next.old")
    publish(live, "run 2", "m")
    assert "table old stays" in notes(live)
    assert do(live, "select * from reporting.mine") == [("run 2",)]


def test_peoples_own_views_read_the_new_marts(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select built_by from analytics.m")
    do(live, "create view reporting.on_top as select * from reporting.mine")
    for number in (2, 3, 4):
        publish(live, f"run {number}", "m", "old")
        assert do(live, "select * from reporting.on_top") == [(f"run {number}",)]
        assert notes(live) == ""
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


def test_a_model_that_is_gone_is_forgotten_so_that_its_buffer_stays_sound(live: Connection) -> None:
    for number in (2, 3):
        do(
            live,
            "insert into ops.buffer_models (schema_oid, unique_id, checksum, rebuilt)"
            " values ('analytics_next'::regnamespace, 'model.greenery.old', 'x', true)",
        )
        publish(live, f"run {number}", "m")
        build(live, f"run {number + 1}", "m")
    assert do(live, "select count(*) from ops.buffer_models") == [(0,)]
    assert buffers.begin(live, "run 5") is False


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
