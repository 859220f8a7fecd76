"""Where rows of people are: tables with keys of users or addresses, and which of their columns are personal."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw.contract import PERSONS, TABLES
from include.warehouse import personal

# What a restore keeps aside has them as well.
KEPT_ASIDE = "_replaced"


@dataclass(frozen=True)
class Place:
    """A table with rows of people: its columns with keys of users, with keys of addresses, and what else is personal.

    A key may be a part of a longer one, joined by "/".
    """

    schema: str
    name: str
    users: tuple[str, ...]
    addresses: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def called(self) -> str:
        """For a person: schema and name."""
        return f"{self.schema}.{self.name}"

    @property
    def named(self) -> sql.Identifier:
        """For a statement."""
        return sql.Identifier(self.schema, self.name)


def schemas() -> tuple[str, ...]:
    """Those with rows of people, but for `ops`, which has texts."""
    return (settings.raw_schema(), "staging", "snapshots", f"snapshots{KEPT_ASIDE}", settings.LIVE, settings.BUILT)


def all_of_them(cursor: Cursor) -> list[Place]:
    """By what the contract of raw and the project that was published last mark as personal, whatever table it is in."""
    marks: dict[str, str | None] = {column: None for table in TABLES.values() for column in table.personal}
    marks |= personal.columns(cursor) | {key: key for key in PERSONS.values()}
    cursor.execute(
        """
        select nspname, relname, array_agg(attname::text order by attnum),
            array_agg(attname::text order by attnum) filter (where atttypid in ('text'::regtype, 'varchar'::regtype))
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped and attgenerated = ''
        where nspname = any(%s) and relkind in ('r', 'p') and not relispartition
        group by nspname, relname
        order by nspname, relname
        """,
        (list(schemas()),),
    )
    places = []
    for schema, name, columns, texts in cursor.fetchall():
        users = [one for one in texts or () if marks.get(one) == "user_id"]
        addresses = [one for one in texts or () if marks.get(one) == "address_id"]
        values = [one for one in columns if one in marks and marks[one] is None]
        if schema == settings.raw_schema() and name in PERSONS:  # a column that the contract does not know as well
            values += [one for one in columns if one not in (*TABLES[name].columns, "_loaded_at", *values)]
        if users or addresses:
            places.append(Place(schema, name, tuple(users), tuple(addresses), tuple(values)))
    return places


def shown_from_elsewhere(cursor: Cursor) -> list[Place]:
    """The raw tables of people that are views of the shop's own, which nobody but the shop can change."""
    return [
        Place(settings.raw_schema(), name, ("user_id",), (), ())
        for name in raw.views(cursor)
        if name in TABLES and "user_id" in TABLES[name].columns
    ]


def holds(columns: tuple[str, ...], parameter: str) -> sql.Composable:
    """The condition that one of the columns is a key, or has it for a part; the parameter is it between slashes."""
    return sql.SQL(" or ").join(
        sql.SQL("strpos('/' || {} || '/', {}) > 0").format(sql.Identifier(column), sql.Placeholder(parameter))
        for column in columns
    )
