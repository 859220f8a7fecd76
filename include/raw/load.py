"""Loading raw tables: rows are staged with COPY, compared with what is there, and only what differs is written.

Three shops load this way. The CSV loader *replaces*: the staged rows are all there are, so what is not among them goes.
The demo shop *upserts*: it stages one day's new and changed rows, each known by its key. The live load does the one or
the other, and where rows have gone it stages the keys that are left as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from tempfile import SpooledTemporaryFile

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw
from include.raw import lease, stand_ins
from include.raw.contract import TABLES, Table

DEMO = "demo"
NULL = r"\N"

# A load of this many rows or more refreshes the planner's statistics itself: a run that starts at once should not plan
# with the figures of before. Smaller ones leave it to autovacuum.
_ANALYZE_FROM = 50_000
_MEGABYTE = 1 << 20


class LoadError(RuntimeError):
    """A load could not be finished, and nothing of it is left; the message says why and what to do."""


@dataclass(frozen=True)
class TableReport:
    """What a load did to one table, in rows."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0

    @property
    def stamped(self) -> int:
        """Rows that carry the load's `_loaded_at` now: the new and the changed ones."""
        return self.inserted + self.updated


@dataclass(frozen=True)
class LoadReport:
    """What a load did: by table, when (None where it never came to loading), and what else there is to say."""

    loaded_at: datetime | None
    tables: dict[str, TableReport]
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> int:
        """Rows that are new, changed or gone, over all tables."""
        return sum(table.stamped + table.deleted for table in self.tables.values())

    def summary(self) -> str:
        """The load in a line: rows new, changed and gone by table, then the notes."""
        parts = []
        for name, table in self.tables.items():
            counts = ((table.inserted, "new"), (table.updated, "changed"), (table.deleted, "gone"))
            if told := ", ".join(f"{count:,} {what}" for count, what in counts if count):
                parts.append(f"{name} {told}")
        return "; ".join([*(parts or ["nothing changed"]), *self.notes])


class Rows:
    """Rows on their way into a table, once, as lines of COPY's text format; many of them wait on disk."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=8 * _MEGABYTE)  # noqa: SIM115 - closed by `copy`, or with the object
        self._pending: list[str] = []

    def extend(self, lines: Iterable[str]) -> None:
        """Add lines, each ended by a line feed."""
        self._pending += lines
        if len(self._pending) > 5_000:
            self._flush()

    def fetch(self, cursor: Cursor, query: sql.Composable) -> None:
        """Add the rows of a query, by COPY from a database that may be another one."""
        self._flush()
        cursor.copy_expert(sql.SQL("copy ({}) to stdout").format(query), self._file, size=_MEGABYTE)

    def copy(self, cursor: Cursor, into: sql.Composable, columns: Iterable[str]) -> None:
        """COPY them all into a table; the rows are used up by it."""
        self._flush()
        self._file.seek(0)
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        with self._file:
            cursor.copy_expert(sql.SQL("copy {} ({}) from stdin").format(into, names), self._file, size=_MEGABYTE)

    def _flush(self) -> None:
        self._file.write("".join(self._pending).encode())
        self._pending.clear()


def line(values: Iterable[str | None]) -> str:
    """One row as a line of COPY's text format; None is null, anything else is kept to the letter."""
    return "\t".join([NULL if value is None else _escaped(value) for value in values]) + "\n"


def _escaped(value: str) -> str:
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    return value.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def prepare(cursor: Cursor, *, reader: str = "") -> None:
    """Keep other loads and runs waiting until the transaction ends; where we may, make the raw tables that are missing.

    A second load then sees what the first one did. The tables themselves are not locked, neither for readers nor, since
    it would cancel an autovacuum each day, for writers: `_apply` notices these.
    Raises LoadError while a run but `reader` reads the tables, where one of them is a view of the shop's own, and where
    one is missing.
    """
    lease.lock_raw(cursor)
    if held := lease.held(cursor, besides=reader):
        raise LoadError(
            f"{held.holder} reads the raw tables since {held.taken_at:%d %b %H:%M} UTC; nothing was loaded. Load "
            f"again once it has ended, or after {held.until:%d %b %H:%M} UTC if it died"
        )
    # A timestamp without a zone means UTC, whatever the connection's own zone is.
    cursor.execute("set local timezone to 'UTC'")
    if raw.may_create(cursor):
        raw.create(cursor)
    elif missing := raw.missing(cursor):
        raise LoadError(
            f"{', '.join(map(raw.called, missing))} is missing, and who loads makes no table; nothing was loaded. Let "
            "the administrator call `python -m include.raw` and `python -m include.warehouse.roles`, then load again"
        )
    if shown := raw.views(cursor):
        raise LoadError(
            f"{', '.join(map(raw.called, shown))} can't be loaded, being a view: load the table that it shows"
        )


