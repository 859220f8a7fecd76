"""Sandboxes: made, used by one session at a time, and dropped by who owns them and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import psycopg2
import psycopg2.extras
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection

from include.settings import Warehouse
from include.warehouse import open_connection, roles, sandbox
from include.warehouse.sandbox import BRANCH, Sandbox, SandboxError

pytestmark = pytest.mark.db

Session = Callable[[str], Connection]


@pytest.fixture
def session(db: Connection, warehouse: Warehouse) -> Iterator[Session]:
    """Opens sessions of who develops, each by the name of an application."""
    roles.ensure(db, login=True)
    opened: list[Connection] = []

    def session(application: str) -> Connection:
        opened.append(open_connection(application, replace(warehouse, user=roles.DEVELOPER)))
        return opened[-1]

    yield session
    for one in opened:
        one.close()


@contextmanager
def cursor(connection: Connection) -> Iterator[psycopg2.extensions.cursor]:
    with connection.cursor() as one:
        yield one
    connection.commit()


def schemas(db: Connection) -> set[str]:
    with db.cursor() as cursor:
        cursor.execute("select nspname from pg_namespace where nspname ~ '^(branch|preview)_'")
        return {name for (name,) in cursor.fetchall()}


def grow_old(db: Connection, name: str) -> None:
    """Let a sandbox have been used in 2020 for the last time."""
    with db.cursor() as cursor:
        cursor.execute("select obj_description(%s::regnamespace, 'pg_namespace')::jsonb", (name,))
        [[noted]] = cursor.fetchall()
        noted["last_used"] = "2020-01-01T00:00:00+00:00"
        cursor.execute(f"comment on schema {name} is %s", (psycopg2.extras.Json(noted),))


def test_what_people_say_becomes_a_name_that_no_schema_of_production_has() -> None:
    assert sandbox.name_of(BRANCH, "Ana's try; drop schema analytics") == "branch_ana_s_try_drop_schema_analytics"
    long = [sandbox.name_of(BRANCH, f"feature/{'x' * 80}{end}") for end in "ab"]
    assert len(set(long)) == 2
    assert all(len(name.removeprefix(BRANCH)) == 40 for name in long)
    assert len(Sandbox(long[0]).snapshots) < 64


@pytest.mark.parametrize("given", ["", "…", "ana_staging", "Ana snapshots", "x-ops"])
def test_a_name_that_could_be_a_schema_of_another_sandbox_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="can't name a sandbox"):
        sandbox.name_of(BRANCH, given)


def test_it_is_made_noted_and_dropped_with_all_that_is_in_it(session: Session, db: Connection) -> None:
    ana = session("ana")
    made = sandbox.create(ana, "branch_ana", "orders by hour")
    assert schemas(db) == set(made.schemas)
    with cursor(ana) as mine:
        mine.execute("create table branch_ana.fact_orders as select 1 as order_id")
        mine.execute("create view branch_ana_staging.stg_orders as select * from branch_ana.fact_orders")
    [use] = sandbox.all_of(session("bob"))
    assert (use.sandbox, use.purpose) == (made, "orders by hour")
    assert use.by.startswith("greenery_developer (")
    sandbox.drop(ana, made)
    assert schemas(db) == set()
    sandbox.drop(ana, made)
    sandbox.create(session("bob"), "branch_ana", "it is nobody's any more")


def test_those_that_were_used_in_the_same_second_are_listed_by_name(session: Session, db: Connection) -> None:
    ana = session("ana")
    for name in ("branch_c", "branch_a", "branch_b"):
        sandbox.create(ana, name, "a test")
        grow_old(db, name)
    assert [use.sandbox.name for use in sandbox.all_of(ana)] == ["branch_a", "branch_b", "branch_c"]


def test_schemas_of_the_projects_own_go_with_it_and_those_of_another_sandbox_stay(
    session: Session, db: Connection
) -> None:
    ana = session("ana")
    made = sandbox.create(ana, "branch_ana", "orders by hour")
    longer = sandbox.create(ana, "branch_ana_2", "another")
    with cursor(ana) as mine:
        mine.execute("create schema branch_ana_marketing; create table branch_ana_marketing.ads as select 1 as ad_id")
        mine.execute("create schema branch_ana_2_marketing; create schema branch_anabel")
    with db.cursor() as admin:
        admin.execute("create schema branch_ana_of_somebody")
    sandbox.drop(ana, made)
    kept = {"branch_ana_2_marketing", "branch_anabel", "branch_ana_of_somebody"}
    assert schemas(db) == {*longer.schemas, *kept}


def test_going_on_with_one_keeps_what_is_built_and_notes_the_new_use(session: Session, db: Connection) -> None:
    with closing(session("ana")) as ana:
        sandbox.create(ana, "branch_ana", "orders by hour")
        with cursor(ana) as mine:
            mine.execute("create table branch_ana.fact_orders as select 1 as order_id")
    grow_old(db, "branch_ana")
    again = session("ana, on the next day")
    sandbox.create(again, "branch_ana", "orders by day")
    with cursor(again) as mine:
        mine.execute("select order_id from branch_ana.fact_orders")
        assert mine.fetchall() == [(1,)]
    [use] = sandbox.all_of(again)
    assert use.purpose == "orders by day"
    assert use.last_used.year > 2020
    grow_old(db, "branch_ana")
    sandbox.touch(again, use.sandbox)
    assert sandbox.all_of(again)[0].last_used.year > 2020


def test_who_comes_second_is_told_who_works_in_it_and_nothing_is_changed(session: Session, db: Connection) -> None:
    first = session("the first")
    sandbox.create(first, "branch_ana", "hers")
    second = session("the second")
    for take in (
        lambda: sandbox.create(second, "branch_ana", "his"),
        lambda: sandbox.drop(second, Sandbox("branch_ana")),
    ):
        with pytest.raises(SandboxError, match=rf"branch_ana is in use by .*the first, pid {first.info.backend_pid}"):
            take()
    assert [use.purpose for use in sandbox.all_of(second)] == ["hers"]
    sandbox.create(second, "branch_bob", "his")
    first.close()
    with db.cursor() as cursor:  # the server lets go when it has noticed
        cursor.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'the first'"
        )
    sandbox.create(second, "branch_ana", "his")


def test_unused_ones_are_dropped_but_for_those_that_somebody_works_in(session: Session, db: Connection) -> None:
    ana, bob = session("ana"), session("bob")
    for who, name in ((bob, "branch_at_work"), (ana, "branch_old"), (ana, "preview_new")):
        sandbox.create(who, name, "a test")
    ana.close()
    with db.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'ana'")
        cursor.execute("set role greenery_developer; create schema branch_by_hand; reset role")
        cursor.execute("create schema branch_of_another; comment on schema branch_of_another is '{}'")
    grow_old(db, "branch_at_work")
    grow_old(db, "branch_old")
    nightly = session("nightly")
    assert sandbox.drop_unused(nightly, timedelta(days=14)) == [Sandbox("branch_old")]
    assert sandbox.drop_unused(nightly, timedelta(days=14)) == []
    assert nightly.info.transaction_status == TRANSACTION_STATUS_IDLE
    assert {"branch_at_work", "preview_new", "branch_by_hand", "branch_of_another"} < schemas(db)
    assert not any(name.startswith("branch_old") for name in schemas(db))


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ("create schema branch_ana_staging", "Schema branch_ana_staging is postgres's"),
        ("set role greenery_developer; create schema branch_ana; reset role", "Schema branch_ana is there and is no"),
    ],
)
def test_schemas_that_are_no_sandbox_are_not_taken_over(
    session: Session, db: Connection, there: str, says: str
) -> None:
    with db.cursor() as cursor:
        cursor.execute(there)
    before = schemas(db)
    with pytest.raises(SandboxError, match=says):
        sandbox.create(session("ana"), "branch_ana", "a test")
    assert schemas(db) == before


@pytest.mark.parametrize("name", ["analytics", "snapshots", "branch_", "branch_Ana", "branch_ana_ops", "ops"])
def test_nothing_but_a_sandbox_can_be_made_or_dropped(db: Connection, name: str) -> None:
    for change in (lambda: sandbox.create(db, name, "a test"), lambda: sandbox.drop(db, Sandbox(name))):
        with pytest.raises(ValueError, match="is no name of a sandbox"):
            change()
