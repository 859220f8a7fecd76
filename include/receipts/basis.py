"""What a publication stands on: the newest load of each raw table, and the models with the SQL that they ran."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw
from include.dbt_project.manifest import Manifest
from include.warehouse import has_columns


@dataclass(frozen=True)
class Load:
    """A load of a raw table, as `raw.loads` had it; `rows` came new or changed, None where nobody counted."""

    table: str
    loaded_at: datetime
    rows: int | None


@dataclass(frozen=True)
class BuiltModel:
    """A model as it was built: `checksum` is that of its file, `sql` what dbt ran, None where it left none."""

    unique_id: str
    checksum: str
    sql: str | None


# A moment of the clock, such as up to when a model has followed raw: it is another one in each run.
_MOMENT = r"'\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+([+-]\d\d(:\d\d)?)?'"


def note(cursor: Cursor, publication_id: int, manifest: Manifest | None, raw_as_of: datetime | None) -> None:
    """Call in the transaction that publishes; `raw_as_of` is when the run began to read raw.

    Without a manifest it is a publication that comes back: what it stood on is copied from the first time. Of SQL each
    text is kept once, with an ellipsis for moments of the clock.
    """
    if manifest is None:
        _copy(cursor, publication_id)
        return
    cursor.execute(
        "update ops.publications set raw_as_of = %s, macros = %s where publication_id = %s",
        (raw_as_of, manifest.macros_hash, publication_id),
    )
    if has_columns(cursor.connection, raw.called("loads"), "table_name", "loaded_at", "rows"):
        names = {*raw.TABLES, *(source["name"] for source in manifest.sources.values())}
        cursor.execute(
            sql.SQL(
                """
                insert into ops.publication_loads (publication_id, table_name, loaded_at, rows)
                select %s, name, newest.loaded_at, newest.rows
                from unnest(%s::text[]) as name
                cross join lateral (
                    select loaded_at, rows
                    from {}
                    where table_name = name and loaded_at <= coalesce(%s, clock_timestamp())
                    order by loaded_at desc
                    limit 1
                ) as newest
                """
            ).format(raw.named("loads")),
            (publication_id, sorted(names), raw_as_of),
        )
    cursor.execute(
        """
        with made as (
            select made.unique_id, made.checksum, regexp_replace(compiled.sql, %(moment)s, %(ellipsis)s, 'g') as code
            from unnest(%(models)s::text[], %(checksums)s::text[]) as made (unique_id, checksum)
            left join ops.compiled_sql as compiled using (unique_id)
        ),

        kept as (
            insert into ops.code (hash, sql)
            select distinct md5(code), code from made where code is not null
            on conflict do nothing
        )

        insert into ops.publication_models (publication_id, unique_id, checksum, code)
        select %(publication)s, unique_id, checksum, md5(code) from made
        """,
        {
            "moment": _MOMENT,
            "ellipsis": "'…'",
            "models": manifest.drawn,
            "checksums": [checksum(manifest.nodes[one]) for one in manifest.drawn],
            "publication": publication_id,
        },
    )


def checksum(node: dict[str, Any]) -> str:
    """That of the file of a model or seed, as dbt has it; empty where it has none."""
    return (node.get("checksum") or {}).get("checksum") or ""


def _copy(cursor: Cursor, publication_id: int) -> None:
    cursor.execute(
        """
        update ops.publications as made set raw_as_of = former.raw_as_of, macros = former.macros
        from ops.publications as former
        where made.publication_id = %s and former.publication_id <> made.publication_id
            and former.run_id = made.run_id and former.published_at = made.data_as_of
        returning former.publication_id
        """,
        (publication_id,),
    )
    if (row := cursor.fetchone()) is None:
        return
    for table, columns in (
        ("publication_loads", "table_name, loaded_at, rows"),
        ("rows_of_raw", "table_name, rows, filled"),
        ("publication_models", "unique_id, checksum, code"),
    ):
        cursor.execute(
            f"insert into ops.{table} (publication_id, {columns})"  # noqa: S608 - constants
            f" select %s, {columns} from ops.{table} where publication_id = %s",
            (publication_id, *row),
        )


def loaded_at(connection: Connection, publication_id: int) -> datetime:
    """When raw was last loaded before a publication was built from it."""
    with connection.cursor() as cursor:
        cursor.execute("select loaded_at from ops.publication_loaded_at where publication_id = %s", (publication_id,))
        [[at]] = cursor.fetchall()
        return at


def loads(connection: Connection, publication_id: int) -> list[Load]:
    """The newest load of each raw table that a publication stands on, by table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select table_name, loaded_at, rows from ops.publication_loads where publication_id = %s order by 1",
            (publication_id,),
        )
        return [Load(*row) for row in cursor.fetchall()]


def models(connection: Connection, publication_id: int) -> list[BuiltModel]:
    """The models of a publication with their SQL, by unique id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select unique_id, checksum, sql from ops.publication_models left join ops.code on hash = code"
            " where publication_id = %s order by 1",
            (publication_id,),
        )
        return [BuiltModel(*row) for row in cursor.fetchall()]
