"""The CSV loader: a faithful replica of good files, and an error that names the place for bad ones."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from include.demo_shop import demo
from include.raw import csv_loader, load
from include.raw.contract import TABLES
from include.raw.csv_file import LONGEST_RECORD
from include.raw.csv_loader import CsvError, load_folder
from include.raw.load import LoadError, TableReport, loaded_from
from include.settings import Warehouse
from include.warehouse import transaction
from tests.include.raw.conftest import connect_to, contents, query, value

pytestmark = pytest.mark.db

PROMOS = "promo_id,discount,status\n"
COUNTS = {
    "users": 130,
    "addresses": 150,
    "products": 30,
    "promos": 6,
    "orders": 361,
    "order_items": 862,
    "events": 3553,
}


def promos(db: Connection, folder: Path, text: str | bytes) -> list[tuple]:
    """What raw.promos holds after promos.csv with this text was loaded."""
    (folder / "promos.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    load_folder(db, folder)
    return query(db, "select promo_id, discount, status from raw.promos order by promo_id, status")


# Good files.


def test_the_tables_hold_what_the_files_hold(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    held = contents(db)
    assert held["order_items"] == [("o1", "p1", 1), ("o2", "p2", 2)]
    assert held["products"] == [("p1", "Postcard Pothos", Decimal("30.5"), 40), ("p2", "Quiet ZZ", Decimal(25), 12)]
    assert held["orders"][0][8:] == (None, None, None, None, "preparing")


def test_every_row_carries_the_time_of_its_load(db: Connection, folder: Path) -> None:
    report = load_folder(db, folder)
    stamps = {row[-1] for rows in contents(db, stamps=True).values() for row in rows}
    assert stamps == {report.loaded_at}


def test_each_load_is_noted_with_the_folders_name(db: Connection, folder: Path) -> None:
    report = load_folder(db, folder)
    noted = query(db, "select table_name, loaded_at, rows, loaded_from from raw.loads order by 1")
    assert noted == [(name, report.loaded_at, len(rows), "small-shop") for name, rows in sorted(contents(db).items())]


def test_a_load_that_changes_nothing_is_noted_too(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    again = load_folder(db, folder)
    noted = query(db, "select table_name, rows from raw.loads where loaded_at = %s", again.loaded_at)
    assert sorted(noted) == [(name, 0) for name in sorted(TABLES)]


def test_the_origin_is_the_folders_name(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    assert loaded_from(db) == "small-shop"


def test_the_origin_is_none_before_anything_was_loaded(db: Connection) -> None:
    assert loaded_from(db) is None


def test_a_folder_called_like_the_demo_is_told_apart_from_it(db: Connection, folder: Path) -> None:
    load_folder(db, folder.rename(folder.parent / "demo"))
    assert loaded_from(db) != demo.NAME


def test_crlf_and_no_final_newline(db: Connection, folder: Path) -> None:
    assert promos(db, folder, "promo_id,discount,status\r\na,1,active\r\nb,2,inactive") == [
        ("a", 1, "active"),
        ("b", 2, "inactive"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(db: Connection, folder: Path) -> None:
    assert promos(db, folder, "\ufeff" + PROMOS + "a,1,active\n") == [("a", 1, "active")]


def test_a_spreadsheets_mark_line_ends_and_quotes_change_nothing(db: Connection, folder: Path) -> None:
    text = "\ufeff" + '"promo_id","discount","status"\r\n"a, b",1,active\r\n"c",,inactive\r\n'
    assert promos(db, folder, text) == [("a, b", 1, "active"), ("c", None, "inactive")]


def test_a_value_of_a_megabyte_is_kept(db: Connection, folder: Path) -> None:
    _replace_in(folder / "products.csv", "Quiet ZZ", "ZZ," * 350_000)
    with pytest.raises(CsvError, match=r"^products.csv, line 3, column after inventory: the line has 350004 values"):
        load_folder(db, folder)
    _replace_in(folder / "products.csv", "ZZ," * 350_000, '"' + "ZZ," * 350_000 + '"')
    load_folder(db, folder)
    assert value(db, "select length(name) from raw.products where product_id = 'p2'") == 1_050_000


def test_unicode_is_kept(db: Connection, folder: Path) -> None:
    assert promos(db, folder, PROMOS + "Grünzeug 🌿,1,żółć\n") == [("Grünzeug 🌿", 1, "żółć")]


def test_quotes_hold_commas_quotes_and_line_breaks(db: Connection, folder: Path) -> None:
    text = PROMOS + '"a, ""b""\nc\r\nd",1,active\n'
    assert promos(db, folder, text) == [('a, "b"\nc\r\nd', 1, "active")]


def test_nothing_is_null_and_quoted_nothing_is_the_empty_string(db: Connection, folder: Path) -> None:
    assert promos(db, folder, PROMOS + 'a,,""\nb,2,\n') == [("a", None, ""), ("b", 2, None)]


@pytest.mark.parametrize("text", [r"\N", r"a\tb", "back\\slash", "tab\there", " spaces ", r"\.", "NULL", "'; --"])
def test_text_is_kept_to_the_letter(db: Connection, folder: Path, text: str) -> None:
    assert promos(db, folder, f"{PROMOS}{text},1,active\n") == [(text, 1, "active")]


def test_a_zip_code_keeps_its_zero(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    assert value(db, "select zipcode from raw.addresses") == "02134"


@pytest.mark.parametrize(
    "text",
    [
        "2021-02-10T00:00:05Z",
        "2021-02-10 00:00:05",
        "2021-02-10T02:00:05+02:00",
        "2021-02-09 19:00:05-05",
        "2021-02-10T00:00:05.000",
    ],
)
def test_a_timestamp_is_utc_unless_it_says_otherwise(warehouse: Warehouse, folder: Path, text: str) -> None:
    _replace_in(folder / "events.csv", "2021-02-10T11:59:00Z", text)
    elsewhere = connect_to(warehouse)
    elsewhere.cursor().execute("set timezone to 'America/New_York'")
    load_folder(elsewhere, folder)
    stamp = value(elsewhere, "select created_at from raw.events where event_id = 'e1'")
    elsewhere.close()
    assert stamp == datetime(2021, 2, 10, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(("text", "number"), [("12.50", "12.5"), ("-3", "-3"), (".5", "0.5"), ("1E+2", "100")])
def test_a_number_is_read_as_it_is_written(db: Connection, folder: Path, text: str, number: str) -> None:
    assert promos(db, folder, f"{PROMOS}a,{text},active\n") == [("a", Decimal(number), "active")]


def test_columns_may_stand_in_any_order(db: Connection, folder: Path) -> None:
    assert promos(db, folder, "status,promo_id,discount\nactive,a,1\n") == [("a", 1, "active")]


def test_an_extra_column_is_left_out(db: Connection, folder: Path) -> None:
    assert promos(db, folder, "promo_id,colour,discount,status\na,green,1,active\n") == [("a", 1, "active")]


def test_an_extra_column_is_said(db: Connection, folder: Path) -> None:
    (folder / "promos.csv").write_text("promo_id,colour,discount,status\na,green,1,active\n")
    assert load_folder(db, folder).notes == ("promos.csv: column colour is not one of the table's and was ignored",)


def test_empty_lines_at_the_end_are_no_rows(db: Connection, folder: Path) -> None:
    assert promos(db, folder, PROMOS + "a,1,active\n\n\r\n") == [("a", 1, "active")]


def test_a_header_alone_is_an_empty_table(db: Connection, folder: Path) -> None:
    assert promos(db, folder, PROMOS) == []


def test_orphans_are_loaded(db: Connection, folder: Path) -> None:
    _append(folder / "order_items.csv", "no-order,no-product,1\n")
    load_folder(db, folder)
    assert ("no-order", "no-product", 1) in contents(db)["order_items"]


# What changed between two loads.


def test_the_same_files_again_change_no_row_and_no_stamp(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    before = contents(db, stamps=True)
    report = load_folder(db, folder)
    assert contents(db, stamps=True) == before
    assert report.changed == 0


def test_only_a_changed_row_gets_a_new_stamp(db: Connection, folder: Path) -> None:
    first = load_folder(db, folder)
    _replace_in(folder / "orders.csv", "o1,u1,,a1", "o1,u1,,a2")
    second = load_folder(db, folder)
    stamps = dict(query(db, "select order_id, _loaded_at from raw.orders"))
    assert stamps == {"o1": second.loaded_at, "o2": first.loaded_at}
    assert second.tables["orders"] == TableReport(updated=1, unchanged=1)


def test_a_changed_row_is_no_deletion(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    _replace_in(folder / "orders.csv", "o1,u1,,a1", "o1,u1,,a2")
    load_folder(db, folder)
    assert query(db, "select * from raw.deletions") == []


def test_null_that_becomes_the_empty_string_is_a_change(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    _replace_in(folder / "orders.csv", "o1,u1,,a1", 'o1,u1,"",a1')
    assert load_folder(db, folder).tables["orders"].updated == 1


def test_a_number_written_in_another_way_is_no_change(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    _replace_in(folder / "products.csv", "30.5", "30.50")
    assert load_folder(db, folder).changed == 0


def test_a_row_that_is_gone_is_gone(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    _replace_in(folder / "order_items.csv", "o1,p1,1\n", "")
    report = load_folder(db, folder)
    assert contents(db)["order_items"] == [("o2", "p2", 2)]
    assert report.tables["order_items"] == TableReport(deleted=1, unchanged=1)


def test_the_key_of_a_row_that_is_gone_is_noted(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    _replace_in(folder / "order_items.csv", "o1,p1,1\n", "")
    report = load_folder(db, folder)
    assert query(db, "select * from raw.deletions") == [("order_items", "o1/p1", report.loaded_at)]


def test_a_doubled_row_is_loaded_twice_and_the_new_one_alone_has_the_new_stamp(db: Connection, folder: Path) -> None:
    first = load_folder(db, folder)
    _append(folder / "order_items.csv", "o1,p1,1\n")
    second = load_folder(db, folder)
    stamps = [row[0] for row in query(db, "select _loaded_at from raw.order_items where order_id = 'o1' order by 1")]
    assert stamps == [first.loaded_at, second.loaded_at]


def test_of_a_mended_duplicate_the_row_that_was_there_first_stays(db: Connection, folder: Path) -> None:
    first = load_folder(db, folder)
    _append(folder / "order_items.csv", "o1,p1,1\n")
    load_folder(db, folder)
    _replace_in(folder / "order_items.csv", "o2,p2,2\no1,p1,1\n", "o2,p2,2\n")
    load_folder(db, folder)
    assert query(db, "select _loaded_at from raw.order_items where order_id = 'o1'") == [(first.loaded_at,)]


def test_a_mended_duplicate_is_noted_though_its_key_is_still_there(db: Connection, folder: Path) -> None:
    _append(folder / "order_items.csv", "o1,p1,1\n")
    load_folder(db, folder)
    _replace_in(folder / "order_items.csv", "o2,p2,2\no1,p1,1\n", "o2,p2,2\n")
    load_folder(db, folder)
    assert query(db, "select table_name, key from raw.deletions") == [("order_items", "o1/p1")]


def test_a_key_with_two_different_rows_is_mended_by_taking_one_out(db: Connection, folder: Path) -> None:
    first = load_folder(db, folder)
    _append(folder / "order_items.csv", "o1,p1,9\n")
    load_folder(db, folder)
    _replace_in(folder / "order_items.csv", "o1,p1,9\n", "")
    load_folder(db, folder)
    kept = query(db, "select quantity, _loaded_at from raw.order_items where order_id = 'o1'")
    assert kept == [(1, first.loaded_at)]
    assert query(db, "select key from raw.deletions") == [("o1/p1",)]


def test_the_demo_gives_way_to_files(db: Connection, folder: Path) -> None:
    demo.play_day(db, 1, orders_per_day=5)
    load_folder(db, folder)
    assert [row[0] for row in contents(db)["orders"]] == ["o1", "o2"]


# Bad files: each case is file, what to replace, with what, and where and what the error says is wrong.

BAD_FILES = {
    "no integer": ("order_items", "o1,p1,1", "o1,p1,one", 2, "quantity", '"one" is no integer'),
    "a fraction for an integer": ("order_items", "o2,p2,2", "o2,p2,2.0", 3, "quantity", '"2.0" is no integer'),
    "an integer too large": ("order_items", "o2,p2,2", "o2,p2,2147483648", 3, "quantity", "is no integer"),
    "quoted nothing for an integer": ("order_items", "o2,p2,2", 'o2,p2,""', 3, "quantity", '"" is no integer'),
    "no number": ("products", "25.0", "25.0 $", 3, "price", '"25.0 $" is no number'),
    "not a number": ("products", "25.0", "NaN", 3, "price", '"NaN" is no number'),
    "infinity": ("products", "25.0", "infinity", 3, "price", '"infinity" is no number'),
    "a decimal comma": ("products", "25.0", '"25,0"', 3, "price", '"25,0" is no number'),
    "no timestamp": ("events", "2021-02-10T12:00:00Z", "soon", 3, "created_at", '"soon" is no timestamp'),
    "a word for a timestamp": ("events", "2021-02-10T12:00:00Z", "now", 3, "created_at", '"now" is no timestamp'),
    "no such day": ("events", "2021-02-10T12", "2021-02-30T12", 3, "created_at", "is no timestamp"),
    "no such zone": ("events", "2021-02-10T12:00:00Z", "2021-02-10T12:00:00+20", 3, "created_at", "is no timestamp"),
    "a date of two readings": ("users", "2021-01-05T10:00:00Z", "01/05/2021", 2, "created_at", "is no timestamp"),
    "a line cut short": ("order_items", "o2,p2,2\n", "o2,p", 3, "quantity", "2 values, the header 3 columns"),
    "a line too long": ("order_items", "o1,p1,1", "o1,p1,1,1", 2, "after quantity", "4 values, the header 3 columns"),
    "an open quote": ("products", "Quiet ZZ", '"Quiet ZZ', 3, "name", "a quote opens here and is never closed"),
    "a quote within": ("products", "Quiet ZZ", 'Quiet "ZZ"', 3, "name", "a quote stands inside a value"),
    "text after a quote": ("products", "Quiet ZZ", '"Quiet" ZZ', 3, "name", "a quote stands inside a value"),
    "an empty line": ("order_items", "o1,p1,1\n", "o1,p1,1\n\n", 3, None, "the line is empty"),
    "a NUL byte": ("products", "Quiet ZZ", "Quiet\0ZZ", 3, "name", "there is a NUL byte"),
    "a key without end": ("products", "p1,", f"{'k' * 4000},", 2, "product_id", "an id of 4,000 bytes, and Postgres"),
    "a missing column": ("promos", "discount", "rebate", 1, "discount", "the column is missing from the header"),
    "two files in one": (
        "addresses",
        "United States\n",
        "United States\naddress_id,address,zipcode,state,country\na2,2 Peat Row,02134,Ohio,United States\n",
        3,
        None,
        "the header comes again: two files were put together",
    ),
    "two files in one, each with a mark": (
        "addresses",
        "United States\n",
        "United States\n\ufeffaddress_id,address,zipcode,state,country\na2,2 Peat Row,02134,Ohio,United States\n",
        3,
        None,
        "the header comes again: two files were put together",
    ),
    "a column twice": ("promos", "promo_id,", "promo_id,status,", 1, "status", "the header names the column twice"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "line", "column", "problem"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_by_file_line_and_column(
    db: Connection, folder: Path, file: str, old: str, new: str, line: int, column: str | None, problem: str
) -> None:
    _replace_in(folder / f"{file}.csv", old, new)
    with pytest.raises(CsvError) as refused:
        load_folder(db, folder)
    error = refused.value
    assert (error.file, error.line, error.column) == (f"{file}.csv", line, column)
    assert problem in str(error)
    assert str(error).startswith(f"{file}.csv, line {line}{f', column {column}' if column else ''}: ")


def test_the_line_is_counted_through_line_breaks_in_quotes(db: Connection, folder: Path) -> None:
    _replace_in(folder / "products.csv", "Postcard Pothos", '"Postcard\nPothos"')
    _replace_in(folder / "products.csv", "25.0", "cheap")
    with pytest.raises(CsvError, match=r"^products.csv, line 4, column price: "):
        load_folder(db, folder)


def test_bytes_that_are_no_utf8_are_refused_by_line_and_column(db: Connection, folder: Path) -> None:
    (folder / "promos.csv").write_bytes(PROMOS.encode() + b"a,1,caf\xe9\n")
    with pytest.raises(
        CsvError, match=r"^promos.csv, line 2, column status: byte 0xe9 is no UTF-8; save the file as UTF-8"
    ):
        load_folder(db, folder)


# What people really deliver in place of a CSV file, and what is to be said of it.
NO_CSV = {
    "UTF-16": (PROMOS.encode("utf-16"), "the file is UTF-16; save it as UTF-8"),
    "UTF-16 without its mark": (PROMOS.encode("utf-16-le"), "the file is UTF-16; save it as UTF-8"),
    "UTF-16 of the other order": (PROMOS.encode("utf-16-be"), "the file is UTF-16; save it as UTF-8"),
    "a workbook": (b"PK\x03\x04\x14\x00\x06\x00", "a workbook or another zip archive; export it as CSV"),
    "a compressed file": (gzip.compress(PROMOS.encode()), "the file is compressed by gzip; unpack it"),
    "semicolons": (
        PROMOS.replace(",", ";").encode(),
        "line 1: the values are divided by semicolons; save the file with commas",
    ),
    "semicolons and quotes": (
        b'"promo_id";"discount";"status"\n"spring";"3";"active"\n',
        "line 1: the values are divided by semicolons; save the file with commas",
    ),
    "tabs": (PROMOS.replace(",", "\t").encode(), "line 1: the values are divided by tabs; save the file with commas"),
    "bars": (PROMOS.replace(",", "|").encode(), "line 1: the values are divided by bars; save the file with commas"),
    "upper case": (
        PROMOS.upper().encode(),
        "line 1, column promo_id: the header writes it PROMO_ID; write promo_id",
    ),
    "spaces for underscores": (
        PROMOS.replace("promo_id", "Promo ID").encode(),
        "line 1, column promo_id: the header writes it Promo ID; write promo_id",
    ),
    "no header": (
        b"spring,3,active\n",
        "line 1: there is no header; the first line must name the columns: promo_id,discount,status",
    ),
}


@pytest.mark.parametrize(("content", "said"), NO_CSV.values(), ids=NO_CSV)
def test_what_is_no_csv_file_is_called_what_it_is(db: Connection, folder: Path, content: bytes, said: str) -> None:
    (folder / "promos.csv").write_bytes(content)
    with pytest.raises(CsvError) as refused:
        load_folder(db, folder)
    assert said in str(refused.value)


def test_a_missing_file_is_named(db: Connection, folder: Path) -> None:
    (folder / "orders.csv").unlink()
    with pytest.raises(CsvError, match=r"^orders.csv: the file is missing; put it into small-shop/"):
        load_folder(db, folder)


def test_a_file_that_is_a_folder_is_refused(db: Connection, folder: Path) -> None:
    (folder / "orders.csv").unlink()
    (folder / "orders.csv").mkdir()
    with pytest.raises(CsvError, match=r"^orders.csv: the file can't be read"):
        load_folder(db, folder)


def test_an_empty_file_is_refused(db: Connection, folder: Path) -> None:
    (folder / "orders.csv").write_text("")
    with pytest.raises(CsvError, match=r"^orders.csv, line 1: there is no header; the first line must name"):
        load_folder(db, folder)


def test_a_missing_folder_is_named(db: Connection, tmp_path: Path) -> None:
    with pytest.raises(CsvError, match="nowhere: there is no such folder"):
        load_folder(db, tmp_path / "nowhere")


def test_a_value_of_thousands_of_lines_is_taken_for_a_quote_left_open(db: Connection, folder: Path) -> None:
    _append(folder / "promos.csv", '"open,1,active\n' + "x,1,active\n" * 2 * LONGEST_RECORD + '",1,active\n')
    with pytest.raises(CsvError, match=r"^promos.csv, line 3, column promo_id: a quote opens here and is never closed"):
        load_folder(db, folder)


def test_a_refused_load_leaves_the_warehouse_as_it_was(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    before = contents(db, stamps=True), query(db, "select * from raw.loads"), query(db, "select * from raw.deletions")
    _replace_in(folder / "addresses.csv", "a1,", "a2,")
    _replace_in(folder / "events.csv", "2021-02-10T12:00:00Z", "soon")
    with pytest.raises(CsvError):
        load_folder(db, folder)
    after = contents(db, stamps=True), query(db, "select * from raw.loads"), query(db, "select * from raw.deletions")
    assert after == before


def test_a_failure_of_the_database_half_way_leaves_the_warehouse_as_it_was(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    db.cursor().execute("alter table raw.events add constraint picky check (event_type <> 'wish')")
    before = contents(db, stamps=True)
    _replace_in(folder / "addresses.csv", "a1,", "a2,")
    _replace_in(folder / "events.csv", "page_view", "wish")
    with pytest.raises(psycopg2.errors.CheckViolation):
        load_folder(db, folder)
    assert contents(db, stamps=True) == before


def test_a_row_that_somebody_else_moves_during_the_load_stops_it(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    # Such a row is not found where it was: it is passed over, as with this trigger.
    db.cursor().execute(
        "create function raw.pass_over() returns trigger language plpgsql as $$ begin return null; end $$;"
        " create trigger pass_over before delete on raw.orders for each row execute function raw.pass_over()"
    )
    before = contents(db, stamps=True)
    _replace_in(folder / "orders.csv", "o1,u1,,a1", "o1,u1,,a2")
    with pytest.raises(LoadError, match=r"raw.orders was written to by somebody else during the load; load again"):
        load_folder(db, folder)
    assert contents(db, stamps=True) == before


def test_an_id_that_no_index_can_hold_is_told_with_its_table(db: Connection, folder: Path) -> None:
    """By whatever loads it: a CSV file with it is refused before."""
    load_folder(db, folder)
    before = contents(db, stamps=True)
    rows = {name: load.Rows() for name in TABLES}
    too_long = "".join(sha256(str(number).encode()).hexdigest() for number in range(150))
    rows["promos"].extend([load.line([too_long, "1", "active"])])
    with transaction(db) as cursor:
        load.prepare(cursor)
    with pytest.raises(LoadError, match=r"raw\.promos got an id that is too long"), transaction(db) as cursor:
        load.replace(cursor, rows, "a test")
    assert contents(db, stamps=True) == before


def test_after_a_failure_the_callers_transaction_goes_on(warehouse: Warehouse, db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    db.cursor().execute("alter table raw.events add constraint picky check (event_type <> 'wish')")
    original = (folder / "events.csv").read_text()
    caller = connect_to(warehouse)
    _replace_in(folder / "events.csv", "page_view", "wish")
    with pytest.raises(psycopg2.errors.CheckViolation):
        load_folder(caller, folder)
    (folder / "events.csv").write_text(original)
    _append(folder / "promos.csv", "second,3,active\n")
    load_folder(caller, folder)
    caller.commit()
    caller.close()
    assert value(db, "select count(*) from raw.promos") == 2


# The shop's real data.


def test_the_real_data_is_loaded_to_the_last_row(db: Connection, real_data: Path) -> None:
    report = load_folder(db, real_data)
    assert {name: len(rows) for name, rows in contents(db).items()} == COUNTS
    assert {name: counts.inserted for name, counts in report.tables.items()} == COUNTS


def test_the_real_orders_are_worth_what_they_are_worth(db: Connection, real_data: Path) -> None:
    load_folder(db, real_data)
    assert value(db, "select sum(order_total) from raw.orders") == Decimal("91351.57")


def test_the_real_data_is_read_as_pythons_csv_reads_it(db: Connection, real_data: Path) -> None:
    load_folder(db, real_data)
    for table in TABLES.values():
        texts = [name for name, kind in table.columns.items() if kind in ("text", "integer")]
        with (real_data / f"{table.name}.csv").open(newline="") as file:
            expected = Counter(tuple(row[name] for name in texts) for row in csv.DictReader(file))
        columns = ", ".join(f"coalesce({name}::text, '')" for name in texts)
        assert Counter(query(db, f"select {columns} from raw.{table.name}")) == expected


def test_the_real_data_again_changes_nothing(db: Connection, real_data: Path) -> None:
    load_folder(db, real_data)
    before = contents(db, stamps=True)
    assert load_folder(db, real_data).changed == 0
    assert contents(db, stamps=True) == before


def test_a_changed_copy_of_the_real_data_changes_those_rows_alone(
    db: Connection, real_data: Path, tmp_path: Path
) -> None:
    first = load_folder(db, real_data)
    week_2 = Path(shutil.copytree(real_data, tmp_path / "week-2", copy_function=shutil.copyfile))
    orders = (week_2 / "orders.csv").read_text().splitlines()
    preparing = [number for number, line in enumerate(orders) if line.endswith("preparing")][:3]
    for number in preparing:
        orders[number] = orders[number].replace(",,,,,preparing", ",1Z999,ups,2021-02-20T00:00:00Z,,shipped")
    gone = orders.pop().split(",")[0]
    (week_2 / "orders.csv").write_text("\n".join(orders))
    second = load_folder(db, week_2)
    assert second.tables["orders"] == TableReport(updated=3, deleted=1, unchanged=357)
    assert second.changed == 4
    stamps = Counter(row[0] for row in query(db, "select _loaded_at from raw.orders"))
    assert stamps == {first.loaded_at: 357, second.loaded_at: 3}
    assert query(db, "select table_name, key from raw.deletions") == [("orders", gone)]


# Whatever the files hold.

_KEYS = st.sampled_from(["o1", "o2", None])
_ITEMS = st.lists(st.tuples(_KEYS, st.sampled_from(["p1", ""]), st.sampled_from([1, 2, None])), max_size=7)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads=st.lists(_ITEMS, min_size=1, max_size=4))
def test_after_any_loads_the_table_is_the_last_file_and_equal_rows_keep_their_oldest_stamps(
    db: Connection, folder: Path, loads: list[list[tuple]]
) -> None:
    db.cursor().execute("drop schema if exists raw cascade")
    expected: dict[tuple, list[datetime]] = {}
    for items in loads:
        _write(folder / "order_items.csv", ["order_id", "product_id", "quantity"], items)
        loaded_at = load_folder(db, folder).loaded_at
        gone = _fewer(expected, items)
        expected = {
            item: (expected.get(item, []) + [loaded_at] * count)[:count] for item, count in Counter(items).items()
        }
        held: dict[tuple, list[datetime]] = {}
        for *item, stamp in query(db, "select *from raw.order_items order by _loaded_at"):
            held.setdefault(tuple(item), []).append(stamp)
        assert held == expected
        noted = query(
            db, "select key from raw.deletions where deleted_at = %s and table_name = 'order_items'", loaded_at
        )
        assert sorted(row[0] for row in noted) == gone


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), max_size=5
    )
)
def test_any_text_comes_through_to_the_letter(db: Connection, folder: Path, texts: list[str | None]) -> None:
    _write(folder / "promos.csv", ["promo_id", "discount", "status"], [(text, 1, None) for text in texts])
    load_folder(db, folder)
    assert Counter(row[0] for row in query(db, "select promo_id from raw.promos")) == Counter(texts)


# The command.


@pytest.fixture
def command(db: Connection, warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command names: a folder, and a warehouse in the environment."""
    for name, setting in warehouse.environment().items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setattr("sys.argv", ["csv_loader", str(folder)])
    return folder


