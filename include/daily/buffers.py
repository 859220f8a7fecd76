"""The two buffers: what `ops` remembers of the schemas that publish exchanges, so that a build can take changes alone.

dbt builds in one schema while people read the other, and publish exchanges their names. The two are therefore two runs
apart, and each remembers for itself

* `ops.watermarks`: up to when it has followed each raw table, and `raw.deletions`, and in which file that lay,
* `ops.buffer_models`: when each model was built into it, an incremental one with which checksum, and whether that was
  since it was published (written by dbt, in the transaction that writes the model: `dbt/macros/daily/buffers.sql`),
* `ops.buffers`: whether everything in it has to be built anew, and whether a model has begun to write to it since it
  was published: dbt marks it so before that, in a transaction of its own, and only publish takes the mark back. Also
  since when a run builds in it, and which of raw's stamps were ahead of the clock then: they are no later loads.

As a run begins it is asked whether raw is still what a buffer followed (`followed.py`), and the rows of raw are counted
(`rows_of_raw.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.daily import followed, rows_of_raw
from include.raw.contract import TABLES
from include.settings import BUILT

# A row can be stamped some time before the transaction that writes it commits, so a run looks again at what was stamped
# within this time before the former run began.
OVERLAP = timedelta(minutes=10)

log = logging.getLogger(__name__)


def begin(
    connection: Connection,
    run_id: str,
    *,
    full_refresh: bool = False,
    overlap: timedelta = OVERLAP,
) -> bool:
    """Call before a run first builds: decides whether the buffer is rebuilt (True), and notes how far raw is now.

    All its tests read all of history where it is rebuilt, and where the project has changed since, so that old rows
    have not passed them. Once asked for, that is owed until a run is published. Else each does so once a week, in its
    turn (`dbt/macros/daily/new_rows.sql`), if that came after `scanned_at`.

    It is rebuilt where `ops` doesn't know it, where something was built into it that was never published (half a run,
    or a `dbt run` by hand), where a table that was built is gone, where a raw table was emptied or made anew, where the
    clock was set back, or where `full_refresh` asks for it. What is noted of raw counts from this run's publish on.
    """
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(BUILT)))  # somebody dropped it
        cursor.execute("select to_regnamespace(%s)::oid", (BUILT,))
        (buffer,) = cursor.fetchone()
        _let_rows_be_published(cursor)
        files = followed.files(cursor)
        followed.mark_those_ahead(cursor)
        rebuild = (
            full_refresh
            or _is_unsound(cursor, buffer)
            or followed.lost_rows(cursor, buffer, files)
            or followed.passes_rows_over(cursor, buffer, files)
        )
        # A release that says so by its moment alone: the run that begins is younger than that.
        cursor.execute(
            "update ops.buffer_models as models set written = true from ops.buffers"
            " where buffers.schema_oid = models.schema_oid and models.schema_oid = %s"
            " and built_at > since and not written",
            (buffer,),
        )
        cursor.execute(
            """
            insert into ops.buffers as held (schema_oid, run_id, since, rebuild, scan, products)
            values (%(buffer)s, %(run_id)s, clock_timestamp(), %(rebuild)s, true, %(products)s)
            on conflict (schema_oid) do update set
                run_id = excluded.run_id, since = excluded.since, rebuild = excluded.rebuild,
                products = excluded.products,
                scan = excluded.rebuild or held.scan or held.scanned_at is null
                    or not coalesce(
                        (select release from ops.runs where run_id = held.run_id)
                        = (select release from ops.runs where run_id = excluded.run_id),
                        false
                    )
            returning since
            """,
            {
                "buffer": buffer,
                "run_id": run_id,
                "rebuild": rebuild,
                "products": _products(cursor),
            },
        )
        stamps = _stamps(cursor)
        if stamps:
            ahead = sql.SQL(" union ").join(
                sql.SQL("select {stamp} from {table} where {stamp} > since").format(
                    stamp=stamp, table=raw.named(source)
                )
                for source, stamp in stamps.items()
            )
            cursor.execute(
                sql.SQL("update ops.buffers set ahead = array({}) where schema_oid = %s").format(ahead), (buffer,)
            )
        for source, newest in _newest(cursor, stamps).items():
            cursor.execute(
                """
                insert into ops.watermarks (schema_oid, source, pending, file)
                values (%s, %s, least(coalesce(%s::timestamptz, '-infinity'), clock_timestamp() - %s), %s)
                on conflict (schema_oid, source) do update set pending = excluded.pending, file = excluded.file
                """,
                (buffer, source, newest, overlap, files.get(source)),
            )
        # Also where all is built anew: the rows of before were published, and tell nothing of what came since.
        cursor.execute(
            "select source, loaded_at from ops.watermarks where schema_oid = %s and loaded_at > '-infinity'", (buffer,)
        )
        rows_of_raw.count(cursor, {source: at for source, at in cursor.fetchall() if source in stamps})
    log.info("Run %s builds %s", run_id, "everything anew" if rebuild else "what changed")
    return rebuild


def published(cursor: Cursor, schema: str, *, proven: bool) -> None:
    """Call in the transaction that publishes a buffer, by the name that it has now: it is sound, as of its `begin`.

    What was published although a test failed is not `proven`: tests read all of history in the next run on it, and in
    that on the other buffer, until all have passed. Else those have done so whose turn it was as the run began.

    Except where the products changed while the run read them: a price that the models saw and the snapshot didn't is
    forgotten, so what was built with it is built anew next time.
    """
    cursor.execute(
        """
        update ops.buffers set
            since = clock_timestamp(),
            dirty = false,
            rebuild = products is distinct from %(products)s,
            scanned_at = case when %(proven)s then since else scanned_at end,
            scan = not %(proven)s
        where schema_oid = to_regnamespace(%(schema)s)::oid
        """,
        {"products": _products(cursor), "proven": proven, "schema": schema},
    )
    if not proven:  # what a test found may be an old row of the other buffer as well
        cursor.execute("update ops.buffers set scan = true where not scan")
    cursor.execute(
        "update ops.buffer_models set written = false where schema_oid = to_regnamespace(%s)::oid", (schema,)
    )
    cursor.execute(
        "update ops.watermarks set loaded_at = pending where schema_oid = to_regnamespace(%s)::oid", (schema,)
    )


def mark(connection: Connection) -> None:
    """Call before something is built into the buffer: it is no longer as it was published.

    dbt's hooks say so as well, where a project has them: they know of a build by hand.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.buffers set dirty = true where schema_oid = to_regnamespace(%s)::oid and not dirty", (BUILT,)
        )


