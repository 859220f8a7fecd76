"""A relation of the warehouse by its two names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor


class Relation(NamedTuple):
    """A table or view, whatever it is called."""

    schema: str
    name: str

    @property
    def sql(self) -> sql.Identifier:
        """It, as a statement names it."""
        return sql.Identifier(self.schema, self.name)


def columns(cursor: Cursor, relation: Relation) -> sql.Composed:
    """The columns that rows can be written to, in their order, as a statement lists them."""
    cursor.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
        " and attgenerated = '' order by attnum",
        (relation.sql.as_string(cursor),),
    )
    return sql.SQL(", ").join(sql.Identifier(name) for (name,) in cursor.fetchall())


def readable(connection: Connection, relations: Mapping[str, Relation]) -> dict[str, Relation]:
    """Those that are tables which we may read."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select named.unique_id
            from unnest(%s::text[], %s::text[], %s::text[]) as named (unique_id, schema, name)
            join pg_namespace as spaces on spaces.nspname = named.schema
            join pg_class as tables on tables.relnamespace = spaces.oid and tables.relname = named.name
            where tables.relkind in ('r', 'p', 'm')
                and has_schema_privilege(spaces.oid, 'usage') and has_table_privilege(tables.oid, 'select')
            """,
            (list(relations), [one.schema for one in relations.values()], [one.name for one in relations.values()]),
        )
        return {unique_id: relations[unique_id] for (unique_id,) in cursor.fetchall()}
