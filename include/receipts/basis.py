"""What a publication stands on: the newest load of each raw table, and the models with the SQL that they ran."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from include import raw
from include.dbt_project.manifest import Manifest


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


def note(cursor: Cursor, publication_id: int, manifest: Manifest | None, raw_as_of: datetime | None) -> None:
    """Call in the transaction that publishes; `raw_as_of` is when the run began to read raw.

    Without a manifest it is a publication that comes back: what it stood on is copied from the first time.
    """
    if manifest is None:
        _copy(cursor, publication_id)
        return
    cursor.execute("update ops.publications set raw_as_of = %s where publication_id = %s", (raw_as_of, publication_id))
    if raw.exists(cursor, "loads"):
        cursor.execute(
            sql.SQL(
                """
                insert into ops.publication_loads (publication_id, table_name, loaded_at, rows)
                select distinct on (table_name) %s, table_name, loaded_at, rows
                from {}
                where loaded_at <= coalesce(%s, clock_timestamp())
                order by table_name, loaded_at desc
                """
            ).format(raw.named("loads")),
            (publication_id, raw_as_of),
        )
    cursor.execute(
        """
        insert into ops.code (hash, sql)
        select md5(sql), sql from ops.compiled_sql where unique_id = any(%s)
        on conflict do nothing
        """,
        (sorted(manifest.models),),
    )
    execute_values(
        cursor,
        """
        insert into ops.publication_models (publication_id, unique_id, checksum, code)
        select made.publication_id, made.unique_id, made.checksum, md5(compiled.sql)
        from (values %s) as made (publication_id, unique_id, checksum)
        left join ops.compiled_sql as compiled using (unique_id)
        """,
        [(publication_id, one, manifest.nodes[one].get("checksum", {}).get("checksum", "")) for one in manifest.models],
    )


def _copy(cursor: Cursor, publication_id: int) -> None:
    cursor.execute(
        """
        select former.publication_id, former.raw_as_of
        from ops.publications as made
        join ops.publications as former
            on former.run_id = made.run_id and former.published_at = made.data_as_of
        where made.publication_id = %s and former.publication_id <> made.publication_id
        """,
        (publication_id,),
    )
    if (row := cursor.fetchone()) is None:
        return
    former, raw_as_of = row
    cursor.execute("update ops.publications set raw_as_of = %s where publication_id = %s", (raw_as_of, publication_id))
    for table, columns in (
        ("publication_loads", "table_name, loaded_at, rows"),
        ("publication_models", "unique_id, checksum, code"),
    ):
        cursor.execute(
            f"insert into ops.{table} (publication_id, {columns})"  # noqa: S608 - constants
            f" select %s, {columns} from ops.{table} where publication_id = %s",
            (publication_id, former),
        )


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