@dataclass(frozen=True)
class Buffer:
    """The buffer that is built into: its schema's oid, who began on it last and when, and what was built since.

    `built` says when each model was last written, by its unique id, whoever wrote it. `relations` has a text for each
    table and view that is there, by its name: another where it was made anew or emptied, also by who left no word.
    """

    schema_oid: int
    run_id: str | None
    since: datetime | None
    built: dict[str, datetime]
    relations: dict[str, str]


def current(connection: Connection) -> Buffer:
    """What `ops` knows of the buffer that is built into now; no run and nothing built where it doesn't know it.

    Nor where somebody dropped it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select spaces.oid, buffers.run_id, buffers.since
            from pg_namespace as spaces
            left join ops.buffers on buffers.schema_oid = spaces.oid
            where spaces.nspname = %s
            """,
            (BUILT,),
        )
        oid, run_id, since = cursor.fetchone() or (0, None, None)
        cursor.execute(
            "select unique_id, built_at from ops.buffer_models where schema_oid = %s and built_at > %s", (oid, since)
        )
        built = dict(cursor.fetchall())
        cursor.execute(
            """
            select
                relname,
                concat_ws(
                    ' ', oid, relfilenode,
                    (select string_agg(xmin::text, ' ' order by rulename) from pg_rewrite where ev_class = pg_class.oid)
                )
            from pg_class
            where relnamespace = %s and relkind in ('r', 'p', 'v', 'm')
            """,
            (oid,),
        )
        return Buffer(oid, run_id, since, built, dict(cursor.fetchall()))


