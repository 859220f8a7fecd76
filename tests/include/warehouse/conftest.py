"""What the tests of the roles share: a warehouse with one published mart, and what a role may do in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers
from include.local import postgres
from include.publish.exchange import exchange
from include.results import runs
from include.settings import Warehouse
from include.warehouse import connect, roles
from include.warehouse.roles import TRANSFORMER
from tests import in_memory
from tests.conftest import FORGETFUL, named_by_the_environment

May = Callable[[str, str], bool]
ADMIN = "ann@shop.example"  # as where the cloud knows who logs in
PEOPLE = "select 'u1' as user_id, 'ann@example.com' as email, 'Ohio' as state"


@pytest.fixture
def managed() -> Iterator[Warehouse]:
    """A warehouse that its administrator made, on a server where no role is a superuser's; the environment names it."""
    with in_memory.folder("greenery-managed-") as home:
        server = postgres.start(home / "postgres", settings=FORGETFUL)
        with postgres.admin(server) as cursor:
            cursor.execute(f'create role "{ADMIN}" login createrole createdb')
            cursor.execute("revoke create on schema public from public")
        with closing(psycopg2.connect(**server.database("postgres", ADMIN).libpq())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("create database warehouse")
        with named_by_the_environment(server.database("warehouse", ADMIN), server) as where:
            yield where
        postgres.stop(server.data)


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


def possible(may: May, role: str, *attacks: str) -> list[str]:
    """Those of some statements that a role may execute."""
    return [attack for attack in attacks if may(role, attack)]
