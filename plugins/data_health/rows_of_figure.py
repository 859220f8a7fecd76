"""The rows that make a figure up, as they are published now, without what tells of people."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include.dbt_project.counted import Counted, Measure, counted
from include.dbt_project.manifest import Manifest
from include.receipts.move import Side
from include.receipts.rows import project_sql
from include.results import failures
from include.settings import LIVE
from include.warehouse import personal, transaction
from plugins.data_health.reading import Reading, connected

FIRST = 20
# Of a file; who needs more asks the warehouse.
MOST = 100_000
COUNTS_FOR = "counts_for"
_IN_MEMORY = 2**20
_FETCHED = 2_000
# With what a cell begins that a spreadsheet takes for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class RowsOfFigure:
    """The rows of one of a figure's two numbers: how many, what they add up to, and the first of them.

    `each` is the SQL of what a row counts for; the first column has it. Where they can't be read, `problem` says why,
    and the rest is empty.
    """

    side: Side
    model: str
    each: str
    count: int = 0
    total: Decimal | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    problem: str = ""


def sides(one: Counted) -> dict[Side, Measure]:
    """The measure of each of its numbers."""
    return dict(zip(Side, one.measures, strict=False))


def of(reading: Reading, one: Counted, day: date) -> tuple[RowsOfFigure, ...]:
    """The rows behind a metric of a UTC day, of both numbers where it has two."""
    return tuple(_of_side(reading, one, side, day) for side in sides(one))


def _of_side(reading: Reading, one: Counted, side: Side, day: date) -> RowsOfFigure:
    measure = sides(one)[side]
    told = RowsOfFigure(side, measure.relation, measure.expr)
    asked = _Asked(measure, day, one.running)
    try:
        with transaction(reading.connection) as cursor:
            cursor.execute(asked.summed(), asked.parameters)
            count, total = cursor.fetchone()
            if total is not None and not total.is_finite():
                return replace(told, problem="one of them counts for no number")
            cursor.execute(asked.rows(_shown(reading.connection, reading.facts, measure), FIRST), asked.parameters)
            columns = tuple(column.name for column in cursor.description)
            return RowsOfFigure(side, measure.relation, measure.expr, count, total, columns, tuple(cursor.fetchall()))
    except psycopg2.errors.QueryCanceled:
        why = f"it took too long to count them in {LIVE}.{measure.relation}"
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        why = f"{LIVE}.{measure.relation} can't be read as the project says: {_without_data(error)}"
    return replace(told, problem=why)


def _without_data(error: psycopg2.Error) -> str:
    return failures.without_data(error.diag.message_primary or type(error).__name__)


@dataclass(frozen=True)
class _Asked:
    """What is asked of a measure's relation; `running` counts all days up to its own."""

    measure: Measure
    day: date
    running: bool

    @property
    def parameters(self) -> dict[str, Any]:
        return {"day": self.day, "next": self.day + timedelta(days=1), "most": MOST}

    def summed(self) -> sql.Composable:
        """How many rows count, and what for."""
        return sql.SQL("select count(*), sum({each}) {rows}").format(each=self._each, rows=self._rows)

    def rows(self, shown: list[str], limit: int) -> sql.Composable:
        """The rows themselves, by their key, with these columns."""
        columns = sql.SQL(", ").join([sql.SQL("{} as {}").format(self._each, _COUNTS_FOR), *map(sql.Identifier, shown)])
        return sql.SQL("select {columns} {rows} order by {key} limit {limit}").format(
            columns=columns, rows=self._rows, key=project_sql(self.measure.key), limit=sql.Literal(limit)
        )

    @property
    def _each(self) -> sql.Composable:
        return sql.SQL("{}::numeric").format(project_sql(self.measure.expr))

    @property
    def _rows(self) -> sql.Composable:
        day = project_sql(self.measure.day)
        begins = sql.SQL("true") if self.running else sql.SQL("{} >= %(day)s").format(day)
        return sql.SQL("from {relation} where {begins} and {day} < %(next)s and {each} <> 0").format(
            relation=sql.Identifier(LIVE, self.measure.relation), begins=begins, day=day, each=self._each
        )


_COUNTS_FOR = sql.Identifier(COUNTS_FOR)


def hidden(connection: Connection, facts: Manifest) -> frozenset[str]:
    """The names of columns that tell of people, or hold a key of theirs."""
    with connection.cursor() as cursor:
        return facts.personal_columns | personal.columns(cursor).keys() | personal.KEYS.keys()


def _shown(connection: Connection, facts: Manifest, measure: Measure) -> list[str]:
    """The columns of a measure's relation that tell of nobody."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select attname::text
            from pg_attribute
            where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped and attname <> all(%s)
                and has_column_privilege(attrelid, attnum, 'select')
            order by attnum
            """,
            (
                sql.Identifier(LIVE, measure.relation).as_string(cursor),
                sorted(hidden(connection, facts) | {COUNTS_FOR}),
            ),
        )
        return [name for (name,) in cursor.fetchall()]


@dataclass(frozen=True)
class File:
    """A file of rows, to be read from its beginning: `rows` are in it, of `count` that there are."""

    content: IO[bytes]
    rows: int
    count: int

    def pieces(self) -> Iterator[bytes]:
        """Its content; closes it."""
        with self.content:
            while piece := self.content.read(_IN_MEMORY):
                yield piece


def file_of(facts: Manifest, metric: str, day: date, side: Side) -> File:
    """The rows as CSV, as many as a file takes.

    Read whole before the first is sent: who takes it slowly would hold the next publish up. Raises LookupError where
    there are none to read, and psycopg2.Error.
    """
    one = counted(facts).get(metric)
    measure = sides(one).get(side) if one else None
    if one is None or measure is None:
        raise LookupError(f"There are no rows of the {side} of {metric}: the project does not count it by rows.")
    asked = _Asked(measure, day, one.running)
    content = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - `File.pieces` closes it
    text = io.TextIOWrapper(content, "utf-8", newline="", write_through=True)
    try:
        with connected() as connection:
            with connection.cursor() as cursor:
                cursor.execute(asked.summed(), asked.parameters)
                count, _ = cursor.fetchone()
            shown = _shown(connection, facts, measure)
            with connection.cursor("rows of a figure") as rows:
                rows.itersize = _FETCHED
                rows.execute(asked.rows(shown, MOST), asked.parameters)
                out = csv.writer(text)
                out.writerow((COUNTS_FOR, *shown))
                out.writerows(map(cell, row) for row in rows)
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        raise LookupError(f"The rows can't be read as the project says: {_without_data(error)}") from None
    text.detach()
    content.seek(0)
    return File(content, min(count, MOST), count)


def cell(value: Any) -> Any:
    """A value of a row, so that no spreadsheet takes a text for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
