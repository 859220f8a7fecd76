"""Who may write what a run reads can't act as who builds: their code is found before anything is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.settings import Warehouse
from include.warehouse import connect, roles, trust
from include.warehouse.roles import TRANSFORMER
from tests.include.publish.test_exchange import do

pytestmark = pytest.mark.db

SOURCES = [{"schema": "raw", "identifier": "users"}, {"schema": "till", "identifier": "sales"}]
# Whatever runs it leaves word of whom it ran as.
SPY = """
create function till.tell() returns int language plpgsql volatile as
$$ begin insert into till.told values (current_user); return 1; end $$;
create function till.spy(int) returns int language plpgsql immutable as
$$ begin perform till.tell(); return $1; end $$
"""
As = Callable[[str, str], list]


@pytest.fixture
def run_as(db: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[As]:
    """Runs statements as a role, in a warehouse with raw tables and a schema `till` of `eve`'s, who builds nothing."""
    with db.cursor() as cursor:
        raw.create(cursor)
    roles.ensure(db, login=True)
    do(db, "create role eve login; create schema till authorization eve")
    monkeypatch.setenv("WAREHOUSE_USER", TRANSFORMER)

    def run_as(role: str, statements: str) -> list:
        connection = psycopg2.connect(host=warehouse.host, port=warehouse.port, dbname=warehouse.database, user=role)
        connection.autocommit = True
        try:
            return do(connection, statements)
        finally:
            connection.close()

    run_as(
        "eve",
        "create table till.sales (sale_id int, amount int, kind text); insert into till.sales values (1, 2, 'x');"
        "create table till.told (who text); grant insert on till.told to public;"
        "grant usage on schema till to greenery_transformer; grant select on till.sales to greenery_transformer;" + SPY,
    )
    yield run_as
    do(db, "drop owned by eve cascade; drop role eve")


def test_plain_tables_are_read(run_as: As) -> None:
    assert trust.problem(SOURCES) is None


FUNCTION = "till.sales uses function till.spy(integer) of eve"


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("create index on till.sales (till.spy(1))", FUNCTION),
        ("create index on till.sales (amount) where till.spy(1) = 1", FUNCTION),
        ("create statistics till.of_sales on (till.spy(1)), amount from till.sales", FUNCTION),
        (
            "create table till.more () inherits (till.sales); create index on till.more (till.spy(1))",
            "till.more uses function till.spy(integer) of eve",
        ),
        (
            "alter table till.sales rename to rows;"
            "create view till.sales as select sale_id, amount, kind from till.rows where till.tell() = 1;"
            "grant select on till.sales to greenery_transformer",
            "till.sales is a view of eve",
        ),
        (
            "create type till.kind as enum ('x'); alter table till.sales alter kind type till.kind using 'x';"
            "create function till.said(till.kind) returns text language plpgsql as"
            " $$ begin perform till.tell(); return 'x'; end $$;"
            "create cast (till.kind as text) with function till.said(till.kind)",
            "till.sales has a column kind of the type till.kind of eve",
        ),
    ],
)
def test_code_of_others_is_found_that_would_run_as_who_builds(run_as: As, attack: str, said: str) -> None:
    run_as("eve", attack)
    problem = trust.problem(SOURCES)
    assert problem.startswith("To read the sources would run somebody else's code as who builds: ")
    assert said in problem
    run_as("eve", "truncate till.told")
    run_as(TRANSFORMER, "select sale_id, cast(kind as text) from till.sales where amount > 0")
    assert (TRANSFORMER,) in run_as("eve", "select who from till.told"), "it is no attack"


def test_a_policy_of_somebody_elses_is_found_and_does_not_run(run_as: As) -> None:
    run_as(
        "eve",
        "alter table till.sales enable row level security; create policy mine on till.sales using (till.tell() = 1)",
    )
    assert "till.sales has row security" in trust.problem(SOURCES)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="would be affected by row-level security"):
        run_as(TRANSFORMER, "select * from till.sales")
    assert run_as("eve", "select who from till.told") == []


def test_raw_that_a_loader_owns_is_not_read(run_as: As, db: Connection) -> None:
    do(db, "alter table raw.users owner to greenery_loader")
    assert "raw.users belongs to greenery_loader" in trust.problem(SOURCES)
    roles.ensure(db, login=True)
    assert trust.problem(SOURCES) is None


