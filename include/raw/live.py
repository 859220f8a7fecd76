"""The live load: makes the raw tables a replica of a running shop's database, a Postgres named by SHOP_DATABASE_URL.

What changed there is copied into temporary tables of the warehouse; what differs is then written to raw by
`include.raw.load`, in one transaction together with the *mark*, up to which the shop has been followed. Whatever is
killed meanwhile, raw and mark are as they were, and the next load begins at the mark again.

All tables are read in one snapshot of the shop's, so that raw is one moment of it. What changed since the mark is what
was written by transactions that this snapshot sees and the mark's didn't (`xmin`): no column of the shop's has to say
so, and nothing is missed that was committed late. Rows that went are found by counting: where raw would hold more rows
than the shop, keys are compared. So are those of people where anybody was erased, since a stand-in may be in raw alone.
Once a week, and where the mark is of no use, everything is compared.

    python -m include.raw.live
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw import load, shop_database, stand_ins
from include.raw.carry import ALL, Carried, carry
from include.raw.contract import PERSONS, TABLES, Table
from include.raw.load import LoadError, LoadReport
from include.raw.mapping import MappingError
from include.raw.shop_database import Mark, Shop
from include.warehouse import connect

ORIGIN = "live shop"
COMPARE_ALL_EVERY = timedelta(days=7)
# Any number that nobody else asks for: one live load at a time.
_ALONE = 7_047_733_680

log = logging.getLogger(__name__)


def load_shop(*, everything: bool = False, reader: str = "") -> LoadReport:
    """Bring the raw tables to where the shop is now; `everything` compares all rows, not only those that changed.

    `reader` may hold the lease on raw meanwhile. Columns that the shop has got, lost or retyped are told in the
    report's notes and kept in `raw.shop_drift`. Raises LoadError, with raw as it was.
    """
    url = settings.shop_database_url()
    if not url:
        raise LoadError("SHOP_DATABASE_URL names no database to load from")
    if not settings.is_an_address(url):
        raise LoadError(
            "the shop was not loaded, and raw is as it was: SHOP_DATABASE_URL is no address of a Postgres; in a "
            "password, %, @, / and : have to be percent-encoded"
        )
    try:
        with connect("greenery live load", settings.warehouse_loader()) as warehouse, warehouse.cursor() as cursor:
            _be_alone(warehouse, cursor)
            with shop_database.reading(url) as shop:
                former = _former(cursor, shop.mark)
                warehouse.commit()  # nothing is held in the warehouse while rows are carried
                changes = _carry_changes(warehouse, shop, None if everything else former)
            drift = _drift(cursor, shop.mark)
            load.prepare(cursor, reader=reader)
            report = _write(cursor, changes, drift)
            _remember(cursor, shop.mark, drift, compared=changes.everything)
            warehouse.commit()
            return report
    except (psycopg2.Error, MappingError) as error:
        said = str(error).strip().replace(url, "SHOP_DATABASE_URL")
        # Not from the error: what a driver knows of a connection, its password included, is in no log then.
        raise LoadError(f"the shop was not loaded, and raw is as it was: {said}") from None


def _be_alone(warehouse: Connection, cursor: Cursor) -> None:
    """Until this connection ends no other live load begins; raises LoadError while one is under way.

    Postgres frees the lock of a load that has ended only once it notices that its connection is closed.
    """
    cursor.execute("set local lock_timeout = '3s'")
    try:
        cursor.execute("select pg_advisory_lock(%s)", (_ALONE,))
    except psycopg2.errors.LockNotAvailable:
        raise LoadError("another live load is under way; wait for it to end, then load again") from None
    warehouse.commit()


def _former(cursor: Cursor, now: Mark) -> Mark | None:
    """The mark of the last load; None where all is to be compared.

    That is where none is of this database and its tables, where something else was loaded since, and once a week.
    """
    if not raw.exists(cursor, "shop_mark") or load.last_origin(cursor) != ORIGIN:
        return None
    cursor.execute(
        sql.SQL(
            "select source, position, columns from {} where source = %s and position <= %s"
            " and compared_at > clock_timestamp() - %s"
        ).format(raw.named("shop_mark")),
        (now.source, now.position, COMPARE_ALL_EVERY),
    )
    row = cursor.fetchone()
    return Mark(*row) if row else None


@dataclass(frozen=True)
class Changes:
    """What was carried: the rows by table, and all keys where some may have gone; or `everything` that there is."""

    everything: bool
    rows: dict[str, Carried]
    keys: dict[str, Carried]


def _carry_changes(warehouse: Connection, shop: Shop, former: Mark | None) -> Changes:
    """Carry what changed since a mark, or everything."""

    def carried(table: Table, columns: Collection[str], condition: sql.Composable = ALL) -> Carried:
        with warehouse, warehouse.cursor() as cursor:
            return carry(cursor, shop, table.name, columns, condition)

    if former:
        since = _written_since(former)
        rows = {name: carried(table, table.columns, since) for name, table in TABLES.items()}
        with warehouse, warehouse.cursor() as cursor:
            more = {name: _compare_counts(cursor, shop, table, rows[name]) for name, table in TABLES.items()}
            erased = stand_ins.any_known(cursor)
        if not any(count < 0 for count in more.values()):
            compared = [name for name, count in more.items() if count > 0 or (erased and name in PERSONS)]
            keys = {name: carried(TABLES[name], TABLES[name].key) for name in compared}
            with warehouse, warehouse.cursor() as cursor:
                lacking = [name for name in compared if _lacks(cursor, rows[name], keys[name])]
            if not lacking:
                return Changes(False, rows, keys)
        log.warning("Raw lacks rows that the shop has had before, or keys are doubled; everything is compared")
    return Changes(True, {name: carried(table, table.columns) for name, table in TABLES.items()}, {})


def _written_since(mark: Mark) -> sql.Composable:
    """That a row was written by a transaction that a mark did not see, as far as 32 bits tell.

    A row of more than two thousand million transactions ago may be taken for one: it is compared, and found the same.
    """
    return sql.SQL("mod(xmin::text::bigint - {} + 4294967296, 4294967296) < 2147483648").format(
        sql.Literal(mark.position % 2**32)
    )


def _compare_counts(cursor: Cursor, shop: Shop, table: Table, carried: Carried) -> int:
    """How many rows more than the shop raw would have with what was carried; negative where it lacks some.

    Where both have as many, and no key is doubled, they have the same ones: raw has every row that was carried, and had
    the others before.
    """
    parts = {
        "raw": raw.named(table.name),
        "carried": carried.named,
        "key": sql.SQL(", ").join(map(sql.Identifier, table.key)),
    }
    doubled = sql.SQL("select exists (select from {carried} group by {key} having count(*) > 1)")
    cursor.execute(doubled.format(**parts))
    if cursor.fetchone()[0]:
        return -1
    cursor.execute(
        sql.SQL(
            "select (select count(*) from {raw})"
            " + (select count(*) from (select {key} from {carried} except select {key} from {raw}) as new)"
        ).format(**parts)
    )
    return cursor.fetchone()[0] - shop.count(table.name)


def _lacks(cursor: Cursor, rows: Carried, keys: Carried) -> bool:
    """Whether the shop has a key that is neither in raw nor among the rows that were carried."""
    cursor.execute(
        sql.SQL(
            "select exists (select {key} from {keys} except select {key} from {rows} except select {key} from {raw})"
        ).format(
            key=sql.SQL(", ").join(map(sql.Identifier, keys.columns)),
            keys=keys.named,
            rows=rows.named,
            raw=raw.named(keys.table),
        )
    )
    return cursor.fetchone()[0]


def _write(cursor: Cursor, changes: Changes, drift: list[tuple[str, str, str]]) -> LoadReport:
    notes = tuple(f"{table}: the shop's column {column} is {now}" for table, column, now in drift)
    if changes.everything:
        return load.replace(cursor, changes.rows, ORIGIN, notes)
    return load.upsert(cursor, changes.rows, ORIGIN, notes, keys=changes.keys)


def _drift(cursor: Cursor, now: Mark) -> list[tuple[str, str, str]]:
    """What is otherwise with the shop's columns than at the last load: table, column, and what it is now."""
    if not raw.exists(cursor, "shop_mark"):
        return []
    cursor.execute(sql.SQL("select columns from {}").format(raw.named("shop_mark")))
    row = cursor.fetchone()
    found = []
    for table, columns in now.columns.items() if row else ():
        before = row[0].get(table, columns)
        found += [(table, column, f"new, {kind}") for column, kind in columns.items() if column not in before]
        found += [(table, column, "gone") for column in before if column not in columns]
        found += [
            (table, column, f"{kind}, no longer {before[column]}")
            for column, kind in columns.items()
            if before.get(column, kind) != kind
        ]
    return found


def _remember(cursor: Cursor, mark: Mark, drift: list[tuple[str, str, str]], *, compared: bool) -> None:
    """Keep the mark and the drift, in the transaction that writes raw."""
    place = raw.named("shop_mark")
    cursor.execute(
        sql.SQL(
            "with former as (delete from {0} returning compared_at) insert into {0}"
            " select %s, %s, %s, case when %s then clock_timestamp() else (select compared_at from former) end"
        ).format(place),
        (mark.source, mark.position, json.dumps(mark.columns), compared),
    )
    for table, column, now in drift:
        cursor.execute(
            sql.SQL("insert into {} values (%s, %s, %s, clock_timestamp())").format(raw.named("shop_drift")),
            (table, column, now),
        )


def main() -> int:
    """Load the shop once, now; 0 where raw is a replica of it."""
    parser = argparse.ArgumentParser(prog="python -m include.raw.live", description=main.__doc__)
    parser.add_argument("--everything", action="store_true", help="compare all rows, not only those that changed")
    try:
        print(load_shop(everything=parser.parse_args().everything).summary())
    except LoadError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
