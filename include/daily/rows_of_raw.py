"""How many rows the raw tables have, for the tests that hold a publish where most of them are lost (`ops.rows_of_raw`).

The begin of a run counts, once, and publish keeps that with what it publishes: the tests compare the two
(`keeps_most_rows`, `filled_for_most` in `dbt/tests/generic`). Postgres' own estimates are of no use here: right after a
load they tell of the table before it, and of a view nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw.contract import TABLES, Table
from include.warehouse import transaction

log = logging.getLogger(__name__)

# Of fewer new rows of a kind nothing is said: some hundred are needed before "most" means anything.
LEAST_ROWS = 100


def count(cursor: Cursor, followed_to: Mapping[str, datetime]) -> None:
    """Count each raw table that is there, and in its new rows by kind how many have a value in each column.

    `followed_to` says by table which rows are new: those that were loaded after that. All are where it says nothing.
    The count of all takes the smallest index: 0.2 seconds of a processor for three million rows.
    """
    cursor.execute(
        "select relname, array_agg(attname::text) from pg_class join pg_attribute on attrelid = pg_class.oid"
        " where relnamespace = to_regnamespace(%s) and relname = any(%s) and attnum > 0 and not attisdropped"
        " group by relname",
        (settings.raw_schema(), list(TABLES)),
    )
    columns = dict(cursor.fetchall())
    cursor.execute("delete from ops.rows_of_raw where publication_id is null")
    for name, table in TABLES.items():
        if "_loaded_at" not in columns.get(name, ()):
            continue
        there = [one for one in table.columns if one in columns[name]]
        try:
            with transaction(cursor.connection) as inner:
                _count(inner, table, there, followed_to.get(name))
        except psycopg2.DataError:  # a mapping casts a value that is none: each test of the table says so by its name
            log.warning("%s was not counted.", raw.called(name), exc_info=True)


def _count(cursor: Cursor, table: Table, columns: list[str], followed_to: datetime | None) -> None:
    cursor.execute(
        sql.SQL(
            """
            insert into ops.rows_of_raw (table_name, rows, filled)
            select %(name)s, (select count(*) from {table}), coalesce(jsonb_object_agg(kind, filled), '{{}}')
            from (
                select {kind} as kind, jsonb_build_object('', count(*), {filled}) as filled
                from {table}
                where {new}
                group by 1
                having count(*) >= %(least)s
            ) as kinds
            """
        ).format(
            table=raw.named(table.name),
            # What no status is as long as; of a broken column no more is kept.
            kind=sql.SQL("left(coalesce({}::text, ''), 50)").format(sql.Identifier(table.kind))
            if table.kind in columns
            else sql.Literal(""),
            filled=sql.SQL(", ").join(
                sql.SQL("{}, count({})").format(sql.Literal(one), sql.Identifier(one)) for one in columns
            ),
            # A literal, so that the planner sees how few rows are newer.
            new=sql.SQL("_loaded_at > {}").format(sql.Literal(followed_to)) if followed_to else sql.SQL("true"),
        ),
        {"name": table.name, "least": LEAST_ROWS},
    )


def keep(cursor: Cursor, publication_id: int) -> None:
    """Call in the transaction that publishes: what was counted as the run began is what a later run is compared with.

    Of a kind of rows that was not counted, it is what it was before.
    """
    cursor.execute(
        """
        update ops.rows_of_raw as counted set
            publication_id = %s,
            filled = coalesce(
                (
                    select former.filled
                    from ops.rows_of_raw as former
                    where former.table_name = counted.table_name and former.publication_id is not null
                    order by former.publication_id desc
                    limit 1
                ),
                '{}'
            ) || counted.filled
        where publication_id is null
        """,
        (publication_id,),
    )
