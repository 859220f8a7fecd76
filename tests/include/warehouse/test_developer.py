"""Who develops: what they read, where they write, and that nothing of theirs is in the way of production."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.warehouse import roles
from include.warehouse.roles import DEVELOPER, READER, TRANSFORMER
from tests.include.warehouse.conftest import PEOPLE, May, possible, publish

pytestmark = pytest.mark.db


def test_who_develops_reads_what_a_preview_needs_and_neither_who_was_erased_nor_what_is_being_built(may: May) -> None:
    assert may(TRANSFORMER, f"create table analytics_next.dim_users as {PEOPLE}")
    assert may(TRANSFORMER, "create table snapshots.orders_snapshot as select 1 as order_id")
    publish("run 2")
    read = ("raw.users", "analytics.dim_users", "snapshots.orders_snapshot", "ops.last_words", "ops.told")
    unread = (
        "analytics_next.fact_orders",
        "ops.stand_ins",
        "ops.erasure_key",
        "ops.messages",
        "ops.answers",
        "ops.decisions",
    )
    assert [name for name in (*read, *unread) if may(DEVELOPER, f"select * from {name}")] == list(read)
    assert may(TRANSFORMER, "create view staging.stg_orders as select 1 as order_id")
    assert not may(DEVELOPER, "select * from staging.stg_orders")


def test_who_develops_writes_in_schemas_of_its_own_and_nowhere_else(may: May) -> None:
    may(TRANSFORMER, "create table snapshots.orders_snapshot as select 1 as order_id")
    assert may(DEVELOPER, "create schema branch_ana; create table branch_ana.mine as select * from raw.users")
    assert may(DEVELOPER, "create temporary table mine as select * from analytics.fact_orders")
    of_schemas = [
        statement.format(schema)
        for schema in ("raw", "staging", "snapshots", "analytics", "analytics_next", "ops", "public")
        for statement in (
            "create table {}.mine (a int)",
            "create function {}.mine() returns int language sql return 1",
            "alter schema {} rename to mine",
            "drop schema {} cascade",
            "comment on schema {} is 'mine'",
        )
    ]
    of_tables = [
        statement.format(table)
        for table in ("raw.orders", "analytics.fact_orders", "snapshots.orders_snapshot", "ops.publications")
        for statement in (
            "delete from {}",
            "truncate {}",
            "update {} set run_id = 'mine'" if table == "ops.publications" else "update {} set order_id = null",
            "drop table {}",
            "alter table {} enable row level security",
            "create index on {} ((1))",
            "create trigger mine before insert on {} execute function suppress_redundant_updates_trigger()",
            "create table branch_ana.child () inherits ({})",
            "lock table {} in share mode",
            "select * from {} for share",
            "comment on table {} is 'mine'",
            "create statistics branch_ana.mine on tableoid, ctid from {}",
            "create rule mine as on insert to {} do instead nothing",
            "alter table {} set (autovacuum_enabled = off)",
            "alter table {} owner to greenery_developer",
            "alter table {} set schema branch_ana",
        )
    ]
    others = [
        "select nextval(pg_get_serial_sequence('ops.publications', 'publication_id'))",
        "select setval(pg_get_serial_sequence('ops.publications', 'publication_id'), 1)",
        "alter default privileges for role greenery_transformer grant all on tables to greenery_developer",
        "insert into ops.decisions (action, decided_by, reason) values ('hold', 'ada', 'forged')",
        "insert into ops.answers (answered_by, kind, unique_id, reason) values ('ada', 'mute', 'x', 'forged')",
        *(f"set role {role}" for role in roles.ROLES if role != DEVELOPER),
        "set session authorization postgres",
        "create role mine",
        "create event trigger mine on ddl_command_end execute function mine()",
        "copy raw.users to program 'true'",
        "select pg_reload_conf()",
        "set temp_file_limit = -1",
    ]
    assert possible(may, DEVELOPER, *of_schemas, *of_tables, *others) == []


def test_who_develops_lets_nobody_into_production_and_nobody_out(may: May, db: Connection) -> None:
    """Postgres only warns of a grant by somebody who has the right and may not hand it on."""

    def rights() -> list[tuple]:
        with db.cursor() as cursor:
            cursor.execute(
                "select nspname, nspacl::text from pg_namespace"
                " union all select oid::regclass::text, relacl::text from pg_class order by 1, 2"
            )
            return cursor.fetchall()

    before = rights()
    for statement in (
        "grant select on analytics.fact_orders to public",
        "revoke select on analytics.fact_orders from greenery_reader",
        "grant usage on schema raw, snapshots, ops to public",
        "revoke usage on schema raw from greenery_transformer",
    ):
        may(DEVELOPER, statement)
    assert rights() == before


def test_no_schema_of_who_develops_is_in_the_way_of_a_publish(may: May) -> None:
    """Not by the name that is live for a moment, nor one that is called like who publishes."""
    assert may(DEVELOPER, 'create schema "greenery exchange"')
    assert may(
        DEVELOPER,
        f"create schema {TRANSFORMER}; grant usage on schema {TRANSFORMER} to public;"
        f"create function {TRANSFORMER}.format(text, text, text) returns text language plpgsql"
        " as $$ begin perform 1 / 0; end $$",
    )
    assert may(TRANSFORMER, "create table analytics_next.dim_users as select format('%I.%I', 'a', 'b') as user_id")
    publish("run 2")
    assert may(READER, "select user_id from analytics.dim_users")
