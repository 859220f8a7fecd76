"""A masked copy of Greenery's real shop: nobody is in it, all joins hold, and it comes whole or not at all."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include.local import postgres
from include.masked.fill import fill
from include.masked.save import save
from include.raw import csv_loader
from include.raw.contract import TABLES
from include.settings import Warehouse
from include.warehouse import connect, roles
from tests.conftest import copy_warehouse, named_by_the_environment

pytestmark = pytest.mark.db

HISTORY = """
    create table snapshots.orders_snapshot as
    select order_id, user_id, tracking_id, status, md5(order_id || user_id) as dbt_scd_id from raw.orders
"""
# By table, what is personal of it, the keys of people among them.
PERSONAL = {name: [*table.personal, *({"user_id", "address_id"} & {*table.columns})] for name, table in TABLES.items()}
JOINS = (
    "raw.users join raw.addresses using (address_id)",
    "raw.orders join raw.users using (user_id)",
    "raw.orders join raw.addresses using (address_id)",
    "raw.events join raw.users using (user_id)",
    "raw.events join raw.orders using (order_id)",
    "snapshots.orders_snapshot join raw.orders using (order_id, user_id, tracking_id)",
    "raw.deletions join raw.users on key = user_id",
)
# Figures that no made-up value may change.
FIGURES = (
    "select count(*), count(distinct user_id), count(distinct tracking_id), sum(order_total) from raw.orders",
    "select count(distinct (first_name, last_name)), count(distinct email), count(email) from raw.users",
    "select state, count(*), count(distinct address_id), count(distinct address) from raw.addresses"
    " group by 1 order by 1",
    "select count(distinct user_id), count(distinct page_url), count(distinct session_id) from raw.events",
)


def ask(connection: Connection, statement: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def content(file: Path) -> str:
    """A file of a copy, decompressed."""
    whole = file.read_bytes()
    return (gzip.decompress(whole) if file.suffix == ".gz" else whole).decode()


@pytest.fixture(scope="module")
def real(server: postgres.LocalPostgres, migrated: str, real_data: Path) -> Iterator[Warehouse]:
    """Greenery's real shop, loaded, with a history, and one user that was deleted but is still there."""
    copy_warehouse(server, migrated, "real_shop")
    with named_by_the_environment(server.database("real_shop"), server) as where:
        with connect(where=where) as connection:
            csv_loader.load_folder(connection, real_data)
            with connection.cursor() as cursor:
                cursor.execute(HISTORY)
                cursor.execute("insert into raw.deletions select 'users', min(user_id), now() from raw.users")
                roles.ensure(connection)
        yield where


@pytest.fixture(scope="module")
def copied(real: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masked") / "copy"
    save(path, real)
    return path


@pytest.fixture(scope="module")
def filled(server: postgres.LocalPostgres, migrated: str, copied: Path) -> Iterator[Connection]:
    """Another warehouse, with the copy in it."""
    copy_warehouse(server, migrated, "masked_shop")
    with named_by_the_environment(server.database("masked_shop"), server) as where:
        fill(copied, where)
        with connect(where=where) as connection:
            yield connection


def test_no_personal_value_is_anywhere_in_the_copy(real: Warehouse, copied: Path) -> None:
    """But for words that tell of nobody elsewhere, as somebody's name is a state's; zip codes are looked at below."""
    with connect(where=real) as connection:
        values, plain = (
            {
                value
                for name, table in TABLES.items()
                for column in table.columns
                if (column in PERSONAL[name]) is personal and column != "zipcode"
                for (value,) in ask(connection, f"select distinct {column}::text from raw.{name}")
                if value
            }
            for personal in (True, False)
        )
    values -= plain
    assert len(values) > 2000
    text = "\n".join(content(file) for file in copied.iterdir())
    assert values & {*re.split(r"[\t\n]", text)} == set()
    # Nor within another value: whatever is too long to be there by chance.
    assert [value for value in values if len(value) > 7 and value in text] == []


def test_a_zip_code_is_another_one(real: Warehouse, copied: Path) -> None:
    """One may be that of another address, or once in 59,049 times its own, as it has five digits."""
    with connect(where=real) as connection:
        there = ask(connection, "select zipcode from raw.addresses")
    lines = content(copied / "raw.addresses.copy.gz").splitlines()
    assert sum(line.split("\t")[2] == zipcode for line, (zipcode,) in zip(lines, there, strict=True)) < 3


@pytest.mark.parametrize("join", JOINS)
def test_what_joined_joins(real: Warehouse, filled: Connection, join: str) -> None:
    with connect(where=real) as connection:
        [[rows]] = ask(connection, f"select count(*) from {join}")
    assert rows
    assert ask(filled, f"select count(*) from {join}") == [(rows,)]


@pytest.mark.parametrize("figures", FIGURES)
def test_equal_values_stay_equal_and_others_others(real: Warehouse, filled: Connection, figures: str) -> None:
    with connect(where=real) as connection:
        assert ask(filled, figures) == ask(connection, figures)


def test_what_tells_of_nobody_stays(real: Warehouse, filled: Connection) -> None:
    for name, table in TABLES.items():
        columns = ", ".join(sorted({*table.columns, "_loaded_at"} - {*PERSONAL[name]}))
        with connect(where=real) as connection:
            there = ask(connection, f"select {columns} from raw.{name} order by {columns}")
        assert ask(filled, f"select {columns} from raw.{name} order by {columns}") == there


def test_made_up_values_have_the_shape_of_theirs(real: Warehouse, filled: Connection) -> None:
    shapes = {
        "user_id, address_id": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "email": "^user-[0-9a-f]{20}@example[.]com$",
        "phone_number": "^[1-9]{3}-[1-9]{3}-[1-9]{4}$",
        "first_name, last_name": "^([A-Z][a-z]{11}|.*[0-9].*)$",
    }
    for columns, shape in shapes.items():
        for column in columns.split(", "):
            assert ask(filled, f"select {column} from raw.users where {column} !~ '{shape}'") == []
    assert ask(filled, "select zipcode from raw.addresses where zipcode !~ '^[1-9]{3,5}$'") == []


def test_the_same_value_is_another_one_in_the_next_copy(real: Warehouse, copied: Path, tmp_path: Path) -> None:
    save(tmp_path / "next", real)
    ids = [
        {line.split("\t")[0] for line in content(path / "raw.users.copy.gz").splitlines()}
        for path in (copied, tmp_path / "next")
    ]
    assert len(ids[0]) == len(ids[1]) > 100
    assert ids[0] & ids[1] == set()
