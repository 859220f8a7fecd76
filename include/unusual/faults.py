"""Faults as they happen to a shop's raw tables, to be planted in copies of its rows: what the proof looks for.

A fault is a `select` that stands for a table: its rows as they would be, had it happened on a day. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.unusual.rows import STAMP, Table

# A slow leak: each day this share of the rows is lost that were left the day before.
LEAK, LEAKING_DAYS = 0.02, 21
# A column with so few values names kinds of rows, with more it names things: a product.
_KINDS, _THINGS = range(2, 13), range(13, 1001)
# A fault of a column that touches fewer of the day's rows is none that anybody would see.
_LEAST_SHARE = 0.02
# In how many columns a fault is planted, and on how many days of each table.
_COLUMNS, _DAYS = 6, 2


@dataclass(frozen=True)
class Fault:
    """A fault of a table on some days: `rows` stands for the table.

    `share` of the rows of its last day are lost, there twice, or wrong.
    """

    name: str
    what: str
    table: Table
    first: date
    days: int
    share: float
    rows: sql.Composable


@dataclass(frozen=True)
class _Shape:
    """A table's columns, and how it is asked for the rows of a day."""

    table: Table
    columns: dict[str, int]  # by name the type, as the server numbers it

    @property
    def dated_by(self) -> sql.Composable:
        return sql.Identifier(self.table.dated_by)

    @property
    def is_timed(self) -> bool:
        return self.columns[self.table.dated_by] != _DATE

    @property
    def watched(self) -> list[str]:
        return [one for one in self.columns if one not in self.table.ignored | {self.table.dated_by, STAMP}]

    @property
    def told(self) -> list[str]:
        """Those whose values are looked at."""
        return [one for one in self.watched if one not in self.table.counted_only]

    def on(self, day: date) -> sql.Composable:
        """The condition that a row is of a day (in a session whose time zone is UTC)."""
        return sql.SQL("{0} >= {1} and {0} < {2}").format(
            self.dated_by, sql.Literal(day), sql.Literal(day + timedelta(days=1))
        )

    def lost(self, which: sql.Composable) -> sql.Composable:
        """The table without some rows."""
        return sql.SQL("select * from {} where ({}) is not true").format(self.table.place, which)

    def twice(self, which: sql.Composable) -> sql.Composable:
        """The table with some rows twice."""
        return sql.SQL("select * from {0} union all select * from {0} where {1}").format(self.table.place, which)

    def changed(self, column: str, to: sql.Composable, which: sql.Composable) -> sql.Composable:
        """The table with another value in a column of some rows."""
        columns = [
            sql.SQL("case when {which} then {to} else {name} end as {name}").format(
                which=which, to=to, name=sql.Identifier(name)
            )
            if name == column
            else sql.Identifier(name)
            for name in self.columns
        ]
        return sql.SQL("select {} from {}").format(sql.SQL(", ").join(columns), self.table.place)


_DATE = 1082  # the type's number in Postgres
# Chance that belongs to a row: the same each time it is asked, from 0 to 99.
_CHANCE = "mod(hashtext({}::text) & 2147483647, 100)"


def shapes(cursor: Cursor, tables: list[Table]) -> list[_Shape]:
    """The shapes of the tables whose rows have a day."""
    found = []
    for table in tables:
        if table.dated_by:
            cursor.execute(sql.SQL("select * from {} limit 0").format(table.place))
            found.append(_Shape(table, {one.name: one.type_code for one in cursor.description}))
    return found


def planted(
    cursor: Cursor,
    tables: list[Table],
    days: list[date],
    random: Random,
    is_as_it_was: Callable[[Table, str, date], bool],
) -> Iterator[Fault]:
    """Faults of every kind, on days of the given ones: of whole tables on several days, of columns in several.

    In a column that is not as it was on the day, none is planted: who fills it later would hide what is wrong.
    """
    of = shapes(cursor, tables)
    leaks = days[: -LEAKING_DAYS + 1]
    for name, of_rows in _OF_ROWS.items():
        for shape in of:
            for day in random.sample(days, min(_DAYS, len(days))):
                if fault := of_rows(cursor, name, shape, day):
                    yield fault
    for shape in of:
        for day in random.sample(leaks, min(_DAYS, len(leaks))):
            yield _leak(shape, day)
    for name, of_column in _OF_COLUMNS.items():
        places = [
            (shape, column, day)
            for shape in of
            for column in shape.watched
            for day in random.sample(days, min(_DAYS, len(days)))
        ]
        random.shuffle(places)
        there = 0
        for shape, column, day in places:
            if there == _COLUMNS or not is_as_it_was(shape.table, column, day):
                continue
            if fault := of_column(cursor, name, shape, column, day):
                there += 1
                yield fault


def _fault(
    cursor: Cursor, name: str, what: str, shape: _Shape, day: date, touched: sql.Composable, rows: sql.Composable
) -> Fault | None:
    """The fault, with the share of the day's rows that it touches; None where it touches none."""
    cursor.execute(
        sql.SQL("select count(*) filter (where {})::float / nullif(count(*), 0) from {} where {}").format(
            touched, shape.table.place, shape.on(day)
        )
    )
    [[share]] = cursor.fetchall()
    return Fault(name, what, shape.table, day, 1, share, rows) if share else None


def _both(*conditions: sql.Composable) -> sql.Composable:
    return sql.SQL(" and ").join(conditions)


def _half(cursor: Cursor, name: str, shape: _Shape, day: date) -> Fault | None:
    if not shape.is_timed:
        return None
    after_noon = sql.SQL("{} >= {} + interval '12 hours'").format(shape.dated_by, sql.Literal(day))
    rows = shape.lost(_both(shape.on(day), after_noon))
    return _fault(cursor, name, f"{shape.table.name} after noon", shape, day, after_noon, rows)


