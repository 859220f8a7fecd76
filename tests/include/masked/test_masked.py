"""A masked copy of a demo shop: nobody is in it, all joins hold, and it comes whole or not at all."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import raw
from include.demo_shop import demo
from include.local import postgres
from include.masked import __main__ as command
from include.masked import replace
from include.masked.fill import fill
from include.masked.folder import check
from include.masked.save import save
from include.masked.tables import MaskedError
from include.raw.contract import TABLES
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect, personal, roles
from tests.conftest import copy_warehouse, named_by_the_environment
from tests.waiting import wait_for

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
def shop(server: postgres.LocalPostgres, migrated: str) -> Iterator[Warehouse]:
    """Six days of a demo shop, with a history, and one user that was deleted but is still there."""
    copy_warehouse(server, migrated, "a_shop")
    with named_by_the_environment(server.database("a_shop"), server) as where:
        with connect(where=where) as connection:
            for _ in range(6):
                demo.play_day(connection, demo.next_day(connection), orders_per_day=40)
            with connection.cursor() as cursor:
                cursor.execute(HISTORY)
                cursor.execute("insert into raw.deletions select 'users', min(user_id), now() from raw.users")
                roles.ensure(connection)
        yield where


@pytest.fixture(scope="module")
def copied(shop: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masked") / "copy"
    save(path, shop)
    return path


@pytest.fixture(scope="module")
def filled(server: postgres.LocalPostgres, migrated: str, copied: Path) -> Iterator[Connection]:
    """Another warehouse, with the copy in it."""
    copy_warehouse(server, migrated, "masked_shop")
    with named_by_the_environment(server.database("masked_shop"), server) as where:
        fill(copied, where)
        with connect(where=where) as connection:
            yield connection


def test_no_personal_value_is_anywhere_in_the_copy(shop: Warehouse, copied: Path) -> None:
    """But for words that tell of nobody elsewhere, as somebody's name is a state's; zip codes are looked at below."""
    with connect(where=shop) as connection:
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
    assert len(values) > 1000
    text = "\n".join(content(file) for file in copied.iterdir())
    assert values & {*re.split(r"[\t\n]", text)} == set()
    # Nor within another value: whatever is too long to be there by chance.
    assert [value for value in values if len(value) > 7 and value in text] == []


def test_a_zip_code_is_another_one(shop: Warehouse, copied: Path) -> None:
    """One may be that of another address, or once in 59,049 times its own, as it has five digits."""
    with connect(where=shop) as connection:
        there = ask(connection, "select zipcode from raw.addresses")
    lines = content(copied / "raw.addresses.copy.gz").splitlines()
    assert sum(line.split("\t")[2] == zipcode for line, (zipcode,) in zip(lines, there, strict=True)) < 3


@pytest.mark.parametrize("join", JOINS)
def test_what_joined_joins(shop: Warehouse, filled: Connection, join: str) -> None:
    with connect(where=shop) as connection:
        [[rows]] = ask(connection, f"select count(*) from {join}")
    assert rows
    assert ask(filled, f"select count(*) from {join}") == [(rows,)]


@pytest.mark.parametrize("figures", FIGURES)
def test_equal_values_stay_equal_and_others_others(shop: Warehouse, filled: Connection, figures: str) -> None:
    with connect(where=shop) as connection:
        assert ask(filled, figures) == ask(connection, figures)


def test_what_tells_of_nobody_stays(shop: Warehouse, filled: Connection) -> None:
    for name, table in TABLES.items():
        columns = ", ".join(sorted({*table.columns, "_loaded_at"} - {*PERSONAL[name]}))
        with connect(where=shop) as connection:
            there = ask(connection, f"select {columns} from raw.{name} order by {columns}")
        assert ask(filled, f"select {columns} from raw.{name} order by {columns}") == there


def test_made_up_values_have_the_shape_of_theirs(shop: Warehouse, filled: Connection) -> None:
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


def test_the_same_value_is_another_one_in_the_next_copy(shop: Warehouse, copied: Path, tmp_path: Path) -> None:
    save(tmp_path / "next", shop)
    ids = [
        {line.split("\t")[0] for line in content(path / "raw.users.copy.gz").splitlines()}
        for path in (copied, tmp_path / "next")
    ]
    assert len(ids[0]) == len(ids[1]) > 50
    assert ids[0] & ids[1] == set()


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("K1A 0B6", "[ABCEGHJ-NPRSTVXY][0-9][A-Z] [0-9][A-Z][0-9]"),  # Canada
        ("SW1A 1AA", "[A-Z]{2}[0-9][A-Z] [0-9][A-Z]{2}"),  # United Kingdom
        ("110001", "[1-9][0-9]{5}"),  # India
        ("D-10115", "[A-Z]-[0-9]{5}"),  # Germany
        ("00501-0001", "(?!00000)[0-9]{5}-[0-9]{4}"),  # United States
        ("+49 (30) 901820", r"[+]\d\d [(]\d\d[)] \d{6}"),
        ("12 Große Straße", "[1-9]{2} [A-Z][a-z]{4} [A-Z][a-z]{5}"),
        ("Ann", "[A-Z][a-z]{11}"),
        ("Zoë O'Neill", "[A-Z][a-z]{11}"),
        ("Ann@Shop.example", "user-[0-9a-f]{20}@example[.]com"),
        ("/cart/ann?id=7", "https://example[.]com/[0-9a-f]{20}"),
        ("50%", "[1-9]{2}%"),
        ("5" * 300, "[1-9]{300}"),
    ],
)
def test_a_made_up_value_looks_like_the_one_that_it_replaces(db: Connection, value: str, shape: str) -> None:
    with db.cursor() as cursor:
        cursor.execute("create table public.values_of_people as select %s::text as value", (value,))
        cursor.execute("begin")
        replace.make_key(cursor)
        made_up = replace.replaced("value", "text", replace.Rule.VALUE)
        cursor.execute(sql.SQL("select {} from public.values_of_people").format(made_up))
        [[found]] = cursor.fetchall()
        cursor.execute("rollback")
    assert re.fullmatch(shape, found)
    assert found != value


def test_null_and_the_empty_text_stay(db: Connection) -> None:
    with db.cursor() as cursor:
        cursor.execute("create table public.nothing as select null::text as value union all select ''")
        cursor.execute("begin")
        replace.make_key(cursor)
        for rule in (replace.Rule.KEY, replace.Rule.VALUE):
            made_up = replace.replaced("value", "text", rule)
            cursor.execute(sql.SQL("select {} from public.nothing order by 1").format(made_up))
            assert cursor.fetchall() == [("",), (None,)]
        cursor.execute("rollback")


# What a copy of the last days has ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recent(
    server: postgres.LocalPostgres, migrated: str, shop: Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connection]:
    """A warehouse with the last two days of the shop."""
    path = tmp_path_factory.mktemp("masked") / "copy"
    save(path, shop, days=2)
    copy_warehouse(server, migrated, "recent_shop")
    with named_by_the_environment(server.database("recent_shop"), server) as where:
        fill(path, where)
        with connect(where=where) as connection:
            yield connection


def test_the_last_days_are_whole(shop: Warehouse, recent: Connection) -> None:
    since = "(select max(created_at) - interval '2 days' from raw.events)"
    with connect(where=shop) as connection:
        for table in ("events", "orders"):
            asked = f"select count(*) from raw.{table} where created_at >= {since}"
            assert ask(recent, asked) == ask(connection, asked)
            [[all_rows]] = ask(connection, f"select count(*) from raw.{table}")
            assert ask(recent, f"select count(*) from raw.{table}") < [(all_rows,)]


def test_sessions_and_orders_of_the_last_days_come_whole(shop: Warehouse, recent: Connection) -> None:
    """By session and by order as many rows as the shop has, and none of them leads to what is not there."""
    counts = {
        "events": "session_id, count(*), count(distinct order_id)",
        "order_items": "order_id, count(*), sum(quantity)",
    }
    for table, counted in counts.items():
        asked = f"select {counted} from raw.{table} group by 1"
        with connect(where=shop) as connection:
            assert {*ask(recent, asked)} <= {*ask(connection, asked)}
    for table in ("raw.events", "raw.order_items", "snapshots.orders_snapshot"):
        lost = f"select order_id from {table} where order_id not in (select order_id from raw.orders)"
        assert ask(recent, lost) == []


# What is refused -----------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_left_alone(shop: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(MaskedError, match="is not empty; nothing was copied"):
        save(tmp_path, shop)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("value", "what"),
    [("ask ann@shop.example", "an e-mail address"), ("+1 555 0100 200", "a phone number")],
)
def test_what_looks_personal_and_is_not_marked_is_refused_by_name(
    db: Connection, warehouse: Warehouse, tmp_path: Path, value: str, what: str
) -> None:
    with db.cursor() as cursor:
        raw.create(cursor)
        cursor.execute("insert into raw.promos values ('spring', 1, %s, now())", (value,))
    with pytest.raises(MaskedError, match=f"raw.promos.status has a value that looks like {what}"):
        save(tmp_path / "copy", warehouse)
    assert [*tmp_path.iterdir()] == []
    save(tmp_path / "copy", warehouse, plain=["raw.promos.status"])
    assert value in content(tmp_path / "copy" / "raw.promos.copy.gz")


def test_what_a_project_marks_is_replaced(db: Connection, warehouse: Warehouse, tmp_path: Path) -> None:
    """As the publish noted it: a text, and a number, which has no made-up value."""
    with db.cursor() as cursor:
        raw.create(cursor)
        cursor.execute("create table snapshots.notes as select 'likes ferns' as note, 1970 as born, 'a' as kind")
        personal.note(cursor, {"note": None, "born": None})
    save(tmp_path / "copy", warehouse)
    [note, born, kind] = content(tmp_path / "copy" / "snapshots.notes.copy.gz").rstrip("\n").split("\t")
    assert re.fullmatch("[A-Z][a-z]{11}", note)
    assert (born, kind) == ("\\N", "a")


def test_a_key_of_people_that_is_a_number_is_refused(db: Connection, warehouse: Warehouse, tmp_path: Path) -> None:
    with db.cursor() as cursor:
        raw.create(cursor)
        cursor.execute("create table snapshots.people as select 1 as user_id")
    with pytest.raises(MaskedError, match="user_id is marked as a key of people"):
        save(tmp_path / "copy", warehouse)


def test_a_raw_column_that_nobody_declared_is_left_out(db: Connection, warehouse: Warehouse, tmp_path: Path) -> None:
    with db.cursor() as cursor:
        raw.create(cursor)
        cursor.execute("alter table raw.promos add column secret text")
        cursor.execute("insert into raw.promos values ('spring', 1, 'active', now(), 'ann@example.com')")
    contents = save(tmp_path / "copy", warehouse)
    assert "ann@example.com" not in content(tmp_path / "copy" / "raw.promos.copy.gz")
    assert "Left out, as nobody declared it: raw.promos.secret." in command.in_words(contents)


@pytest.fixture
def spoilt(copied: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(copied, tmp_path / "spoilt"))


@pytest.mark.parametrize("spoil", ["changed", "cut off", "missing", "of no copy", "another type"])
def test_a_copy_that_is_not_as_it_was_written_brings_nothing_in(
    db: Connection, warehouse: Warehouse, spoilt: Path, spoil: str
) -> None:
    file = spoilt / "raw.users.copy.gz"
    match spoil:
        case "changed":
            file.write_bytes(gzip.compress(content(file).replace("example.com", "example.org").encode()))
        case "cut off":
            file.write_bytes(file.read_bytes()[:-100])
        case "missing":
            file.unlink()
        case "of no copy":
            (spoilt / "masked.json").write_text("{}")
        case "another type":
            contents = (spoilt / "masked.json").read_text()
            (spoilt / "masked.json").write_text(contents.replace('"kind": "text"', '"kind": "text); drop schema ops"'))
    with pytest.raises(MaskedError):
        fill(spoilt, warehouse)
    assert ask(db, "select to_regclass('raw.users'), to_regnamespace('ops') is null") == [(None, False)]


def test_a_warehouse_that_holds_rows_is_left_alone(db: Connection, warehouse: Warehouse, copied: Path) -> None:
    with db.cursor() as cursor:
        raw.create(cursor)
        cursor.execute("insert into raw.promos values ('spring', 1, 'active', now())")
    with pytest.raises(MaskedError, match=r"holds rows \(raw.promos\); nothing was brought in"):
        fill(copied, warehouse)
    assert ask(db, "select count(*) from raw.promos") == [(1,)]


def test_a_copy_that_is_killed_is_not_there_and_the_next_one_is(
    db: Connection, warehouse: Warehouse, tmp_path: Path
) -> None:
    """It waits for somebody's lock on a table when most of the others are written."""
    with db.cursor() as cursor:
        raw.create(cursor)
        cursor.execute("begin; lock raw.promos in access exclusive mode")
    written = tmp_path / ".draft-copy" / "raw.products.copy.gz"
    with subprocess.Popen(
        [sys.executable, "-m", "include.masked", "save", str(tmp_path / "copy")],
        cwd=PROJECT_ROOT,
        env={**os.environ, "WAREHOUSE_DEVELOPER_USER": warehouse.user},
    ) as saving:
        wait_for(written.exists, "it has written tables")
        saving.kill()
    assert not (tmp_path / "copy").exists()
    with db.cursor() as cursor:
        cursor.execute("rollback")
    save(tmp_path / "copy", warehouse)
    assert [file.name for file in tmp_path.iterdir()] == ["copy"]
    check(tmp_path / "copy")
