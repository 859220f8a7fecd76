"""What developers build beside the marts is in no publish's way, and a publish changes nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.settings import Warehouse
from include.warehouse import open_connection, roles, sandbox
from tests.include.publish.test_exchange import do
from tests.include.publish.test_people import builder, day

__all__ = ["builder"]
pytestmark = pytest.mark.db


@pytest.fixture
def ana(builder: Connection, db: Connection, warehouse: Warehouse) -> Iterator[Connection]:
    """Who develops, with a sandbox in which a model is built on a published one, and a view on raw."""
    with db.cursor() as cursor:
        raw.create(cursor)
    roles.ensure(db, login=True)
    with closing(open_connection("ana", replace(warehouse, user=roles.DEVELOPER))) as ana:
        ana.autocommit = True
        sandbox.create(ana, "branch_ana", "a test")
        do(ana, "create table branch_ana.m as select built_by || ', by ana' as built_by from analytics.m")
        do(ana, "create view branch_ana_staging.stg_orders as select * from raw.orders")
        yield ana


def test_a_publish_notes_nothing_of_a_sandbox_and_leaves_it_as_it_is(builder: Connection, ana: Connection) -> None:
    for number in (2, 3):
        assert day(builder, number) == ""
        assert do(ana, "select built_by from branch_ana.m") == [("run 1, by ana",)]
        assert do(ana, "select built_by from analytics.m") == [(f"run {number}",)]
    [(owner,)] = do(ana, "select distinct pg_get_userbyid(nspowner) from pg_namespace where nspname ~ '^branch_ana'")
    assert owner == roles.DEVELOPER


def test_a_publish_waits_for_no_transaction_that_builds_on_what_was_built_aside(
    builder: Connection, ana: Connection
) -> None:
    """One that has read a mart keeps that mart until it ends, as each reader does; one in the sandbox keeps none."""
    do(ana, "begin")
    do(ana, "create table branch_ana.n as select * from branch_ana.m union all select order_id from raw.orders")
    assert day(builder, 2) == ""
    do(ana, "commit")


def test_who_develops_reads_on_from_what_is_published_through_a_publish(builder: Connection, ana: Connection) -> None:
    do(ana, "set search_path = branch_ana, branch_ana_staging, analytics")
    for number in (2, 3):
        day(builder, number)
        assert do(ana, "select m.built_by, n.built_by from m, n") == [("run 1, by ana", f"run {number}")]


def test_a_view_that_a_developer_puts_on_a_mart_is_as_anybodys(builder: Connection, ana: Connection) -> None:
    do(ana, "create view branch_ana.by_hand as select built_by from analytics.m")
    assert "branch_ana.by_hand" in day(builder, 2)
    assert do(ana, "select built_by from analytics.m") == [("run 2",)]
