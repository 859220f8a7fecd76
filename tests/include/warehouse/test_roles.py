"""Least privilege: each role may do its own work, through every publish, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.demo_shop import demo
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.publish.exchange import exchange
from include.results import runs
from include.settings import Warehouse
from include.warehouse import connect, migrate, roles
from include.warehouse.roles import HEALTH, LOADER, READER, TRANSFORMER

pytestmark = pytest.mark.db

May = Callable[[str, str], bool]


@pytest.fixture
def may(db: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> May:
    """Whether a role may execute a statement, in a warehouse with one published mart."""
    roles.ensure(db, login=True)
    monkeypatch.setenv("WAREHOUSE_USER", TRANSFORMER)

    def may(role: str, statement: str) -> bool:
        connection = psycopg2.connect(host=warehouse.host, port=warehouse.port, dbname=warehouse.database, user=role)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
            return True
        except psycopg2.errors.InsufficientPrivilege:
            return False
        finally:
            connection.close()

    assert may(TRANSFORMER, "create table analytics_next.fact_orders as select 1 as order_id")
    publish("run 1")
    return may


def publish(run_id: str) -> None:
    """What the daily run does last, as whom it does it."""
    with connect() as connection:
        runs.begin(connection, run_id, "release")
        buffers.begin(connection, run_id)
        buffer = buffers.current(connection)
    exchange(run_id, buffer)


def test_a_reader_sees_what_is_published_and_nothing_else(may: May) -> None:
    assert may(TRANSFORMER, "create table analytics_next.fact_orders as select 2 as order_id")
    for schema in ("raw", "staging", "snapshots", "ops", "analytics_next"):
        may(TRANSFORMER, f"create table {schema}.secret as select 1 as one")
        assert not may(READER, f"select * from {schema}.secret"), schema
    assert may(READER, "select * from analytics.fact_orders")
    assert not may(READER, "select * from analytics_next.fact_orders")
    assert not may(READER, "delete from analytics.fact_orders")
    assert not may(READER, "create table analytics.mine as select 1 as one")


def test_grants_follow_each_publish(may: May) -> None:
    for number in range(2, 5):
        may(TRANSFORMER, "drop table if exists analytics_next.fact_orders")
        assert may(TRANSFORMER, f"create table analytics_next.fact_orders as select {number} as order_id")
        publish(f"run {number}")
        assert may(READER, "select * from analytics.fact_orders")
        assert may(HEALTH, "select * from analytics.fact_orders")
        assert not may(READER, "select * from analytics_next.fact_orders")


def test_a_loader_writes_raw_and_sees_nothing_of_what_becomes_of_it(may: May, warehouse: Warehouse) -> None:
    loader = psycopg2.connect(host=warehouse.host, port=warehouse.port, dbname=warehouse.database, user=LOADER)
    demo.play_day(loader, 1, orders_per_day=3)
    loader.commit()
    loader.close()
    assert may(TRANSFORMER, "select * from raw.orders")
    assert not may(LOADER, "select * from analytics.fact_orders")
    assert not may(LOADER, "select * from ops.runs")
    assert not may(LOADER, "create table analytics_next.mine as select 1 as one")


def test_the_builder_can_not_touch_raw(may: May) -> None:
    may(LOADER, "create table raw.orders as select 1 as order_id")
    assert may(TRANSFORMER, "select * from raw.orders")
    assert not may(TRANSFORMER, "update raw.orders set order_id = 2")
    assert not may(TRANSFORMER, "drop table raw.orders")


def test_the_health_page_reads_what_was_recorded_and_writes_nothing(may: May) -> None:
    assert may(HEALTH, "select * from ops.runs")
    assert may(HEALTH, "select * from ops.last_words")
    assert may(HEALTH, "select * from analytics.fact_orders")
    assert not may(HEALTH, "update ops.runs set release = 'x'")
    assert not may(HEALTH, "create table ops.mine as select 1 as one")


def test_running_it_again_changes_nothing(may: May, db: Connection) -> None:
    def privileges() -> list[tuple]:
        with db.cursor() as cursor:
            cursor.execute("select nspname, nspowner, nspacl::text from pg_namespace order by nspname")
            schemas = cursor.fetchall()
            cursor.execute("select defaclnamespace, defaclrole, defaclacl::text from pg_default_acl order by 1, 2")
            return schemas + cursor.fetchall()

    before = privileges()
    roles.ensure(db, login=True)
    assert privileges() == before


def test_tables_that_were_there_before_the_roles_are_handed_over(db: Connection) -> None:
    with db.cursor() as cursor:
        cursor.execute("create table analytics.fact_orders (order_id text, number int generated always as identity)")
        cursor.execute("create view staging.stg as select 1 as one")
        roles.ensure(db)
        cursor.execute("select tableowner from pg_tables where tablename = 'fact_orders'")
        assert cursor.fetchall() == [(TRANSFORMER,)]
        cursor.execute("select viewowner from pg_views where viewname = 'stg'")
        assert cursor.fetchall() == [(TRANSFORMER,)]


def test_what_people_made_in_analytics_stays_theirs(may: May, db: Connection) -> None:
    with db.cursor() as cursor:
        cursor.execute("create role ann")
        cursor.execute("create table analytics.mine as select 1 as one; alter table analytics.mine owner to ann")
        # A mart, by whomever dbt was run then.
        cursor.execute("create table analytics_next.dim_users as select 1 as one")
        cursor.execute("alter table analytics_next.dim_users owner to ann")
        buffers.begin(db, "run 2")
        cursor.execute(
            "insert into ops.buffer_models (schema_oid, unique_id, identifier, rebuilt)"
            " values ('analytics_next'::regnamespace, 'model.greenery.dim_users', 'dim_users', true)"
        )
        roles.ensure(db, login=True)
        cursor.execute(
            "select tablename, tableowner from pg_tables where tablename in ('dim_users', 'mine') order by 1"
        )
        assert cursor.fetchall() == [("dim_users", TRANSFORMER), ("mine", "ann")]
        cursor.execute("drop owned by ann; drop role ann")


def test_people_see_nothing_of_what_is_built_through_a_view_of_theirs(may: May, db: Connection) -> None:
    with db.cursor() as cursor:
        cursor.execute("create role analyst login in role greenery_reader")
        cursor.execute("create schema reporting authorization analyst")
    assert may("analyst", "create view reporting.mine as select * from analytics.fact_orders")
    assert may("analyst", "select * from reporting.mine")
    assert may(TRANSFORMER, "create table analytics_next.fact_orders as select 2 as order_id")
    publish("run 2")  # and may not point the view to the new mart
    assert not may("analyst", "select * from reporting.mine")
    with db.cursor() as cursor:
        cursor.execute("grant analyst to greenery_transformer")
        cursor.execute("drop view reporting.mine")
    assert may("analyst", "create view reporting.mine as select * from analytics.fact_orders")
    publish("run 3")
    assert may("analyst", "select * from reporting.mine")
    with db.cursor() as cursor:
        cursor.execute("drop owned by analyst cascade")
        cursor.execute("drop role analyst")


def test_whoever_may_create_roles_and_owns_the_database_can_make_them(server: LocalPostgres) -> None:
    with postgres.admin(server) as cursor:
        cursor.execute("create role owner_of_it login createrole")
        cursor.execute("create database managed owner owner_of_it")
    where = server.database("managed", "owner_of_it")
    try:
        migrate.upgrade(where)
        with postgres.admin(server) as cursor:  # as if no superuser had ever made them
            for role in roles.ROLES:
                cursor.execute(f"grant {role} to owner_of_it with admin option")
        for _ in range(2):
            with connect("test", where) as connection:
                roles.ensure(connection)
        with connect("test", server.database("managed")) as connection, connection.cursor() as cursor:
            cursor.execute(
                "select nspname, pg_get_userbyid(nspowner) from pg_namespace where nspname in ('raw', 'ops')"
            )
            assert sorted(cursor.fetchall()) == [("ops", TRANSFORMER), ("raw", LOADER)]
    finally:
        with postgres.admin(server) as cursor:
            cursor.execute("drop database managed with (force)")
            cursor.execute("drop owned by owner_of_it")
            cursor.execute("drop role owner_of_it")
