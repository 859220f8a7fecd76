"""The CSV loader: a faithful replica of the files, by what changed since the last load, all of it or nothing."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from datetime import datetime
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
from include.raw.csv_loader import CsvError, load_folder
from include.raw.load import LoadError, TableReport, loaded_from
from include.settings import Warehouse
from include.warehouse import transaction
from tests.include.raw.conftest import append, connect_to, contents, query, replace_in, value

pytestmark = pytest.mark.db

COUNTS = {
    "users": 130,
    "addresses": 150,
    "products": 30,
    "promos": 6,
    "orders": 361,
    "order_items": 862,
    "events": 3553,
}


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


def test_orphans_are_loaded(db: Connection, folder: Path) -> None:
    append(folder / "order_items.csv", "no-order,no-product,1\n")
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
    replace_in(folder / "orders.csv", "o1,u1,,a1", "o1,u1,,a2")
    second = load_folder(db, folder)
    stamps = dict(query(db, "select order_id, _loaded_at from raw.orders"))
    assert stamps == {"o1": second.loaded_at, "o2": first.loaded_at}
    assert second.tables["orders"] == TableReport(updated=1, unchanged=1)


def test_a_changed_row_is_no_deletion(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    replace_in(folder / "orders.csv", "o1,u1,,a1", "o1,u1,,a2")
    load_folder(db, folder)
    assert query(db, "select * from raw.deletions") == []


def test_null_that_becomes_the_empty_string_is_a_change(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    replace_in(folder / "orders.csv", "o1,u1,,a1", 'o1,u1,"",a1')
    assert load_folder(db, folder).tables["orders"].updated == 1


def test_a_number_written_in_another_way_is_no_change(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    replace_in(folder / "products.csv", "30.5", "30.50")
    assert load_folder(db, folder).changed == 0


def test_a_row_that_is_gone_is_gone(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    replace_in(folder / "order_items.csv", "o1,p1,1\n", "")
    report = load_folder(db, folder)
    assert contents(db)["order_items"] == [("o2", "p2", 2)]
    assert report.tables["order_items"] == TableReport(deleted=1, unchanged=1)


def test_the_key_of_a_row_that_is_gone_is_noted(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    replace_in(folder / "order_items.csv", "o1,p1,1\n", "")
    report = load_folder(db, folder)
    assert query(db, "select * from raw.deletions") == [("order_items", "o1/p1", report.loaded_at)]


def test_a_doubled_row_is_loaded_twice_and_the_new_one_alone_has_the_new_stamp(db: Connection, folder: Path) -> None:
    first = load_folder(db, folder)
    append(folder / "order_items.csv", "o1,p1,1\n")
    second = load_folder(db, folder)
    stamps = [row[0] for row in query(db, "select _loaded_at from raw.order_items where order_id = 'o1' order by 1")]
    assert stamps == [first.loaded_at, second.loaded_at]


def test_of_a_mended_duplicate_the_row_that_was_there_first_stays(db: Connection, folder: Path) -> None:
    first = load_folder(db, folder)
    append(folder / "order_items.csv", "o1,p1,1\n")
    load_folder(db, folder)
    replace_in(folder / "order_items.csv", "o2,p2,2\no1,p1,1\n", "o2,p2,2\n")
    load_folder(db, folder)
    assert query(db, "select _loaded_at from raw.order_items where order_id = 'o1'") == [(first.loaded_at,)]


def test_a_mended_duplicate_is_noted_though_its_key_is_still_there(db: Connection, folder: Path) -> None:
    append(folder / "order_items.csv", "o1,p1,1\n")
    load_folder(db, folder)
    replace_in(folder / "order_items.csv", "o2,p2,2\no1,p1,1\n", "o2,p2,2\n")
    load_folder(db, folder)
    assert query(db, "select table_name, key from raw.deletions") == [("order_items", "o1/p1")]


def test_a_key_with_two_different_rows_is_mended_by_taking_one_out(db: Connection, folder: Path) -> None:
    first = load_folder(db, folder)
    append(folder / "order_items.csv", "o1,p1,9\n")
    load_folder(db, folder)
    replace_in(folder / "order_items.csv", "o1,p1,9\n", "")
    load_folder(db, folder)
    kept = query(db, "select quantity, _loaded_at from raw.order_items where order_id = 'o1'")
    assert kept == [(1, first.loaded_at)]
    assert query(db, "select key from raw.deletions") == [("o1/p1",)]


def test_the_demo_gives_way_to_files(db: Connection, folder: Path) -> None:
    demo.play_day(db, 1, orders_per_day=5)
    load_folder(db, folder)
    assert [row[0] for row in contents(db)["orders"]] == ["o1", "o2"]


# A load that fails.


def test_a_refused_load_leaves_the_warehouse_as_it_was(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    before = contents(db, stamps=True), query(db, "select * from raw.loads"), query(db, "select * from raw.deletions")
    replace_in(folder / "addresses.csv", "a1,", "a2,")
    replace_in(folder / "events.csv", "2021-02-10T12:00:00Z", "soon")
    with pytest.raises(CsvError):
        load_folder(db, folder)
    after = contents(db, stamps=True), query(db, "select * from raw.loads"), query(db, "select * from raw.deletions")
    assert after == before


def test_a_failure_of_the_database_half_way_leaves_the_warehouse_as_it_was(db: Connection, folder: Path) -> None:
    load_folder(db, folder)
    db.cursor().execute("alter table raw.events add constraint picky check (event_type <> 'wish')")
    before = contents(db, stamps=True)
    replace_in(folder / "addresses.csv", "a1,", "a2,")
    replace_in(folder / "events.csv", "page_view", "wish")
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
    replace_in(folder / "orders.csv", "o1,u1,,a1", "o1,u1,,a2")
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
    replace_in(folder / "events.csv", "page_view", "wish")
    with pytest.raises(psycopg2.errors.CheckViolation):
        load_folder(caller, folder)
    (folder / "events.csv").write_text(original)
    append(folder / "promos.csv", "second,3,active\n")
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
    append(command / "promos.csv", "dear,100,active\n")
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
