"""The source mapping: raw tables that the shop calls otherwise, and their columns.

`dbt/raw_mapping.yml` says, by raw table, which table of the shop's it is and which of its columns is which. Each is
shown under its raw name by a view in the raw schema, made by `python -m include.raw`, so that everything that
reads raw (sources, snapshots, watermarks, freshness) knows one set of names. `docs/own-shop.md` has an example.

    schema: warenwirtschaft
    tables:
      orders:
        table: bestellungen
        columns: {order_id: bestellnr, promo_id: null}          # null: the shop has no such thing
        expressions: {status: "case stand when 'neu' then 'preparing' else 'shipped' end"}
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw.contract import COLUMNS
from include.warehouse import connect

FILE = "raw_mapping.yml"
_SIGN = "As dbt/raw_mapping.yml says: "


class MappingError(ValueError):
    """The mapping does not fit the raw tables or the shop's; nothing was changed. The message says where."""


@dataclass(frozen=True)
class Mapped:
    """Which table of the shop's a raw table is.

    `columns` says by raw column which column of it that is, None where the shop has none; one that is not named is
    called the same. `expressions` says by raw column the SQL, over the columns of the shop's table, that makes it.
    """

    schema: str
    table: str
    columns: dict[str, str | None]
    expressions: dict[str, str]

    @property
    def told(self) -> str:
        """For a person: what it is."""
        return f"a view of {self.schema}.{self.table}"

    @property
    def comment(self) -> str:
        """What the view says of itself: another mapping has another."""
        known = json.dumps(asdict(self), sort_keys=True).encode()
        return f"{_SIGN}{self.told} ({hashlib.blake2b(known, digest_size=8).hexdigest()})"


def read(folder: Path) -> dict[str, Mapped]:
    """The mapping of a dbt project by raw table; empty where it has none. Raises MappingError."""
    default = settings.shop_database_schema() if settings.shop_database_url() else None
    try:
        text = (folder / FILE).read_text()
    except FileNotFoundError:
        return {}
    try:
        content = _fields(yaml.safe_load(text) or {}, "it", {"schema", "tables"})
        return {
            name: _mapped(name, entry, content.get("schema", default))
            for name, entry in _fields(content.get("tables") or {}, "tables", COLUMNS).items()
        }
    except (yaml.YAMLError, MappingError) as error:
        raise MappingError(f"{folder / FILE}: {error}") from None


def to_show() -> dict[str, Mapped]:
    """The mapping of which the raw schema shows views: that of the dbt project, unless a live load reads by it."""
    return {} if settings.shop_database_url() else read(settings.dbt_source_dir())


def show(cursor: Cursor, mapping: dict[str, Mapped]) -> None:
    """Create or renew the views of a mapping, in the caller's transaction. Raises MappingError."""
    if mapping:
        raw.create_schema(cursor)
    for name, mapped in mapping.items():
        if raw.exists(cursor, name) and name not in raw.views(cursor):
            raise MappingError(
                f"{raw.called(name)} is a table, and the mapping wants to show {mapped.schema}.{mapped.table} there: "
                f"drop the table if nothing needs it, name another schema with GREENERY_RAW_SCHEMA, or mend {FILE}"
            )
        statement = sql.SQL("create or replace view {} as {}").format(raw.named(name), _select(cursor, name, mapped))
        try:
            cursor.execute(statement)
        except psycopg2.Error as error:
            raise MappingError(f"{FILE}, {name}: {str(error).strip()}") from None
        # Whoever made a view of this name before could change this one.
        cursor.execute(sql.SQL("alter view {} owner to current_user").format(raw.named(name)))
        cursor.execute(sql.SQL("comment on view {} is %s").format(raw.named(name)), (mapped.comment,))
    if left := sorted(_shown(cursor).keys() - mapping.keys()):
        called = ", ".join(map(raw.called, left))
        raise MappingError(f"{called} is mapped no more: `drop view {called} cascade`, then call this again")


def problem(folder: Path) -> str | None:
    """Why the raw schema does not show what the mapping of a dbt project says, and the way out; None where it does.

    Asked by a run before it reads raw: with the old views under a new mapping, marts that take changes alone would be a
    mix of both for ever.
    """
    if settings.shop_database_url():  # then it says how the live load reads the shop's database
        return None
    try:
        mapped = read(folder)
    except MappingError as error:
        return str(error)
    with connect("greenery mapping") as connection, connection.cursor() as cursor:
        others = differing(cursor, mapped)
    if others:
        called = ", ".join(map(raw.called, sorted(others)))
        return (
            f"{called} does not show what dbt/{FILE} says. Nothing was built: let the administrator run "
            "`python -m include.raw` and `python -m include.warehouse.roles` with the same settings, then clear "
            "this task with everything downstream."
        )
    return None


def differing(cursor: Cursor, mapping: dict[str, Mapped]) -> set[str]:
    """The raw tables that are not shown as a mapping says."""
    shown, tables = _shown(cursor), _tables_of_views(cursor)
    differing = shown.keys() - mapping.keys()
    differing |= {name for name, wanted in mapping.items() if shown.get(name) != wanted.comment}
    return differing | {name for name, wanted in mapping.items() if (name, wanted.schema, wanted.table) not in tables}