def test_the_command_loads_a_folder_and_says_what_changed(
    db: Connection, command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv_loader.main()
    assert "orders 2 new" in capsys.readouterr().out
    assert value(db, "select count(*) from raw.orders") == 2


def test_the_command_says_what_is_wrong_with_a_file(
    db: Connection, command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (command / "users.csv").unlink()
    with pytest.raises(SystemExit, match="1"):
        csv_loader.main()
    assert capsys.readouterr().err.startswith("users.csv: the file is missing")


def test_the_command_says_in_words_what_the_database_refuses(
    db: Connection, command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_folder(db, command)
    db.cursor().execute("alter table raw.promos add constraint cheap check (discount < 100) not valid")
    db.commit()
    _append(command / "promos.csv", "dear,100,active\n")
    with pytest.raises(SystemExit, match="1"):
        csv_loader.main()
    said = capsys.readouterr().err
    assert said.startswith('The warehouse refused the load, and nothing of it is left: new row for relation "promos"')
    assert "dear" not in said


def _fewer(held: dict[tuple, list[datetime]], items: list[tuple]) -> list[str]:
    """The keys of which there are fewer rows than before."""

    def by_key(rows: list[tuple]) -> Counter[str]:
        return Counter(f"{order_id or ''}/{product_id or ''}" for order_id, product_id, _ in rows)

    before = by_key([item for item, stamps in held.items() for _ in stamps])
    return sorted(before - by_key(items))


def _write(path: Path, header: list[str], rows: list[tuple]) -> None:
    """A CSV file in which None is nothing, and all text is quoted."""

    def written(cell: object) -> str:
        if cell is None:
            return ""
        return '"' + cell.replace('"', '""') + '"' if isinstance(cell, str) else str(cell)

    lines = [",".join(header), *(",".join(map(written, row)) for row in rows)]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def _replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)
