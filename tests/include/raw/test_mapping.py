"""A mapping that doesn't fit is refused with the place that is wrong, and nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.raw import lease, mapping
from include.raw.__main__ import main
from include.raw.mapping import MappingError
from include.settings import Warehouse
from include.warehouse import migrate
from tests.include.raw.conftest import connect_to, value

pytestmark = pytest.mark.db

Show = Callable[[str], Connection]


@pytest.fixture
def shown(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    """Runs `python -m include.raw` with a mapping; returns the connection to look at what it made."""
    connection = connect_to(warehouse)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("drop schema if exists laden cascade")
        cursor.execute("create schema laden")
        cursor.execute('create table laden.gutscheine ("Code" text, nachlass text, um timestamp, bis integer)')
        cursor.execute("insert into laden.gutscheine values ('SPRING', '2.5', '2021-01-01 12:00', 3)")
    for name, setting in warehouse.environment().items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setenv("GREENERY_DBT_DIR", str(tmp_path))

    def show(text: str) -> Connection:
        (tmp_path / mapping.FILE).write_text(text)
        assert main() == 0
        return connection

    yield show
    with connection.cursor() as cursor:
        cursor.execute("drop schema laden cascade")
    connection.close()


GOOD = """
schema: laden
tables:
  promos:
    table: gutscheine
    columns: {promo_id: Code, discount: nachlass, _loaded_at: um}
    expressions: {status: "case when bis > 2 and '%' <> '{' then 'active' else 'inactive' end"}
"""


def test_a_view_has_the_contracts_names_and_types_and_reads_moments_as_utc(shown: Show):
    db = shown(GOOD)
    with db.cursor() as cursor:
        cursor.execute("set timezone to 'America/New_York'")
        cursor.execute("select promo_id, discount = 2.5, status, _loaded_at = '2021-01-01 12:00+00' from raw.promos")
        assert cursor.fetchall() == [("SPRING", True, "active", True)]
    assert value(db, "select count(*) from raw.orders") == 0, "what is not mapped is a table"
    shown(GOOD.replace("bis > 2", "bis > 5"))
    assert value(db, "select status from raw.promos") == "inactive"


def test_a_day_begins_in_utc(shown: Show):
    db = shown("")
    with db.cursor() as cursor:
        cursor.execute("drop table raw.promos; alter table laden.gutscheine alter column um type date")
    shown(GOOD)
    with db.cursor() as cursor:
        cursor.execute("set timezone to 'America/New_York'")
    assert value(db, "select _loaded_at = '2021-01-01 00:00+00' from raw.promos")


def test_a_view_of_a_table_that_was_renamed_shows_another_one_than_is_mapped(shown: Show, tmp_path: Path):
    db = shown(GOOD)
    assert mapping.problem(tmp_path) is None
    with db.cursor() as cursor:
        cursor.execute("alter table laden.gutscheine rename to former")
        cursor.execute("create table laden.gutscheine (like laden.former)")
    assert "raw.promos does not show what" in mapping.problem(tmp_path)
    shown(GOOD)
    assert mapping.problem(tmp_path) is None


def test_no_view_is_replaced_under_a_run(shown: Show, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    db = shown(GOOD)
    migrate.upgrade()
    lease.take(db, "run one")
    (tmp_path / mapping.FILE).write_text(GOOD.replace("bis > 2", "bis > 5"))
    try:
        assert main() == 1
    finally:
        lease.release(db, "run one")
    assert "run one reads the raw tables since" in capsys.readouterr().err
    assert value(db, "select status from raw.promos") == "active"
    assert main() == 0


@pytest.mark.parametrize(
    ("this", "that", "said"),
    [
        ("promos:", "promotions:", "promotions is none of addresses"),
        ("discount: nachlass", "rebate: nachlass", "columns of promos: rebate is none of"),
        (
            "discount: nachlass",
            "discount: rabatt",
            "laden.gutscheine has no column rabatt.*it has Code, nachlass, um, bis",
        ),
        ("table: gutscheine", "table: coupons", "there is no table"),
        ("discount: nachlass", "status: bis", "promos: status is both"),
        ("_loaded_at: um", "_loaded_at: null", "promos: _loaded_at can't be null"),
        ("discount: nachlass", "discount: 7", "promos: 7 should be a name"),
        ("bis > 2", "bis >", "promos: syntax error"),
        ("tables:", "tables: [", "raw_mapping.yml: while parsing"),
        ("schema: laden\n", "", "promos: None should be a name"),
        ("schema: laden", "schema: raw", "there is no table"),
        ("schema: laden", "schema: raw\nraw: 1", "it: raw is none of schema, tables"),
    ],
)
def test_what_does_not_fit_is_said_and_changes_nothing(
    shown: Show, capsys: pytest.CaptureFixture[str], this: str, that: str, said: str
):
    db = shown("")
    with db.cursor() as cursor:
        cursor.execute("drop schema raw cascade")
    with pytest.raises(AssertionError):
        shown(GOOD.replace(this, that))
    assert re.search(said, capsys.readouterr().err, re.S)
    assert value(db, "select to_regnamespace('raw') is null")


def test_a_table_that_is_there_is_not_replaced_and_a_view_that_is_mapped_no_more_is_not_left(
    shown: Show, capsys: pytest.CaptureFixture[str]
):
    db = shown("")
    with pytest.raises(AssertionError):
        shown(GOOD)
    assert "raw.promos is a table" in capsys.readouterr().err
    with db.cursor() as cursor:
        cursor.execute("drop table raw.promos")
    shown(GOOD)
    with pytest.raises(AssertionError):
        shown("")
    assert "`drop view raw.promos cascade`" in capsys.readouterr().err


def test_a_table_is_not_shown_in_its_own_place():
    with pytest.raises(MappingError, match=r"raw\.promos can't be shown in its own place.*GREENERY_RAW_SCHEMA"):
        mapping._mapped("promos", {}, "raw")


def test_of_a_shop_in_another_database_the_schema_is_known_and_may_be_called_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://shop.example/shop")
    monkeypatch.setenv("SHOP_DATABASE_SCHEMA", "raw")
    (tmp_path / mapping.FILE).write_text("tables: {promos: {columns: {_loaded_at: null}}}")
    assert mapping.read(tmp_path)["promos"] == mapping.Mapped("raw", "promos", {"_loaded_at": None}, {})


@pytest.mark.parametrize("name", ["", "Raw", "raw tables", "analytics", "ops", 'raw"; drop'])
def test_the_raw_schema_has_a_plain_name_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GREENERY_RAW_SCHEMA", name)
    with pytest.raises(ValueError, match="GREENERY_RAW_SCHEMA"):
        settings.raw_schema()