def loaded_from(connection: Connection) -> str | None:
    """What the last load came from: "demo", or the name of a folder of CSV files; None where nothing was loaded yet."""
    with connection.cursor() as cursor:
        return last_origin(cursor)


def last_origin(cursor: Cursor) -> str | None:
    """The same, inside a transaction that is under way."""
    if not raw.exists(cursor, "loads"):
        return None
    cursor.execute(sql.SQL("select loaded_from from {} order by loaded_at desc limit 1").format(raw.named("loads")))
    found = cursor.fetchone()
    return found[0] if found else None


def replace(cursor: Cursor, rows: dict[str, Rows], origin: str, notes: tuple[str, ...] = ()) -> LoadReport:
    """Make the raw tables hold exactly these rows, duplicates included; an equal row keeps its `_loaded_at`."""
    return _load(cursor, rows, origin, _DIFFERENCE_OF_ALL, notes, {})


def upsert(
    cursor: Cursor,
    rows: dict[str, Rows],
    origin: str,
    notes: tuple[str, ...] = (),
    *,
    keys: dict[str, Rows] | None = None,
) -> LoadReport:
    """Write these rows over those with the same key, or beside them where the key is new.

    No row goes, but of a table of which `keys` holds every key that is left: rows of any other key do.
    """
    return _load(cursor, rows, origin, _DIFFERENCE_BY_KEY, notes, keys or {})


# How the staged rows differ from the table: a row with `coming` alone is new, with `going` alone gone, with both it was
# changed. Both name rows by where they lie (ctid), which is safe because `_apply` counts the rows that it finds there.
#
# Everything is compared, as multisets: the first copy of a row meets the first copy of its equal, the second the
# second, and so on. Copies are counted from the oldest stamp on, so that of a doubled row the one that was there first
# stays. Rows are compared as records, because there a null equals a null, and because records can be hashed. What is
# left over on both sides under one key is a changed row.
_DIFFERENCE_OF_ALL = sql.SQL(
    """
    with held as (
        select ctid as place, {key} as key, row({columns}) as content,
            row_number() over (partition by {columns} order by _loaded_at, ctid) as copy
        from {raw}
    ),
    staged as (
        select ctid as place, {key} as key, row({columns}) as content,
            row_number() over (partition by {columns} order by ctid) as copy
        from {stage}
    ),
    unequal as (
        select coalesce(held.key, staged.key) as key, held.place as going, staged.place as coming
        from held full join staged on held.content = staged.content and held.copy = staged.copy
        where held.place is null or staged.place is null
    ),
    going as (
        select key, going, row_number() over (partition by key order by going) as nth
        from unequal where going is not null
    ),
    coming as (
        select key, coming, row_number() over (partition by key order by coming) as nth
        from unequal where coming is not null
    )
    select key, going, coming from going full join coming using (key, nth)
    """
)
# By key, each staged row looks its own key up. `offset 0` keeps the planner from joining in another way: on a table
# that was never analyzed it would sooner read the whole history.
_BY_KEY = """
    select null::text as key, held.ctid as going, staged.ctid as coming
    from {stage} as staged
    left join lateral (select ctid, {columns} from {raw} as looked_up where {same_key} offset 0) as held on true
    where held.ctid is null or row({held}) is distinct from row({staged})
"""
_GONE = """
    union all
    select {key}, ctid, null::tid
    from {raw} as looked_up
    where not exists (select from {keys} as staged where {same_key})
"""
_DIFFERENCE_BY_KEY = sql.SQL(_BY_KEY)
_DIFFERENCE_BY_ALL_KEYS = sql.SQL(_BY_KEY + _GONE)


