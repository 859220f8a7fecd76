"""The CSV loader: makes the raw tables a faithful replica of a folder of seven CSV files, one a table.

python -m include.raw.csv_loader FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from include import settings
from include.raw import load
from include.raw.contract import TABLES
from include.raw.csv_file import CsvError, read
from include.raw.load import LoadError, LoadReport
from include.warehouse import connect, transaction

__all__ = ["CsvError", "load_folder", "origin_of"]


def load_folder(connection: Connection, folder: Path) -> LoadReport:
    """Load `users.csv`, `orders.csv` and the other five; the raw tables hold afterwards exactly what the files hold.

    Duplicates and orphans are loaded as they are. A row that was there already keeps its `_loaded_at`. Each table's
    load is noted in `raw.loads`, and in `raw.deletions` each key that has fewer rows than before.
    Every file is read and checked before the warehouse is touched, and everything is written in one transaction (see
    `warehouse.transaction`). Raises CsvError, which names file, line and column, with the warehouse as it was.
    """
    if not folder.is_dir():
        raise CsvError(str(folder), "there is no such folder; name one that holds the seven CSV files")
    rows, notes = {}, []
    for table in TABLES.values():
        file = f"{table.name}.csv"
        rows[table.name], extra = read(folder / file, table)
        notes += [
            f"{file}: column {name or '(without a name)'} is not one of the table's and was ignored" for name in extra
        ]
    with transaction(connection) as cursor:
        load.prepare(cursor)
        return load.replace(cursor, rows, origin_of(folder), tuple(notes))


def origin_of(folder: Path) -> str:
    """How `raw.loads` calls a folder: by its name, told apart from the demo shop where it is called the same."""
    name = folder.resolve().name
    return f"{name}/" if name == load.DEMO else name


def main() -> None:
    """Load a folder into the warehouse that the environment names, and say what changed."""
    parser = argparse.ArgumentParser(prog="python -m include.raw.csv_loader", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds users.csv, orders.csv and the other five")
    folder = parser.parse_args().folder
    try:
        with connect("greenery CSV loader", settings.warehouse_loader()) as connection:
            print(load_folder(connection, folder).summary())
    except (CsvError, LoadError) as error:
        parser.exit(1, f"{error}\n")
    except psycopg2.Error as error:
        parser.exit(1, f"{_refused(error)}\n")


def _refused(error: psycopg2.Error) -> str:
    """What the warehouse answered, without the detail, which quotes rows: they may be personal."""
    if error.diag.message_primary is None:
        return f"The warehouse can't be reached: {str(error).strip()}. raw.loads says what was loaded last."
    return (
        f"The warehouse refused the load, and nothing of it is left: {error.diag.message_primary}. Mend that and load "
        "again; the server's log shows the row, if it is one."
    )


if __name__ == "__main__":
    main()
