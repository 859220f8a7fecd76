"""The one connection to the warehouse: what ends a block, and what a caller hears of a server that goes away."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import psycopg2
import pytest

from include.settings import Warehouse
from include.warehouse import connect, is_gone

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


def test_a_server_that_is_gone_is_told_from_one_that_answers_with_a_no(warehouse: Warehouse) -> None:
    """psycopg2 raises an OperationalError for either."""

    def answer(code: str) -> Exception:
        with pytest.raises(psycopg2.Error) as raised, connect(where=warehouse) as connection:
            connection.cursor().execute(f"do $$ begin raise exception using errcode = '{code}'; end $$")
        return raised.value

    assert not is_gone(answer("53100")), "its disk is full"
    assert not is_gone(answer("42P01")), "it has no such table"
    with pytest.raises(psycopg2.OperationalError) as refused, connect(where=replace(warehouse, port=1)):
        raise AssertionError
    assert is_gone(refused.value)
    # As psycopg2 says it where the server dies in the middle of a statement.
    assert is_gone(psycopg2.DatabaseError("server closed the connection unexpectedly"))
    assert not is_gone(psycopg2.ProgrammingError("no results to fetch"))


def test_a_server_that_goes_away_in_a_block_is_an_operational_error(warehouse: Warehouse) -> None:
    def ask_once_too_often() -> None:
        with connect(where=warehouse) as connection, connection.cursor() as cursor:
            with connect(where=warehouse) as other, other.cursor() as killer:
                killer.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
            cursor.execute("select 1")

    with pytest.raises(psycopg2.OperationalError):
        ask_once_too_often()
