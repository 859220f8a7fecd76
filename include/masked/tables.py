"""What goes into a masked copy: tables, their columns, and by which rule each personal column is replaced.

Personal is what the contract of raw says, and what the project that was published last marks (`personal.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import settings
from include.masked.replace import Rule, replaced
from include.raw.contract import COLUMNS, PERSONS, TABLES
from include.warehouse import personal
from include.warehouse.relation import Relation

RAW, SNAPSHOTS = "raw", "snapshots"
_TEXT = ("text", "character varying", "character", "citext")
# dbt makes it of the key, and anybody who knows a key could make it again.
_SCD_ID = "dbt_scd_id"


class MaskedError(RuntimeError):
    """Nothing was written, here or there; the message says why and what to do."""


@dataclass(frozen=True)
class Column:
    """A column with its type, as Postgres writes it; `rule` is None where its values stay as they are."""

    name: str
    kind: str
    rule: Rule | None = None

    @property
    def sql(self) -> sql.Composable:
        """What a copy has of it."""
        return replaced(self.name, self.kind, self.rule) if self.rule else sql.Identifier(self.name)

    @property
    def is_plain_text(self) -> bool:
        """Whether people may have typed what stays as it is."""
        return self.rule is None and self.kind.startswith((*_TEXT, "json"))


@dataclass(frozen=True)
class Table:
    """A table of `raw` or of `snapshots`, whatever the schema of raw is called. `left_out` are columns."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    left_out: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """For a person, and for a file."""
        return f"{self.schema}.{self.name}"

    @property
    def relation(self) -> Relation:
        """Where it is in this warehouse."""
        return Relation(settings.raw_schema() if self.schema == RAW else self.schema, self.name)


def to_copy(cursor: Cursor) -> list[Table]:
    """The raw tables, with the columns that the contract knows, and the history. Raises MaskedError.

    A raw column that nobody declared is left out: nobody has said what is in it.
    """
    marks: dict[str, str | None] = {column: None for table in TABLES.values() for column in table.personal}
    marks |= {**personal.columns(cursor)} | {key: key for key in PERSONS.values()}
    found = []
    for schema, name, columns in _there(cursor):
        declared = COLUMNS[name] if schema == RAW else dict(columns)
        kept = [
            Column(column, kind, _rule(schema, name, column, kind, marks))
            for column, kind in columns
            if column in declared
        ]
        left_out = tuple(column for column, _ in columns if column not in declared)
        found.append(Table(schema, name, tuple(kept), left_out))
    if missing := {f"{RAW}.{name}" for name in COLUMNS} - {table.called for table in found}:
        raise MaskedError(
            f"There is no {' and no '.join(sorted(missing))} in this warehouse, so nothing was copied. Do the "
            "WAREHOUSE_ variables name the warehouse, and GREENERY_RAW_SCHEMA its raw schema?"
        )
    return found


def _there(cursor: Cursor) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Raw tables, or views in their place, and tables of snapshots: the schema as we call it, name, columns."""
    cursor.execute(
        """
        select
            case when nspname = %(raw)s then 'raw' else 'snapshots' end as schema_name,
            relname,
            array_agg(array[attname::text, format_type(atttypid, atttypmod)] order by attnum)
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        where
            nspname = %(raw)s and relname = any(%(tables)s) and relkind in ('r', 'p', 'v', 'm', 'f')
            or nspname = 'snapshots' and relkind in ('r', 'p')
        group by nspname, relname
        order by 1, 2
        """,
        {"raw": settings.raw_schema(), "tables": list(COLUMNS)},
    )
    return [(schema, name, [tuple(column) for column in columns]) for schema, name, columns in cursor.fetchall()]


def _rule(schema: str, table: str, column: str, kind: str, marks: dict[str, str | None]) -> Rule | None:
    if (schema, table, column) == (RAW, "deletions", "key"):
        return Rule.DELETED_KEY
    if (schema, table, column) == (RAW, "loads", "loaded_from"):
        return Rule.LOADER
    if schema == SNAPSHOTS and column == _SCD_ID:
        return Rule.KEY
    if column not in marks:
        return None
    if not kind.startswith(_TEXT) and kind != "uuid":
        if marks[column]:
            raise MaskedError(
                f"{schema}.{table}.{column} is marked as a key of people and is of the type {kind}, which can't hold a "
                "made-up key; nothing was copied. Make it text, or a uuid."
            )
        return Rule.EMPTIED
    return Rule.KEY if marks[column] or kind == "uuid" else Rule.VALUE