def is_written_over(connection: Connection, schema_oid: int) -> bool:
    """Whether a buffer no longer holds what was published of it: a model was built into it, or is gone.

    Or may have been built, where one began to be and some leave no word.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select
                exists (
                    select from ops.buffer_models as models
                    join pg_class on relnamespace = models.schema_oid
                        and relname = coalesce(models.identifier, split_part(models.unique_id, '.', 3))
                    where models.schema_oid = buffers.schema_oid
                        and (
                            models.written
                            or models.built_at > buffers.since
                            or buffers.dirty and models.built_at = '-infinity'
                        )
                )
                or {_LACKS_A_TABLE}
            from ops.buffers
            where schema_oid = %s
            """,  # noqa: S608 - a constant
            (schema_oid,),
        )
        known = cursor.fetchone()
        return known is not None and known[0]


def keep_models(cursor: Cursor, schema: str, relations: Mapping[str, str], besides: Collection[str] = ()) -> None:
    """Let a buffer that is being published know its models, by what each is called there, and forget all others.

    `besides` are the names of tables that no model makes any more, and that are still there.
    """
    cursor.execute(
        """
        delete from ops.buffer_models
        where schema_oid = to_regnamespace(%s)::oid
            and unique_id <> all(%s)
            and coalesce(identifier, split_part(unique_id, '.', 3)) <> all(%s)
        """,
        (schema, sorted(relations), list(besides)),
    )
    # Nothing is continued from them: their model, come back, would lack what came in between.
    cursor.execute(
        "update ops.buffer_models set checksum = null"
        " where schema_oid = to_regnamespace(%s)::oid and unique_id <> all(%s)",
        (schema, sorted(relations)),
    )
    # A model whose folder has no hook has left no word itself, and leaves none of when it is built.
    cursor.execute(
        """
        insert into ops.buffer_models (schema_oid, unique_id, identifier, rebuilt, written, built_at)
        select buffers.schema_oid, made.unique_id, made.identifier, true, false, '-infinity'
        from unnest(%(models)s::text[], %(relations)s::text[]) as made (unique_id, identifier)
        join ops.buffers on buffers.schema_oid = to_regnamespace(%(schema)s)::oid
        on conflict (schema_oid, unique_id) do update set identifier = excluded.identifier
        """,
        {"models": list(relations), "relations": list(relations.values()), "schema": schema},
    )


def is_known(cursor: Cursor, schema: str) -> bool:
    """Whether `ops` knows a buffer. It doesn't before a first build, nor after a backup was restored."""
    cursor.execute("select from ops.buffers where schema_oid = to_regnamespace(%s)::oid", (schema,))
    return cursor.rowcount > 0


def relations(cursor: Cursor, schema: str) -> set[str]:
    """What the models are called that were built into a buffer."""
    cursor.execute(
        "select coalesce(identifier, split_part(unique_id, '.', 3)) from ops.buffer_models"
        " where schema_oid = to_regnamespace(%s)::oid",
        (schema,),
    )
    return {name for (name,) in cursor.fetchall()}