def _load(
    cursor: Cursor,
    rows: dict[str, Rows],
    origin: str,
    difference: sql.SQL,
    notes: tuple[str, ...],
    keys: dict[str, Rows],
) -> LoadReport:
    """Stage, compare and apply table by table, with one timestamp for all, and note each in `raw.loads`.

    `raw.loads.rows` counts the rows that carry this load's `_loaded_at`: new and changed ones, 0 where nothing changed.
    """
    cursor.execute("select clock_timestamp()")
    loaded_at = cursor.fetchone()[0]
    cursor.execute("set local work_mem to '128MB'")  # a replica is compared by sorting both sides
    reports = {}
    for name, staged in rows.items():
        table = TABLES[name]
        parts = _parts(table, loaded_at)
        _stage(cursor, table, staged, "stage", table.columns, parts)
        if name in keys:
            _stage(cursor, table, keys[name], "keys", table.key, parts)
        chosen = _DIFFERENCE_BY_ALL_KEYS if name in keys else difference
        try:
            reports[name] = report = _apply(cursor, table, chosen, parts)
        except psycopg2.errors.ProgramLimitExceeded:
            # Whose own words name no table.
            raise LoadError(
                f"{raw.called(name)} got an id that is too long for Postgres to index; nothing was loaded. Look for a "
                "column that was shifted, shorten the id where it comes from, then load again"
            ) from None
        cursor.execute(sql.SQL("drop table {stage}, {difference}").format(**parts))
        if name in keys:
            cursor.execute(sql.SQL("drop table {keys}").format(**parts))
        if report.stamped >= _ANALYZE_FROM:
            cursor.execute(sql.SQL("analyze {raw}").format(**parts))
        cursor.execute(
            sql.SQL("insert into {} (table_name, loaded_at, rows, loaded_from) values (%s, %s, %s, %s)").format(
                raw.named("loads")
            ),
            (name, loaded_at, report.stamped, origin),
        )
    return LoadReport(loaded_at, reports, notes)


def _parts(table: Table, loaded_at: datetime) -> dict[str, sql.Composable]:
    """What the statements below are put together from."""
    key = [sql.Identifier(column) for column in table.key]
    return {
        "raw": raw.named(table.name),
        "deletions": raw.named("deletions"),
        "stage": sql.Identifier("pg_temp", "staged_rows"),
        "keys": sql.Identifier("pg_temp", "staged_keys"),
        "difference": sql.Identifier("pg_temp", "row_difference"),
        "columns": _columns(table),
        "staged": _columns(table, "staged"),
        "held": _columns(table, "held"),
        "key": sql.SQL(" || '/' || ").join(sql.SQL("coalesce({}, '')").format(column) for column in key),
        "same_key": sql.SQL(" and ").join(sql.SQL("looked_up.{0} = staged.{0}").format(column) for column in key),
        "name": sql.Literal(table.name),
        "at": sql.Literal(loaded_at),
    }


def _stage(
    cursor: Cursor,
    table: Table,
    rows: Rows,
    place: str,
    columns: Collection[str],
    parts: dict[str, sql.Composable],
) -> None:
    """COPY the rows into a temporary table, where stand-ins take the places of erased people."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    cursor.execute(
        sql.SQL("create temporary table {} on commit drop as select {} from {} with no data").format(
            parts[place], names, parts["raw"]
        )
    )
    rows.copy(cursor, parts[place], columns)
    stand_ins.take_their_places(cursor, table, parts[place], columns)


def _apply(cursor: Cursor, table: Table, difference: sql.SQL, parts: dict[str, sql.Composable]) -> TableReport:
    """Write the difference, and note the key of each row that went without another in its place in `raw.deletions`.

    Where a row was changed, the new stamp tells incremental models. A row that is gone leaves no stamp, so a note has
    to tell them, and it is written even where another row of that key stays: a duplicate was mended, say.
    Raises LoadError where a row has moved since it was compared.
    """
    cursor.execute(
        sql.SQL("create temporary table row_difference on commit drop as {}").format(difference.format(**parts))
    )
    cursor.execute(
        sql.SQL(
            "select count(*) filter (where going is null),"
            " count(*) filter (where going is not null and coming is not null),"
            " count(*) filter (where coming is null), (select count(*) from {stage}) from {difference}"
        ).format(**parts)
    )
    inserted, updated, deleted, staged = cursor.fetchone()
    if updated or deleted:
        cursor.execute(sql.SQL("delete from {raw} using {difference} as d where {raw}.ctid = d.going").format(**parts))
        if cursor.rowcount != updated + deleted:
            raise LoadError(f"{raw.called(table.name)} was written to by somebody else during the load; load again")
    if deleted:
        cursor.execute(
            sql.SQL(
                "insert into {deletions} (table_name, key, deleted_at)"
                " select distinct {name}, key, {at} from {difference} where coming is null"
            ).format(**parts)
        )
    if inserted or updated:
        cursor.execute(
            sql.SQL(
                "insert into {raw} ({columns}, _loaded_at) select {columns}, {at}"
                " from {stage} as staged join {difference} as d on staged.ctid = d.coming order by d.coming"
            ).format(**parts)
        )
    return TableReport(inserted, updated, deleted, staged - inserted - updated)


def _columns(table: Table, of: str | None = None) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(of, name) if of else sql.Identifier(name) for name in table.columns)
