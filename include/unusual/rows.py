"""What the rows of a raw table are like, by UTC day: one statement, in one pass over what is new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import isfinite
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.unusual.series import Measure, Observation, Series

STAMP = "_loaded_at"
# A column with no more values than this is a small set, and the share of each is watched.
SMALL = 12
# To be taken for one, a column needs so many times as many rows in its first day: notes to five orders are no set.
_ROWS_PER_VALUE = 5
_LONGEST_ITEM = 100
# So many columns of a table are watched, the first ones.
_COLUMNS = 100
_DATES = ("timestamptz", "timestamp", "date")
_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8")
_WORDS = ("text", "varchar", "bpchar", "bool", "enum")
_COMPARED = (*_DATES, *_NUMBERS, *_WORDS, "time", "timetz", "interval", "uuid", "inet", "cidr", "bytea", "jsonb")

# The values of a small set that were there before, by column.
Known = dict[str, set[str]]


@dataclass(frozen=True)
class Table:
    """A raw table: `dated_by` is the column that says on which day a row was, empty where none does.

    Of `counted_only` columns, keys and what is personal, no value is looked at; `ignored` ones are not watched.
    """

    unique_id: str
    schema: str
    name: str
    dated_by: str = ""
    counted_only: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    @property
    def place(self) -> sql.Identifier:
        """For a statement."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class _Column:
    """A column, what can be asked of it, and what it is called in the statement."""

    name: str
    kind: str
    alias: str
    is_counted_only: bool

    @property
    def is_number(self) -> bool:
        return self.kind in _NUMBERS and not self.is_counted_only

    @property
    def may_be_small(self) -> bool:
        return self.kind in _WORDS and not self.is_counted_only

    def aggregates(self) -> Iterator[sql.Composable]:
        """How many values, how many distinct ones, and where it is a number the least, the greatest and the mean.

        As `numeric`, in which no sum is too large.
        """
        column = sql.Identifier(self.alias)
        yield sql.SQL("count({})").format(column)
        yield sql.SQL("count(distinct {})" if self.kind in _COMPARED else "null::bigint").format(column)
        if self.is_number:
            for ask in ("min", "max", "avg"):
                yield sql.SQL("{}({}::numeric)").format(sql.SQL(ask), column)


def by_day(cursor: Cursor, table: Table, days: tuple[date, date], known: Known) -> Iterator[Observation]:
    """What the rows of each of the days are like, from the first to the last. `known` grows by what they show.

    A row dated on a day was loaded after it began, so the statement looks at what was stamped since, by its index.
    """
    kinds = columns(cursor, table)
    dated_as = _dated_as(table, kinds)
    watched = [name for name in kinds if name not in table.ignored | {table.dated_by, STAMP}][:_COLUMNS]
    asked = [
        _Column(name, kinds[name], f"c{nth}", name in table.counted_only or name.startswith("_"))
        for nth, name in enumerate(watched)
    ]
    cursor.execute(_statement(table, dated_as, kinds.get(STAMP, ""), asked, days, known))
    names = [one.name for one in cursor.description]
    found = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
    for day in each_day(days):
        yield from _of_day(table, day, asked, found.get(day, {}), known, hours=dated_as != "date")


def count_by_day(cursor: Cursor, table: Table, days: tuple[date, date]) -> Iterator[Observation]:
    """How many rows are dated on each of past days, as far as they are still there: one scan."""
    dated_as = _dated_as(table, columns(cursor, table))
    cursor.execute(
        sql.SQL("select {day}, count(*) from {table} where {within} group by 1").format(
            day=_day(table.dated_by, dated_as), table=table.place, within=_within(table.dated_by, dated_as, days)
        )
    )
    found = dict(cursor.fetchall())
    for day in each_day(days):
        yield Observation(Series(table.unique_id, Measure.ROWS), day, float(found.get(day, 0)), afterwards=True)


def _dated_as(table: Table, kinds: Mapping[str, str]) -> str:
    """The type of the column that dates a table's rows."""
    if (kind := kinds.get(table.dated_by, "")) in _DATES:
        return kind
    raise ValueError(f"it has no column {table.dated_by} of dates or times, which its `event_time` names")


def count(cursor: Cursor, table: Table, limit: int) -> int | None:
    """How many rows there are; None where there are more than `limit`, or nothing of that name."""
    cursor.execute("select reltuples from pg_class where oid = to_regclass(%s)", (table.place.as_string(cursor),))
    row = cursor.fetchone()
    if row is None or row[0] > limit:
        return None
    cursor.execute(
        sql.SQL("select count(*) from (select from {} limit {}) as counted").format(table.place, sql.Literal(limit + 1))
    )
    [[rows]] = cursor.fetchall()
    return rows if rows <= limit else None


def columns(cursor: Cursor, table: Table) -> dict[str, str]:
    """The type of each column by its name, in the table's order; of a domain the type below it."""
    cursor.execute(
        """
        select attname, case when kinds.typtype = 'e' then 'enum' else kinds.typname end
        from pg_attribute
        join pg_type as declared on declared.oid = atttypid
        join pg_type as kinds on kinds.oid = coalesce(nullif(declared.typbasetype, 0), declared.oid)
        where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
        order by attnum
        """,
        (table.place.as_string(cursor),),
    )
    return dict(cursor.fetchall())


