"""What else changes with the schemas: tables that nobody makes any more, people's own views, statistics."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include import buffers
from include.publish.exchange import exchange
from include.results import publications, store
from include.warehouse import migrate

pytestmark = pytest.mark.db


@pytest.fixture
def live(db: Connection) -> Connection:
    """A warehouse in which run 1 is published, and run 2 has built."""
    migrate.upgrade()
    build(db, "run 1", "m", "old")
    exchange("run 1", owned={"m", "old"})
    build(db, "run 2", "m", "old")
    return db


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
    exchange("run 2", owned={"m"})
    assert notes(live) == "table old is gone: no model makes it any more"
    assert do(live, "select to_regclass('analytics.old')") == [(None,)]
    build(live, "run 3", "m")
    exchange("run 3", owned={"m"})
    assert do(live, "select count(*) from pg_class where relname = 'old'") == [(0,)]


def test_a_table_that_somebody_reads_is_not_dropped_under_them(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select * from analytics_next.old")
    exchange("run 2", owned={"m"})
    assert "table old stays" in notes(live)
    assert do(live, "select * from reporting.mine") == [("run 2",)]


def test_peoples_own_views_read_the_new_marts(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select built_by from analytics.m")
    do(live, "create view reporting.on_top as select * from reporting.mine")
    for number in (2, 3, 4):
        exchange(f"run {number}", owned={"m", "old"})
        assert do(live, "select * from reporting.on_top") == [(f"run {number}",)]
        assert notes(live) == ""
        build(live, f"run {number + 1}", "m", "old")


def test_a_view_that_does_not_fit_the_new_mart_is_named_with_its_owner(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create view reporting.mine as select built_by from analytics.m")
    do(live, "alter table analytics_next.m rename column built_by to builder")
    exchange("run 2", owned={"m", "old"})
    assert "view reporting.mine of postgres still reads former marts" in notes(live)
    assert do(live, "select builder from analytics.m") == [("run 2",)]


def test_a_materialized_view_is_named(live: Connection) -> None:
    do(live, "create schema reporting")
    do(live, "create materialized view reporting.copy as select built_by from analytics.m")
    exchange("run 2", owned={"m", "old"})
    assert "view reporting.copy of postgres still reads former marts" in notes(live)


def test_what_is_published_has_statistics(live: Connection) -> None:
    do(live, "insert into analytics_next.m select 'more' from generate_series(1, 5000)")
    exchange("run 2", owned={"m", "old"})
    assert do(live, "select reltuples from pg_class where oid = 'analytics.m'::regclass") == [(5001,)]