def _a_fifth(shape: _Shape) -> sql.Composable:
    return sql.SQL(f"{_CHANCE} < 20").format(sql.Identifier(shape.table.name))


def _fifth(cursor: Cursor, name: str, shape: _Shape, day: date) -> Fault | None:
    return _fault(
        cursor, name, shape.table.name, shape, day, _a_fifth(shape), shape.lost(_both(shape.on(day), _a_fifth(shape)))
    )


def _twice(cursor: Cursor, name: str, shape: _Shape, day: date) -> Fault | None:
    return _fault(cursor, name, shape.table.name, shape, day, sql.SQL("true"), shape.twice(shape.on(day)))


def _part_twice(cursor: Cursor, name: str, shape: _Shape, day: date) -> Fault | None:
    return _fault(
        cursor, name, shape.table.name, shape, day, _a_fifth(shape), shape.twice(_both(shape.on(day), _a_fifth(shape)))
    )


def _zone(cursor: Cursor, name: str, shape: _Shape, day: date) -> Fault | None:
    if not shape.is_timed:
        return None
    later = sql.SQL("{} + interval '8 hours'").format(shape.dated_by)
    rows = shape.changed(shape.table.dated_by, later, shape.on(day))
    return _fault(cursor, name, f"{shape.table.name}.{shape.table.dated_by}", shape, day, sql.SQL("true"), rows)


def _leak(shape: _Shape, day: date) -> Fault:
    """Not a share of a fifth on any day but the last ones."""
    left = sql.SQL("power({}, greatest({}::date - {}::date + 1, 0))").format(
        sql.Literal(1 - LEAK), shape.dated_by, sql.Literal(day)
    )
    lost = sql.SQL(f"{_CHANCE} + 0.5 >= 100 * {{}}").format(sql.Identifier(shape.table.name), left)
    share = 1 - (1 - LEAK) ** LEAKING_DAYS
    return Fault(LEAKS, shape.table.name, shape.table, day, LEAKING_DAYS, share, shape.lost(lost))


def _filled(column: str) -> sql.Composable:
    return sql.SQL("{} is not null").format(sql.Identifier(column))


def _empty(cursor: Cursor, name: str, shape: _Shape, column: str, day: date) -> Fault | None:
    rows = shape.changed(column, sql.SQL("null"), shape.on(day))
    fault = _fault(cursor, name, f"{shape.table.name}.{column}", shape, day, _filled(column), rows)
    return fault if fault and fault.share >= _LEAST_SHARE else None


def _cents(cursor: Cursor, name: str, shape: _Shape, column: str, day: date) -> Fault | None:
    if column not in shape.told or shape.columns[column] not in psycopg2.NUMBER.values:
        return None
    rows = shape.changed(column, sql.SQL("{}::numeric * 100").format(sql.Identifier(column)), shape.on(day))
    return _fault(cursor, name, f"{shape.table.name}.{column}", shape, day, _filled(column), rows)


def _commonest(
    cursor: Cursor, shape: _Shape, column: str, day: date, among: range
) -> tuple[str, sql.Composable] | None:
    """The commonest value of a column of words on a day, and the condition that a row has it.

    None where it has more or fewer values than are asked for.
    """
    if shape.columns[column] not in psycopg2.STRING.values:
        return None
    cursor.execute(
        sql.SQL("select {0}, count(*) from {1} where {2} and {0} is not null group by 1 order by 2 desc, 1").format(
            sql.Identifier(column), shape.table.place, shape.on(day)
        )
    )
    values = cursor.fetchall()
    if len(values) not in among or sum(rows for _, rows in values) < len(values) * 5:
        return None
    return values[0][0], sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(values[0][0]))


def _kind_lost(cursor: Cursor, name: str, shape: _Shape, column: str, day: date) -> Fault | None:
    return _of_value(cursor, name, shape, column, day, _KINDS)


def _thing_lost(cursor: Cursor, name: str, shape: _Shape, column: str, day: date) -> Fault | None:
    return _of_value(cursor, name, shape, column, day, _THINGS)


def _of_value(cursor: Cursor, name: str, shape: _Shape, column: str, day: date, among: range) -> Fault | None:
    if not (found := _commonest(cursor, shape, column, day, among)):
        return None
    which = found[1]
    what = f"{shape.table.name} of one {column}"
    fault = _fault(cursor, name, what, shape, day, which, shape.lost(_both(shape.on(day), which)))
    return fault if fault and fault.share >= _LEAST_SHARE else None


def _one_for_all(cursor: Cursor, name: str, shape: _Shape, column: str, day: date) -> Fault | None:
    if column not in shape.told or not (found := _commonest(cursor, shape, column, day, _KINDS)):
        return None
    value, same = found
    rows = shape.changed(column, sql.Literal(value), shape.on(day))
    touched = sql.SQL("({}) is not true").format(same)
    return _fault(cursor, name, f"{shape.table.name}.{column}", shape, day, touched, rows)


LEAKS = "a slow leak of 2 % a day"
_OF_ROWS: dict[str, Callable[[Cursor, str, _Shape, date], Fault | None]] = {
    "half a day missing": _half,
    "a fifth of the rows missing": _fifth,
    "a day twice": _twice,
    "a fifth of the rows twice": _part_twice,
    "a time zone off": _zone,
}
_OF_COLUMNS: dict[str, Callable[[Cursor, str, _Shape, str, date], Fault | None]] = {
    "a column empty": _empty,
    "cents for dollars": _cents,
    "rows of one kind missing": _kind_lost,
    "one product’s rows missing": _thing_lost,
    "one value for all": _one_for_all,
}
