"""Whose things are once the roles are made: what is handed over, and what people made, which stays theirs."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers
from include.demo_shop import demo
from include.raw.load import LoadError
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect, migrate, roles, sandbox
from include.warehouse.roles import LOADER, RAW, TRANSFORMER
from tests.include.warehouse.conftest import ADMIN, May, publish

pytestmark = pytest.mark.db


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


def test_raw_that_a_loader_owned_is_handed_over_but_for_views_of_his(db: Connection, warehouse: Warehouse) -> None:
    with db.cursor() as cursor:
        raw.create(cursor)
        roles.ensure(db, login=True)
        cursor.execute("alter schema raw owner to greenery_loader; drop table raw.promos")  # as it was before
        cursor.execute("alter table raw.users owner to greenery_loader")
        cursor.execute("set role greenery_loader; create view raw.promos as select 1 as promo_id; reset role")
        roles.ensure(db, login=True)
        cursor.execute(
            "select relname, pg_get_userbyid(relowner) from pg_class"
            " where oid = any('{raw.users, raw.promos}'::regclass[]) order by 1"
        )
        assert cursor.fetchall() == [("promos", LOADER), ("users", RAW)]


def test_a_load_without_its_tables_says_who_makes_them(db: Connection, warehouse: Warehouse) -> None:
    roles.ensure(db, login=True)
    with (
        connect("test", replace(warehouse, user=LOADER)) as loader,
        pytest.raises(LoadError, match=r"raw\.users.* is missing, .*`python -m include\.raw`"),
    ):
        demo.play_day(loader, 1)


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


def test_a_view_of_a_function_reads_what_is_published_though_nobody_is_granted_to_who_builds(
    may: May, db: Connection
) -> None:
    with db.cursor() as cursor:
        cursor.execute("create role analyst login in role greenery_reader")
        cursor.execute("create schema reporting authorization analyst")
    try:
        assert may(
            "analyst",
            "create function reporting.orders() returns table (order_id int) language sql stable"
            " as 'select order_id from analytics.fact_orders';"
            "create view reporting.mine as select * from reporting.orders()",
        )
        assert may(TRANSFORMER, "create table analytics_next.fact_orders as select 2 as order_id")
        publish("run 2")
        assert may("analyst", "select 1 / (max(order_id) - 1) from reporting.mine"), "it is the former mart's 1"
    finally:
        with db.cursor() as cursor:
            cursor.execute("drop owned by analyst cascade; drop role analyst")


def test_that_who_builds_could_act_as_somebody_who_logs_in_is_said(
    may: May, db: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with db.cursor() as cursor:
        cursor.execute("create role ann login; create role shown; grant ann, shown to greenery_transformer")
        roles.ensure(db, login=True)
        cursor.execute("drop role ann, shown")
    [said] = [text for text in caplog.messages if "act as" in text]
    assert said.startswith("Who writes dbt models can act as ann")


# All that Greenery may leave in a database and on its server, in words.
THERE = """
select 'role ' || rolname from pg_roles
union all select format('%s is a member of %s', member::regrole, roleid::regrole) from pg_auth_members
union all select format('schema %s %s', nspname, nspacl) from pg_namespace where nspname !~ '^pg_(toast|temp)'
union all select format('database %s %s', datname, coalesce(datacl, acldefault('d', datdba)))
    from pg_database where datname = current_database()
union all select format('%s for %s', setconfig, setrole) from pg_db_role_setting
union all select format('default rights %s', defaclacl) from pg_default_acl
union all select format('relation %s', oid::regclass) from pg_class where oid >= 16384 and relkind <> 't'
union all select format('function %s', oid::regprocedure) from pg_proc where oid >= 16384
union all select 'large object' from pg_largeobject_metadata
union all select 'extension ' || extname from pg_extension
union all select 'event trigger ' || evtname from pg_event_trigger
"""


@pytest.mark.parametrize("admin", [ADMIN, "postgres"])
def test_the_lines_that_take_it_away_leave_nothing(
    managed: Warehouse, monkeypatch: pytest.MonkeyPatch, admin: str
) -> None:
    where = replace(managed, user=admin)
    monkeypatch.setenv("WAREHOUSE_USER", admin)
    with closing(psycopg2.connect(**where.libpq())) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def there() -> set[str]:
            cursor.execute(THERE)
            return {what for (what,) in cursor.fetchall()}

        cursor.execute("create role ada login")
        before = there()
        migrate.upgrade(where)
        raw.create(cursor)
        roles.ensure(connection, login=True)
        cursor.execute("grant greenery_personal to ada")
        roles.ensure(connection, login=True)
        monkeypatch.setenv("WAREHOUSE_USER", TRANSFORMER)
        for number in (1, 2):
            with connect("test") as builder, builder.cursor() as builds:
                builds.execute(f"create table analytics_next.fact_orders as select {number} as order_id")
            publish(f"run {number}")
        with connect("test", replace(where, user=roles.DEVELOPER)) as developer:
            sandbox.create(developer, "branch_ada", "a test")
        cursor.execute("create view public.mine as select * from analytics.fact_orders")

        page = (PROJECT_ROOT / "docs" / "deployment.md").read_text()
        [_, lines, *_] = re.split(r"^ *```(?:sql)?$", page.partition("### Taking it away again")[2], flags=re.MULTILINE)
        statements = re.sub(r"--.*", "", lines.replace("administrator", f'"{admin}"')).split(";")
        for statement in filter(str.strip, statements):
            cursor.execute(statement)

        assert there() == before
