"""Where rows of people are: tables with keys of users or addresses, and which of their columns are personal."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw.contract import BOOKKEEPING, PERSONS, TABLES
from include.warehouse import personal
from include.warehouse.backups import KEPT_ASIDE


class EraseError(RuntimeError):
    """Nothing was changed; the message says why and what to do, without naming the person."""


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


# Texts about people.
OPS = ("ops", f"ops{KEPT_ASIDE}")


def schemas() -> tuple[str, ...]:
    """Those with rows of people, but for `ops`, which has texts; what a restore kept aside has them as well."""
    return (settings.raw_schema(), "staging", "snapshots", f"snapshots{KEPT_ASIDE}", settings.LIVE, settings.BUILT)


def all_of_them(cursor: Cursor) -> list[Place]:
    """By what the contract of raw and the project that was published last mark as personal, whatever table it is in.

    Raises EraseError where a key is of a type that can't hold the one of a stand-in.
    """
    marks: dict[str, str | None] = {column: None for table in TABLES.values() for column in table.personal}
    marks |= personal.columns(cursor) | {key: key for key in PERSONS.values()}
    cursor.execute(
        """
        select nspname, relname, array_agg(attname::text order by attnum),
            array_agg(atttypid::regtype::text order by attnum)
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
    for schema, name, columns, types in cursor.fetchall():
        for one, kind in zip(columns, types, strict=True):
            if marks.get(one) and kind not in ("text", "character varying"):
                raise EraseError(
                    f"{schema}.{name}.{one} is marked as a key of people and is of the type {kind}, which can't hold "
                    "the key of a stand-in; nothing was erased. Make it text, let a run publish, then erase again."
                )
        users = [one for one in columns if marks.get(one) == "user_id"]
        addresses = [one for one in columns if marks.get(one) == "address_id"]
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


def refresh_what_is_materialized(cursor: Cursor) -> list[str]:
    """Let materialized views of our schemas show what is in their tables now; returns their names.

    One may read another that was made before it.
    """
    cursor.execute(
        "select nspname, relname from pg_class join pg_namespace as spaces on spaces.oid = relnamespace"
        " where nspname = any(%s) and relkind = 'm' and relispopulated order by pg_class.oid",
        ([*schemas(), *OPS],),
    )
    found = cursor.fetchall()
    for view in found:
        cursor.execute(sql.SQL("refresh materialized view {}").format(sql.Identifier(*view)))
    return [".".join(view) for view in found]


def read_or_written(cursor: Cursor) -> list[tuple[str, str]]:
    """All that an erasure touches, by schema and name: whatever is in our schemas, and of views the raw tables."""
    cursor.execute(
        """
        select nspname, relname
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        where nspname = any(%s) and (relkind in ('r', 'p', 'm') or nspname = %s and relname = any(%s))
        """,
        ([*schemas(), *OPS], settings.raw_schema(), [*TABLES, *BOOKKEEPING]),
    )
    return cursor.fetchall()


def schemas_of_others(cursor: Cursor) -> tuple[str, ...]:
    """What an erasure doesn't touch, as far as there are rows in it."""
    cursor.execute(
        "select distinct nspname from pg_class join pg_namespace as spaces on spaces.oid = relnamespace"
        " where relkind in ('r', 'm', 'f') and not starts_with(nspname, 'pg_') and nspname <> 'information_schema'"
        " and nspname <> all(%s) order by 1",
        ([*schemas(), *OPS],),
    )
    return tuple(name for (name,) in cursor.fetchall())


def holds(columns: tuple[str, ...], parameter: str) -> sql.Composable:
    """The condition that one of the columns is a key, or has it for a part; the parameter is it between slashes."""
    return sql.SQL(" or ").join(
        sql.SQL("strpos('/' || {} || '/', {}) > 0").format(sql.Identifier(column), sql.Placeholder(parameter))
        for column in columns
    )
