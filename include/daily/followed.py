"""Whether raw is still what a buffer followed: a table that was lost or emptied, a clock that was set back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw.contract import BOOKKEEPING, TABLES
from include.warehouse import has_columns

log = logging.getLogger(__name__)


def files(cursor: Cursor) -> dict[str, int]:
    """The file that each raw table lies in, `deletions` and `loads` among them; of a view, of the tables behind it.

    Postgres gives a table another file where it is made anew, truncated, or written anew as a whole. A partitioned
    table lies in none.
    """
    cursor.execute(
        """
        with recursive shown (name, relation, kind) as (
            select relname, oid, relkind from pg_class
            where relnamespace = to_regnamespace(%(schema)s) and relname = any(%(tables)s)
            union
            select shown.name, behind.oid, behind.relkind
            from shown
            join pg_rewrite on ev_class = relation
            join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
            join pg_class as behind on refclassid = 'pg_class'::regclass and refobjid = behind.oid
            where shown.kind = 'v' and shown.name <> all(%(notes)s)
        )
        select name, (sum(pg_relation_filenode(relation)::bigint) %% 4294967296)::bigint
        from shown
        where kind in ('r', 'm')
        group by name
        """,
        {
            "schema": settings.raw_schema(),
            "tables": [*TABLES, *BOOKKEEPING],
            "notes": list(BOOKKEEPING),
        },
    )
    return dict(cursor.fetchall())


def stamps(cursor: Cursor, columns: Mapping[str, str]) -> dict[str, sql.Identifier]:
    """Of the columns that are asked for by raw table, those that are there and hold moments, by table.

    A table of the shop's own may have a name of ours; what has another shape is told by the tests of the sources.
    """
    cursor.execute(
        "select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
        " join pg_namespace as spaces on spaces.oid = relnamespace"
        " where nspname = %s and not attisdropped and atttypid = any('{date, timestamp, timestamptz}'::regtype[])",
        (settings.raw_schema(),),
    )
    there = set(cursor.fetchall())
    return {table: sql.Identifier(column) for table, column in columns.items() if (table, column) in there}


def lost_rows(cursor: Cursor, buffer: int, files: Mapping[str, int]) -> bool:
    """Whether raw was lost or emptied since a buffer followed it: which keys are gone then, `deletions` doesn't say."""
    cursor.execute("select source, file from ops.watermarks where schema_oid = %s and file is not null", (buffer,))
    return any(files.get(source) != file for source, file in cursor.fetchall())


def mark_those_ahead(cursor: Cursor) -> None:
    """Have each buffer built anew that was noted to be followed at a moment that is still to come.

    The clock was set back since, and may pass that moment before the buffer's turn has come: what is stamped until then
    would look as if the buffer had it.
    """
    cursor.execute(
        "update ops.buffers set rebuild = true where since > clock_timestamp() and not rebuild returning since"
    )
    for (since,) in cursor.fetchall():
        log.warning(
            "The clock was set back: what was built at %s UTC is to come. That buffer is built anew in its next run.",
            since.astimezone(UTC).strftime("%d %b %Y %H:%M:%S"),
        )


def passes_rows_over(cursor: Cursor, buffer: int, files: Mapping[str, int]) -> bool:
    """Whether something came into raw after a buffer was published, and is stamped as if the buffer had followed it.

    Postgres numbers transactions, whatever the clock says. By the table of loads, since raw is long; and only lately,
    since the numbers come again.
    """
    came = [
        sql.SQL("select {source}::text as source, {stamp} as stamp, {table}.xmin from {table}").format(
            source=sql.Identifier("table_name") if name == "loads" else sql.Literal(name),
            stamp=stamp,
            table=raw.named(name),
        )
        for name, stamp in stamps(cursor, {"loads": "loaded_at", "deletions": "deleted_at"}).items()
        if name in files and (name != "loads" or has_columns(cursor.connection, raw.called(name), "table_name"))
    ]
    if not came:
        return False
    cursor.execute(
        sql.SQL(
            """
            select source, stamp::text
            from ({}) as came
            join ops.watermarks as followed using (source)
            where followed.schema_oid = %s
                and stamp <= loaded_at and stamp > loaded_at - interval '1 week'
                and age(came.xmin) < age(followed.xmin)
            limit 1
            """
        ).format(sql.SQL(" union all ").join(came)),
        (buffer,),
    )
    found = cursor.fetchone()
    if found:
        log.warning(
            "The clock was set back: raw.%s came after what is stamped later than %s. All is built anew.", *found
        )
    return found is not None