def _shown(cursor: Cursor) -> dict[str, str]:
    """The views in the raw schema that were made from a mapping, with what they say of themselves."""
    cursor.execute(
        """
        select relname, obj_description(pg_class.oid, 'pg_class')
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        where nspname = %s and relkind = 'v' and obj_description(pg_class.oid, 'pg_class') like %s
        """,
        (settings.raw_schema(), f"{_SIGN}%"),
    )
    return dict(cursor.fetchall())


def _tables_of_views(cursor: Cursor) -> set[tuple[str, str, str]]:
    """What the views in the raw schema read, as it is called now: view, schema, table.

    A view stays with its table where that is renamed, and does not go over to another that is made in its place.
    """
    cursor.execute(
        """
        select shown.relname, spaces.nspname, sources.relname
        from pg_class as shown
        join pg_namespace as shown_in on shown_in.oid = shown.relnamespace
        join pg_rewrite on pg_rewrite.ev_class = shown.oid
        join pg_depend on
            pg_depend.classid = 'pg_rewrite'::regclass
            and pg_depend.objid = pg_rewrite.oid
            and pg_depend.refclassid = 'pg_class'::regclass
        join pg_class as sources on sources.oid = pg_depend.refobjid
        join pg_namespace as spaces on spaces.oid = sources.relnamespace
        where shown_in.nspname = %s and shown.relkind = 'v'
        """,
        (settings.raw_schema(),),
    )
    return set(cursor.fetchall())


def _mapped(name: str, entry: Any, schema: str | None) -> Mapped:
    fields = _fields(entry, name, {"schema", "table", "columns", "expressions"})
    columns = _fields(fields.get("columns") or {}, f"columns of {name}", COLUMNS[name])
    expressions = _fields(fields.get("expressions") or {}, f"expressions of {name}", COLUMNS[name])
    schema, table = fields.get("schema", schema), fields.get("table", name)
    for text in (schema, table, *(one for one in columns.values() if one is not None), *expressions.values()):
        if not isinstance(text, str) or not text.strip():
            raise MappingError(f"{name}: {text!r} should be a name (schema, table and columns are needed as text)")
    if twice := columns.keys() & expressions.keys():
        raise MappingError(f"{name}: {', '.join(sorted(twice))} is both a column and an expression")
    if settings.shop_database_url():  # in another database; and the load stamps the rows
        return Mapped(schema, table, columns, expressions)
    if columns.get("_loaded_at", "") is None:
        raise MappingError(f"{name}: _loaded_at can't be null, since marts take what is stamped; {FILE} has to name it")
    if (schema, table) == (settings.raw_schema(), name):
        raise MappingError(
            f"{schema}.{table} can't be shown in its own place: name another schema with GREENERY_RAW_SCHEMA"
        )
    return Mapped(schema, table, columns, expressions)


def _fields(content: Any, what: str, known: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise MappingError(f"{what} should be a mapping (key: value)")
    if unknown := sorted(map(str, content.keys() - set(known))):
        raise MappingError(f"{what}: {', '.join(unknown)} is none of {', '.join(sorted(known))}")
    return content


def value(name: str, column: str, mapped: Mapped, types: dict[str, str]) -> sql.Composable:
    """What a column of a raw table is, in its type, over the columns of a shop's table, `types` by name.

    Raises MappingError where the shop's table has no such column.
    """
    wanted, source = COLUMNS[name][column], mapped.columns.get(column, column)
    if column in mapped.expressions:
        found = sql.SQL("({})").format(sql.SQL(mapped.expressions[column]))
    elif source is None:
        found = sql.SQL("null")
    elif source not in types:
        raise MappingError(
            f"{mapped.schema}.{mapped.table} has no column {source}, which is wanted for {name}.{column}; it has "
            f"{', '.join(types)}. {FILE} can name another"
        )
    else:
        found = sql.Identifier(source)
        if wanted == "timestamptz" and types[source] in ("timestamp without time zone", "date"):
            # Without a zone a moment is in UTC, whatever the zone of who asks.
            found = sql.SQL("cast({} as timestamp) at time zone 'UTC'").format(found)
    return sql.SQL("cast({} as {})").format(found, sql.SQL(wanted))


def types(cursor: Cursor, mapped: Mapped) -> dict[str, str]:
    """The columns of a shop's table with their types. Raises MappingError where there is no such table."""
    cursor.execute(
        """
        select attname, format_type(atttypid, null)
        from pg_attribute
        where attrelid = to_regclass(format('%%I.%%I', %s, %s)) and attnum > 0 and not attisdropped
        order by attnum
        """,
        (mapped.schema, mapped.table),
    )
    found = dict(cursor.fetchall())
    if not found:
        raise MappingError(f"there is no table {mapped.schema}.{mapped.table}; {FILE} says what tables are called")
    return found


def _select(cursor: Cursor, name: str, mapped: Mapped) -> sql.Composable:
    """The rows of a shop's table in the names and types of a raw one."""
    known = types(cursor, mapped)
    return sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(
            sql.SQL("{} as {}").format(value(name, column, mapped, known), sql.Identifier(column))
            for column in COLUMNS[name]
        ),
        sql.Identifier(mapped.schema, mapped.table),
    )
