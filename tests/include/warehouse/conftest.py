"""What the tests of the roles share: a warehouse with one published mart, and what a role may do in it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers
from include.publish.exchange import exchange
from include.results import runs
from include.settings import Warehouse
from include.warehouse import connect, roles
from include.warehouse.roles import TRANSFORMER

May = Callable[[str, str], bool]
PEOPLE = "select 'u1' as user_id, 'ann@example.com' as email, 'Ohio' as state"


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
