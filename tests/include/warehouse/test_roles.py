"""Least privilege: each role may do its own work, through every publish, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.answers import answers
from include.answers.answer import About, Kind
from include.daily import buffers
from include.demo_shop import demo
from include.publish import exchange as exchanges
from include.publish.exchange import exchange
from include.raw import lease
from include.raw.load import LoadError
from include.results import runs
from include.settings import Warehouse
from include.warehouse import connect, personal, roles
from include.warehouse.roles import DEVELOPER, HEALTH, LOADER, PERSONAL, RAW, READER, TRANSFORMER

pytestmark = pytest.mark.db

May = Callable[[str, str], bool]


@pytest.fixture
def may(db: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> May:
    """Whether a role may execute a statement, in a warehouse with one published mart and empty raw tables."""
    with db.cursor() as cursor:
        raw.create(cursor)
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


PEOPLE = "select 'u1' as user_id, 'ann@example.com' as email, 'Ohio' as state"


def test_readers_get_no_personal_column_through_each_publish(may: May, db: Connection) -> None:
    with db.cursor() as cursor:
        personal.note(cursor, {"email": None, "user_id": "user_id"})
        cursor.execute(f"create role carer login in role {PERSONAL}")
    for number in range(2, 5):
        may(TRANSFORMER, "drop table if exists analytics_next.dim_users")
        assert may(TRANSFORMER, f"create table analytics_next.dim_users as {PEOPLE}")
        publish(f"run {number}")
        for role in (READER, HEALTH):
            assert may(role, "select user_id, state, count(*) from analytics.dim_users group by 1, 2")
            for query in ("*", "email", "max(email)", "dim_users::text", "to_jsonb(dim_users)"):
                assert not may(role, f"select {query} from analytics.dim_users"), query
            assert not may(role, "select user_id from analytics.dim_users where email > ''")
        assert may("carer", "select * from analytics.dim_users")
        assert not may("carer", "select user_id from analytics_next.dim_users")
    roles.ensure(db, login=True)
    assert not may(READER, "select email from analytics.dim_users")
    with db.cursor() as cursor:
        cursor.execute("drop role carer")


def test_the_health_page_gets_no_personal_column_of_a_snapshot(may: May, db: Connection) -> None:
    assert may(TRANSFORMER, "create table snapshots.orders_snapshot as select 'o1' as order_id, 't1' as tracking_id")
    with db.cursor() as cursor:
        personal.note(cursor, {"tracking_id": None})
    for open_again in (lambda: publish("run 2"), lambda: roles.ensure(db, login=True)):
        open_again()
        assert may(HEALTH, "select order_id, count(*) from snapshots.orders_snapshot group by 1")
        assert not may(HEALTH, "select tracking_id from snapshots.orders_snapshot")
        assert not may(READER, "select order_id from snapshots.orders_snapshot")


def test_a_reader_who_had_the_whole_table_keeps_what_is_not_personal(may: May, db: Connection) -> None:
    assert may(READER, "select * from analytics.fact_orders")
    assert may(TRANSFORMER, f"create table analytics.dim_users as {PEOPLE}")
    roles.ensure(db, login=True)
    assert may(READER, "select email from analytics.dim_users")
    with db.cursor() as cursor:
        personal.note(cursor, {"email": None})
    roles.ensure(db, login=True)
    assert not may(READER, "select email from analytics.dim_users")
    assert may(READER, "select user_id, state from analytics.dim_users")
    with db.cursor() as cursor:
        personal.note(cursor, {})
    roles.ensure(db, login=True)
    assert may(READER, "select * from analytics.dim_users")


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


def possible(may: May, role: str, *attacks: str) -> list[str]:
    """Those of some statements that a role may execute."""
    return [attack for attack in attacks if may(role, attack)]


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


def test_a_load_that_does_not_end_is_named_by_the_run_that_waits_for_it(
    may: May, db: Connection, warehouse: Warehouse
) -> None:
    with db.cursor() as cursor:
        cursor.execute(f'alter role {TRANSFORMER} in database "{warehouse.database}" set lock_timeout = 200')
    with connect("a load", replace(warehouse, user=LOADER)) as load, load.cursor() as cursor:
        lease.lock_raw(cursor)
        with pytest.raises(lease.LeaseHeldError) as refused, connect() as run:
            lease.take(run, "run 2")
        assert f"greenery_loader (a load, pid {load.info.backend_pid}, since 2" in str(refused.value)
        assert "`python -m include.under_way end PID`" in str(refused.value)


def test_readers_are_held_to_less_than_a_publish_waits(may: May, db: Connection, warehouse: Warehouse) -> None:
    """A setting of a role's is no setting of its members', so each login has its own."""
    settings = ("idle_in_transaction_session_timeout", "statement_timeout")
    with db.cursor() as cursor:
        cursor.execute("create role ann login in role greenery_reader; create role bob login in role greenery_reader")
        cursor.execute("alter role bob set statement_timeout = 0")
        try:
            roles.ensure(db, login=True)
            held = {
                role: [show(replace(warehouse, user=role), setting) for setting in settings]
                for role in (READER, HEALTH, DEVELOPER, "ann", "bob", TRANSFORMER)
            }
            assert held == {
                READER: ["1min", "5min"],
                HEALTH: ["1min", "5min"],
                DEVELOPER: ["1min", "5min"],
                "ann": ["1min", "5min"],
                "bob": ["1min", "0"],  # as the administrator wants it
                TRANSFORMER: ["10min", "0"],
            }
            assert show(replace(warehouse, user=TRANSFORMER), "lock_timeout") == "10min"
            for role in (TRANSFORMER, DEVELOPER):
                assert show(replace(warehouse, user=role), "temp_file_limit") == "20GB"
        finally:
            cursor.execute("drop role ann, bob")
    assert sum(map(exchanges.pause, range(1, exchanges.ATTEMPTS))) > 5 * 60


def test_of_a_machine_that_is_gone_the_server_lets_go_soon_and_not_of_who_reads_slowly(
    may: May, db: Connection
) -> None:
    """Over a socket of this machine nothing is shown of it; tests/test_server_faults.py takes a network away.

    Postgres' server ends a session by `tcp_user_timeout` as well where its client takes no rows for so long.
    """
    with db.cursor() as cursor:
        cursor.execute(
            "select setrole::regrole::text, setconfig from pg_db_role_setting"
            " where setdatabase = (select oid from pg_database where datname = current_database()) and setrole <> 0"
        )
        held_to = {role: dict(one.split("=", 1) for one in settings) for role, settings in cursor.fetchall()}
    assert {held_to[role]["tcp_keepalives_idle"] for role in roles.LOGINS} == {"10s"}
    assert {held_to[role]["tcp_user_timeout"] for role in (roles.LOADER, roles.TRANSFORMER)} == {"30s"}
    for role in (roles.READER, roles.HEALTH, roles.DEVELOPER):
        assert held_to[role]["tcp_user_timeout"] == held_to[role]["statement_timeout"]


def show(where: Warehouse, setting: str) -> str:
    """A setting of a session."""
    with connect("test", where) as connection, connection.cursor() as cursor:
        cursor.execute(f"show {setting}")
        return cursor.fetchone()[0]


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


def test_nobody_logs_in_as_who_owns_raw(may: May) -> None:
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        may(RAW, "select 1")


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