# With the day's rows first, everything else reads only these. Sets are grouped once more, by each column's values.
_STATEMENT = """
with day_rows as materialized (
    select {day} as day, {hour} as hour{columns}
    from {table}
    where {within}
)

select *
from (
    select day, count(*) as rows, count(distinct floor(hour)) as hours,
        percentile_cont(0.5) within group (order by hour) as midday{aggregates}
    from day_rows
    group by day
) as days
{joins}
"""
_SET = """
left join (
    select day, jsonb_object_agg(item, rows) as {items}
    from (
        select day, item, count(*) as rows, row_number() over (partition by day order by count(*) desc, item) as place
        from (select day, left({column}::text, {longest}) as item from day_rows where {column} is not null) as named
        group by day, item
    ) as counted
    where place <= {small} or item = any({known})
    group by day
) as {alias} using (day)
"""


def _statement(
    table: Table, dated_as: str, stamped_as: str, columns: list[_Column], days: tuple[date, date], known: Known
) -> sql.Composable:
    within = _within(table.dated_by, dated_as, days)
    if stamped_as in _DATES:
        within = sql.SQL("{} >= {} and {}").format(sql.Identifier(STAMP), _midnight(days[0], stamped_as), within)
    aggregates = [
        sql.SQL("{} as {}").format(aggregate, sql.Identifier(f"{one.alias}_{nth}"))
        for one in columns
        for nth, aggregate in enumerate(one.aggregates())
    ]
    joins = [
        sql.SQL(_SET).format(
            items=sql.Identifier(f"{one.alias}_items"),
            alias=sql.Identifier(f"set_{one.alias}"),
            column=sql.Identifier(one.alias),
            longest=sql.Literal(_LONGEST_ITEM),
            small=sql.Literal(SMALL),
            known=sql.SQL("{}::text[]").format(sql.Literal(sorted(known.get(one.name, ())))),
        )
        for one in columns
        if one.may_be_small
    ]
    return sql.SQL(_STATEMENT).format(
        day=_day(table.dated_by, dated_as),
        hour=_hour(table.dated_by, dated_as),
        columns=_listed([sql.SQL("{} as {}").format(*map(sql.Identifier, (one.name, one.alias))) for one in columns]),
        table=table.place,
        within=within,
        aggregates=_listed(aggregates),
        joins=sql.SQL("").join(joins),
    )


def _listed(more: list[sql.Composable]) -> sql.Composable:
    """What comes behind others in a list."""
    return sql.SQL("").join(sql.SQL(", {}").format(one) for one in more)


def _midnight(day: date, kind: str) -> sql.Composable:
    """When a day begins in UTC, to be compared with a column of a type."""
    return sql.SQL("({}::timestamp at time zone 'UTC')" if kind == "timestamptz" else "{}::timestamp").format(
        sql.Literal(day)
    )


def _within(column: str, kind: str, days: tuple[date, date]) -> sql.Composable:
    first, last = days
    return sql.SQL("{0} >= {1} and {0} < {2}").format(
        sql.Identifier(column), _midnight(first, kind), _midnight(last + timedelta(days=1), kind)
    )


def _in_utc(column: str, kind: str) -> sql.Composable:
    return sql.SQL("{} at time zone 'UTC'" if kind == "timestamptz" else "{}").format(sql.Identifier(column))


def _day(column: str, kind: str) -> sql.Composable:
    return sql.SQL("({})::date").format(_in_utc(column, kind))


def _hour(column: str, kind: str) -> sql.Composable:
    """Hours since midnight; the same for all where a day is all that is known."""
    if kind == "date":
        return sql.SQL("0::float")
    return sql.SQL("extract(epoch from ({})::time)::float / 3600").format(_in_utc(column, kind))


def each_day(days: tuple[date, date]) -> list[date]:
    """The days from the first to the last."""
    first, last = days
    return [first + timedelta(days=nth) for nth in range((last - first).days + 1)]


def _of_day(
    table: Table, day: date, columns: list[_Column], found: Mapping[str, Any], known: Known, *, hours: bool
) -> Iterator[Observation]:
    """The observations of one day, by what the statement found of it."""

    def seen(measure: Measure, value: Any, column: str = "", item: str = "") -> Observation:
        return Observation(Series(table.unique_id, measure, column, item), day, number(value))

    rows = found.get("rows", 0)
    yield seen(Measure.ROWS, rows)
    if hours:
        yield seen(Measure.HOURS, found.get("hours", 0))
        yield seen(Measure.MIDDAY, found.get("midday"))
    for one in columns:
        values, distinct, *numbers = (found.get(f"{one.alias}_{nth}") for nth in range(5))
        yield seen(Measure.NULLS, 1 - values / rows if rows else None, one.name)
        if one.kind in _COMPARED:
            yield seen(Measure.DISTINCT, distinct / values if values else None, one.name)
        if one.is_number:
            measures = (Measure.LEAST, Measure.GREATEST, Measure.MEAN)
            yield from (seen(*pair, one.name) for pair in zip(measures, numbers, strict=True))
        if one.may_be_small and values:
            there = known.setdefault(one.name, set())
            items = found[f"{one.alias}_items"]
            if there:
                yield seen(Measure.NEW_VALUES, distinct - len(there & items.keys()), one.name)
            if there or (distinct <= SMALL and values >= _ROWS_PER_VALUE * distinct):
                there |= items.keys() if len(there | items.keys()) <= SMALL else set()
            for item in sorted(there):
                yield seen(Measure.SHARE, items.get(item, 0) / rows, one.name, item)


def number(value: Any) -> float | None:
    """A number of the database's; None where there is none, or none that is finite."""
    if value is None:
        return None
    as_float = float(value)
    return as_float if isfinite(as_float) else None
