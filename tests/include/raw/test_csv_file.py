"""A CSV file: what people write comes through to the letter, and an error names the place of what can't be read."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include.raw.csv_file import LONGEST_RECORD
from include.raw.csv_loader import CsvError, load_folder
from include.settings import Warehouse
from tests.include.raw.conftest import append, connect_to, query, replace_in, value

pytestmark = pytest.mark.db

PROMOS = "promo_id,discount,status\n"


def promos(db: Connection, folder: Path, text: str | bytes) -> list[tuple]:
    """What raw.promos holds after promos.csv with this text was loaded."""
    (folder / "promos.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    load_folder(db, folder)
    return query(db, "select promo_id, discount, status from raw.promos order by promo_id, status")


# Good files.


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
    replace_in(folder / "products.csv", "Quiet ZZ", "ZZ," * 350_000)
    with pytest.raises(CsvError, match=r"^products.csv, line 3, column after inventory: the line has 350004 values"):
        load_folder(db, folder)
    replace_in(folder / "products.csv", "ZZ," * 350_000, '"' + "ZZ," * 350_000 + '"')
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
    replace_in(folder / "events.csv", "2021-02-10T11:59:00Z", text)
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
    replace_in(folder / f"{file}.csv", old, new)
    with pytest.raises(CsvError) as refused:
        load_folder(db, folder)
    error = refused.value
    assert (error.file, error.line, error.column) == (f"{file}.csv", line, column)
    assert problem in str(error)
    assert str(error).startswith(f"{file}.csv, line {line}{f', column {column}' if column else ''}: ")


def test_the_line_is_counted_through_line_breaks_in_quotes(db: Connection, folder: Path) -> None:
    replace_in(folder / "products.csv", "Postcard Pothos", '"Postcard\nPothos"')
    replace_in(folder / "products.csv", "25.0", "cheap")
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
    append(folder / "promos.csv", '"open,1,active\n' + "x,1,active\n" * 2 * LONGEST_RECORD + '",1,active\n')
    with pytest.raises(CsvError, match=r"^promos.csv, line 3, column promo_id: a quote opens here and is never closed"):
        load_folder(db, folder)
