"""Least privilege: each role may do its own work, through every publish, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import psycopg2
import pytest

from include.answers import answers
from include.answers.answer import About, Kind
from include.demo_shop import demo
from include.settings import Warehouse
from include.warehouse import connect
from include.warehouse.roles import DEVELOPER, HEALTH, LOADER, RAW, READER, TRANSFORMER
from tests.include.warehouse.conftest import May, possible, publish

pytestmark = pytest.mark.db


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
    assert may(LOADER, "analyze raw.orders")
    assert may(LOADER, "truncate raw.orders")
    assert may(TRANSFORMER, "select * from raw.orders")
    assert not may(LOADER, "select * from analytics.fact_orders")
    assert not may(LOADER, "select * from ops.runs")
    assert not may(LOADER, "create table analytics_next.mine as select 1 as one")


def test_the_builder_can_not_touch_raw(may: May) -> None:
    assert may(TRANSFORMER, "select * from raw.orders")
    assert not may(TRANSFORMER, "update raw.orders set order_id = '2'")
    assert not may(TRANSFORMER, "drop table raw.orders")


def test_a_loader_can_not_put_anything_where_others_would_run_it(may: May) -> None:
    may(TRANSFORMER, "create table snapshots.orders_snapshot as select 1 as order_id")
    attacks = [
        "create table raw.mine (a int)",
        "create view raw.mine as select 1 as a",
        "create function raw.mine() returns int language sql return 1",
        "alter table raw.users add column a int",
        "alter table raw.users owner to greenery_loader",
        "alter table raw.users enable row level security",
        "alter table raw.users rename to people",
        "create policy mine on raw.users using (pg_sleep(0) is not null)",
        "create index on raw.users (lower(email))",
        "create statistics raw.mine on user_id, email from raw.users",
        "create trigger mine before insert on raw.users execute function suppress_redundant_updates_trigger()",
        "create rule mine as on insert to raw.users do instead nothing",
        "create table public.mine () inherits (raw.users)",
        "create temporary table mine () inherits (raw.users)",
        "create schema greenery_transformer",
        "create function public.lower(text) returns text language sql return $1",
        "create event trigger mine on ddl_command_end execute function mine()",
        "set role greenery_raw",
        "set role greenery_transformer",
        "set session authorization postgres",
        "alter default privileges for role greenery_transformer grant all on tables to greenery_loader",
        "alter role greenery_transformer set search_path = public",
        "drop table snapshots.orders_snapshot",
        "insert into ops.decisions (action, decided_by, reason) values ('hold', 'ada', 'forged')",
        "copy raw.users to program 'true'",
        "create extension file_fdw",
    ]
    assert possible(may, LOADER, *attacks) == []


def test_who_only_reads_can_change_nothing_and_become_nobody(may: May) -> None:
    attacks = [
        "create schema mine",
        "create table public.mine (a int)",
        "create function public.lower(text) returns text language sql return $1",
        "create view analytics.mine as select 1 as a",
        "select * from raw.users",
        "insert into ops.decisions (action, decided_by, reason) values ('hold', 'ada', 'forged')",
        "alter table analytics.fact_orders enable row level security",
        "create index on analytics.fact_orders (order_id)",
        "set role greenery_transformer",
        "set role greenery_loader",
        "lock table analytics.fact_orders in access exclusive mode",
        "select pg_read_file('/etc/passwd')",
        "select pg_reload_conf()",
    ]
    for role in (READER, HEALTH):
        assert possible(may, role, *attacks) == [], role


def test_who_builds_can_not_act_as_who_loads_or_as_the_administrator(may: May) -> None:
    attacks = [
        "insert into raw.orders (order_id, _loaded_at) values ('forged', now())",
        "truncate raw.orders",
        "create view raw.mine as select 1 as a",
        "alter table raw.orders add column a int",
        "create trigger mine before insert on raw.orders execute function suppress_redundant_updates_trigger()",
        "set role greenery_raw",
        "set role greenery_loader",
        "create role mine",
        "grant greenery_raw to greenery_transformer",
        "create function public.lower(text) returns text language sql return $1",
        "copy (select 1) to program 'true'",
    ]
    assert possible(may, TRANSFORMER, *attacks) == []


def test_a_schema_that_is_called_like_a_role_makes_nothing_of_that_role_run_its_code(may: May) -> None:
    """`"$user"` would come first in a search path, and what is there be taken for something of Postgres'."""
    for role in (LOADER, READER, HEALTH, DEVELOPER, TRANSFORMER, "postgres"):
        assert may(
            TRANSFORMER,
            f"create schema {role}; grant usage on schema {role} to public;"
            f"create function {role}.format(text, text, text) returns text language plpgsql"
            " as $$ begin perform 1 / 0; end $$",
        )
        assert may(role, "select format('%I.%I', 'a', 'b')")


def test_nobody_logs_in_as_who_owns_raw(may: May) -> None:
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        may(RAW, "select 1")


def test_the_health_page_reads_what_was_recorded_and_writes_nothing(may: May) -> None:
    assert may(HEALTH, "select * from ops.runs")
    assert may(HEALTH, "select * from ops.last_words")
    assert may(HEALTH, "select * from analytics.fact_orders")
    assert not may(HEALTH, "update ops.runs set release = 'x'")
    assert not may(HEALTH, "create table ops.mine as select 1 as one")


def test_the_health_page_adds_answers_and_changes_none(may: May, warehouse: Warehouse) -> None:
    kept = "insert into ops.answers (answered_by, kind, unique_id, reason) values ('ada', 'mine', 'model.m', 'at it')"
    assert may(HEALTH, f"{kept} returning answer_id, answered_at")
    assert not may(
        HEALTH, kept.replace("(answered_by,", "(answered_at, answered_by,").replace("('ada'", "(now(), 'ada'")
    )
    with connect("test", replace(warehouse, user=HEALTH)) as page:
        assert answers.give(page, Kind.MINE, About("test.t"), "ada", "at it")
    assert not may(HEALTH, kept.replace("(answered_by,", "(waives, answered_by,").replace("('ada'", "(true, 'ada'"))
    assert not may(HEALTH, "update ops.answers set reason = 'x'")
    assert not may(HEALTH, "delete from ops.answers")
    assert not may(HEALTH, "insert into ops.decisions (action, decided_by, reason) values ('hold', 'ada', 'forged')")
    assert not may(READER, kept)
    assert not may(LOADER, kept)


def test_who_was_erased_is_known_to_loads_and_certificates_to_the_page(may: May) -> None:
    assert may(HEALTH, "select * from ops.erasures")
    assert not may(HEALTH, "select * from ops.stand_ins")
    assert not may(HEALTH, "select * from ops.erasure_key")
    assert not may(LOADER, "select * from ops.erasures")