def test_a_view_that_a_loader_left_in_raw_is_not_read(run_as: As, db: Connection) -> None:
    do(db, "drop table raw.users; create view raw.users as select 'u1' as user_id")
    do(db, "alter view raw.users owner to greenery_loader")
    roles.ensure(db, login=True)
    assert "raw.users is a view of greenery_loader" in trust.problem(SOURCES)


def test_behind_a_view_of_the_administrators_it_is_found_too(run_as: As, db: Connection) -> None:
    run_as("eve", "create table till.people (user_id text); create index on till.people (till.spy(1))")
    do(db, "drop table raw.users; create view raw.users as select user_id from till.people")
    assert "till.people uses function till.spy(integer) of eve" in trust.problem(SOURCES)
    do(db, "create or replace view raw.users as select till.spy(1)::text as user_id")
    assert "raw.users uses function till.spy(integer) of eve" in trust.problem(SOURCES)


TRIGGER = "create trigger mine before update on raw.users for each row execute function till.note()"


def make_a_trigger(run_as: As, db: Connection) -> None:
    """One that eve put there while she owned raw.users."""
    run_as(
        "eve",
        "create function till.note() returns trigger language plpgsql as"
        " $$ begin perform till.tell(); return new; end $$",
    )
    do(db, f"grant usage on schema till to public; {TRIGGER}")


RAW_USERS = [("raw", "users")]
NOTE = "raw.users uses function till.note() of eve (let its owner take the function out of there)"


def test_a_trigger_of_somebody_elses_is_found_before_rows_are_changed(run_as: As, db: Connection) -> None:
    """By the administrator as well. To read a table runs none."""
    make_a_trigger(run_as, db)
    assert trust.problem(SOURCES) is None
    with connect() as builder, builder.cursor() as cursor:
        assert trust.code_of_others(cursor, RAW_USERS) == NOTE
    with db.cursor() as cursor:
        assert trust.code_of_others(cursor, RAW_USERS) == NOTE
        cursor.execute("drop trigger mine on raw.users")
        assert trust.code_of_others(cursor, RAW_USERS) is None


def test_where_people_query_a_trigger_is_found_as_well_but_for_one_of_who_builds(run_as: As, db: Connection) -> None:
    make_a_trigger(run_as, db)
    run_as(
        TRANSFORMER,
        "create table analytics.built as select 1 as one;"
        "create function analytics.note() returns trigger language plpgsql as $$ begin return new; end $$;"
        "create trigger ours before update on analytics.built for each row execute function analytics.note()",
    )
    with db.cursor() as cursor:
        assert trust.code_of_others(cursor, [("analytics", "built")]) is None
        cursor.execute(TRIGGER.replace("raw.users", "analytics.built"))
        assert "analytics.built uses function till.note() of eve" in trust.code_of_others(
            cursor, [("analytics", "built")]
        )


def test_raw_is_not_handed_over_with_a_trigger_of_its_former_owner(
    run_as: As, db: Connection, warehouse: Warehouse
) -> None:
    owner = "select tableowner from pg_tables where tablename = 'users'"
    make_a_trigger(run_as, db)
    do(db, "alter table raw.users owner to eve")
    refusal = re.escape(f"somebody else's code in it: {NOTE}. The roles are as")
    with pytest.raises(roles.RolesError, match=refusal), connect("test", warehouse) as admin:
        roles.ensure(admin, login=True)
    assert do(db, owner) == [("eve",)]
    do(db, "drop trigger mine on raw.users")
    roles.ensure(db, login=True)
    assert do(db, owner) == [("greenery_raw",)]


def test_a_function_that_is_called_like_one_of_postgres_is_found_where_models_look_first(
    run_as: As, db: Connection
) -> None:
    do(db, "create function public.lower(integer) returns text language sql return 'x'")
    assert trust.problem(SOURCES) is None, "the administrator's"
    do(db, "alter function public.lower(integer) owner to eve")
    assert "lower(integer) is a function of eve with the name of one of Postgres" in trust.problem(SOURCES)