def loaded_since_begin(
    connection: Connection, *, after: datetime | None = None, before: datetime | None = None
) -> datetime | None:
    """The newest stamp, at most now, of what came into raw since a run began to build; None where nothing did.

    Of that between two moments, where they are given; a stamp that is ahead of the clock may have come in between as
    well. What was there as the run began does not count, however it is stamped.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select schema_oid, since from ops.buffers where schema_oid = to_regnamespace(%s)::oid", (BUILT,)
        )
        begun = cursor.fetchone()
        stamps = _stamps(cursor)
        if begun is None or not stamps:
            return None
        buffer, since = begun
        came = sql.SQL(" union all ").join(
            sql.SQL(
                """
                select max({stamp})
                from {table} as came
                where {stamp} > %(after)s
                    and ({stamp} < coalesce(%(before)s::timestamptz, 'infinity') or {stamp} > statement_timestamp())
                    and not exists (
                        select from ops.buffers cross join unnest(ahead) as known (stamp)
                        where schema_oid = %(buffer)s and known.stamp = came.{stamp}
                    )
                """
            ).format(stamp=stamp, table=raw.named(source))
            for source, stamp in stamps.items()
        )
        cursor.execute(
            sql.SQL(
                "select max(least(stamp, statement_timestamp())) from ({}) as came (stamp) where stamp is not null"
            ).format(came),
            {"buffer": buffer, "after": max(since, after or since), "before": before},
        )
        (newest,) = cursor.fetchone()
        return newest


def newest_stamps(connection: Connection) -> dict[str, datetime | None]:
    """When a row was last loaded into each raw table, and taken from one (`deletions`); None where nothing says so."""
    with connection.cursor() as cursor:
        return _newest(cursor, _stamps(cursor))


# That a model was written since a buffer was published; by its moment, where a release wrote it that says nothing else.
_WAS_WRITTEN = """
exists (
    select from ops.buffer_models as models
    where models.schema_oid = buffers.schema_oid and (models.written or models.built_at > buffers.since)
)
"""
# That the table of an incremental model is not in the buffer in which it was built.
_LACKS_A_TABLE = """
exists (
    select from ops.buffer_models as models
    where models.schema_oid = buffers.schema_oid
        and models.checksum is not null
        and not exists (
            select from pg_class
            where relnamespace = models.schema_oid
                and relname = coalesce(models.identifier, split_part(models.unique_id, '.', 3))
        )
)
"""


def _is_unsound(cursor: Cursor, buffer: int) -> bool:
    cursor.execute(
        f"select rebuild or dirty or {_WAS_WRITTEN} or {_LACKS_A_TABLE}"  # noqa: S608 - constants
        " from ops.buffers where schema_oid = %s",
        (buffer,),
    )
    known = cursor.fetchone()
    return known is None or known[0]


def _let_rows_be_published(cursor: Cursor) -> None:
    """Give our tables a replica identity where somebody publishes them, or no row could be deleted or updated."""
    cursor.execute(
        """
        select distinct spaces.nspname, tables.relname
        from pg_publication_tables as published
        join pg_publication as publications on publications.pubname = published.pubname
        join pg_namespace as spaces on spaces.nspname = published.schemaname
        join pg_class as tables on tables.relnamespace = spaces.oid and tables.relname = published.tablename
        where (publications.pubdelete or publications.pubupdate)
            and spaces.nspname = any(%s)
            and tables.relreplident = 'd'
            and not exists (select from pg_index where indrelid = tables.oid and indisprimary)
            and pg_has_role(tables.relowner, 'usage')
        """,
        ([schema for schema in settings.OUR_SCHEMAS if schema != settings.LIVE],),  # which nobody writes to
    )
    for table in cursor.fetchall():
        cursor.execute(sql.SQL("alter table {} replica identity full").format(sql.Identifier(*table)))


def _stamps(cursor: Cursor) -> dict[str, sql.Identifier]:
    """By raw table that is there, `deletions` among them, the column that says when a row was loaded."""
    return followed.stamps(cursor, dict.fromkeys(TABLES, "_loaded_at") | {"deletions": "deleted_at"})


def _newest(cursor: Cursor, stamps: Mapping[str, sql.Identifier]) -> dict[str, datetime | None]:
    """The newest stamp in each raw table and in `deletions`, off its index; None where there is no row or table.

    One from the future says nothing of when a row was loaded (`stamps_from_the_future` tells of it), and one of before
    our era nothing either: Python has no type for it.
    """
    newest: dict[str, datetime | None] = dict.fromkeys((*TABLES, "deletions"))
    if stamps:
        cursor.execute(
            sql.SQL(" union all ").join(
                sql.SQL(
                    "select {source}, max({stamp}) from {table}"
                    " where {stamp} between '0002-01-01' and statement_timestamp()"
                ).format(source=sql.Literal(source), stamp=stamp, table=raw.named(source))
                for source, stamp in stamps.items()
            )
        )
        newest |= dict(cursor.fetchall())
    return newest


def _products(cursor: Cursor) -> str | None:
    """A hash over all products, whatever their order."""
    if not raw.exists(cursor, "products"):
        return None
    cursor.execute(
        sql.SQL("select sum(hashtextextended(products::text, 0))::text from {} as products").format(
            raw.named("products")
        )
    )
    return cursor.fetchone()[0]
