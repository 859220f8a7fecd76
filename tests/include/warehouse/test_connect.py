"""The one connection to the warehouse: what ends a block, and what a caller hears of a server that goes away."""

from __future__ import annotations

from contextlib import suppress

import psycopg2
import pytest

from include.settings import Warehouse
from include.warehouse import connect

pytestmark = pytest.mark.db


def test_a_block_that_ends_well_is_kept_and_one_that_raises_is_not(warehouse: Warehouse) -> None:
    with connect(where=warehouse) as connection, connection.cursor() as cursor:
        cursor.execute("create table kept as select 1 as one")
    with suppress(ValueError), connect(where=warehouse) as connection, connection.cursor() as cursor:
        cursor.execute("create table lost as select 1 as one")
        raise ValueError
    with connect(where=warehouse) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass('kept') is not null, to_regclass('lost') is not null")
        assert cursor.fetchone() == (True, False)


def test_a_server_that_goes_away_in_a_block_is_an_operational_error(warehouse: Warehouse) -> None:
    def ask_once_too_often() -> None:
        with connect(where=warehouse) as connection, connection.cursor() as cursor:
            with connect(where=warehouse) as other, other.cursor() as killer:
                killer.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
            cursor.execute("select 1")

    with pytest.raises(psycopg2.OperationalError):
        ask_once_too_often()
