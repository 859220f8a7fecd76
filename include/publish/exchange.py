"""The exchange of the two schemas by name, in one transaction: publish, and its way back.

What is live is locked first. Without the locks a query that joins two marts while names change can read one old and one
new.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import buffers, settings
from include.buffers import Buffer
from include.dbt_project.manifest import Manifest
from include.publish import gate, locks
from include.publish.gate import NotPublishedError
from include.results import publications
from include.results.publications import Decision
from include.warehouse import connect, roles

LIVE, BUILT = "analytics", buffers.BUILT
ATTEMPTS = 30

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _View:
    """A view of somebody's on a mart: it follows the table, and not the name, when the schemas are exchanged."""

    oid: int
    name: str
    kind: str
    schema: str
    owner: str
    definition: str
    options: str


def exchange(
    run_id: str,
    buffer: Buffer,
    *,
    manifest: Manifest | None = None,
    as_of: datetime | None = None,
    decision: Decision | None = None,
    attempts: int | None = None,
) -> datetime:
    """Make what was built aside what people query; returns as of when it is.

    `buffer` is what was looked at and found fit. `manifest` says which tables in it models own:
    what nobody owns is dropped (None: nothing is). `as_of` is None where the marts are new, else when they were first
    published. Raises NotPublishedError, with nothing changed, where readers hold their locks through all attempts, or
    where somebody else built or published meanwhile.
    """
    attempts = attempts or ATTEMPTS
    refresh_statistics()
    with connect("greenery publish") as connection, locks.watched(connection) as in_the_way:
        for attempt in range(1, attempts + 1):
            try:
                with connection.cursor() as cursor:
                    _check_nothing_came_between(cursor, buffer, by_hand=decision is not None)
                    told_as_of = _exchange(cursor, run_id, manifest, as_of, decision)
                    connection.commit()
                    return told_as_of
            except locks.NotGot:
                connection.rollback()
                log.info("Attempt %d of %d: %s.", attempt, attempts, locks.in_words(in_the_way))
                time.sleep(1)
    raise NotPublishedError(
        f"{locks.in_words(in_the_way) or f'Schema {LIVE} was held by somebody'}, through {attempts} attempts, so "
        "nothing was published. End long queries and idle transactions there, then "
        f"{'clear publish' if decision is None else 'decide again'}."
    )


def refresh_statistics() -> None:
    """ANALYZE what was built and has changed much since the planner last looked at it."""
    with connect("greenery publish") as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            select relname
            from pg_stat_user_tables
            where schemaname = %s
                and (
                    coalesce(last_analyze, last_autoanalyze) is null
                    or n_mod_since_analyze > 1000 + 0.1 * n_live_tup
                )
            order by relname
            """,
            (BUILT,),
        )
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("analyze {}").format(sql.Identifier(BUILT, name)))


def _check_nothing_came_between(cursor: Cursor, buffer: Buffer, *, by_hand: bool) -> None:
    """One exchange at a time, of what its caller looked at, and not if publishing was held back meanwhile."""
    cursor.execute("select pg_advisory_xact_lock(hashtext('greenery exchange'))")
    if buffers.current(cursor.connection) != buffer:
        raise NotPublishedError("Somebody else has built or published at this moment; nothing more was changed.")
    if not by_hand:
        gate.check_not_held(cursor.connection)


def _exchange(
    cursor: Cursor,
    run_id: str,
    manifest: Manifest | None,
    as_of: datetime | None,
    decision: Decision | None,
) -> datetime:
    locks.keep_out_maintenance(cursor, LIVE, BUILT)
    notes = _prune(cursor, manifest) if manifest and manifest.models else []
    views = _views(cursor, _views_of_models(cursor, manifest))
    locks.keep_out_readers(cursor, LIVE, [view.oid for view in views])
    for before, after in ((LIVE, "analytics_former"), (BUILT, LIVE), ("analytics_former", BUILT)):
        cursor.execute(sql.SQL("alter schema {} rename to {}").format(sql.Identifier(before), sql.Identifier(after)))
    notes += [note for view in views if (note := _point_to_live(cursor, view))]
    roles.open_to_readers(cursor, LIVE, closed=BUILT)
    told_as_of = publications.note(cursor, run_id, LIVE, as_of=as_of, decision=decision, notes=notes)
    if as_of is None:
        buffers.published(cursor, LIVE, proven=decision is None)
    by = f", {decision.action} by {decision.decided_by}: {decision.reason}" if decision else ""
    for schema, purpose in (
        (LIVE, f"published {told_as_of:%Y-%m-%d %H:%M} UTC by run {run_id}{by}"),
        (BUILT, "Where dbt builds what the next publish puts into analytics."),
    ):
        cursor.execute(sql.SQL("comment on schema {} is {}").format(sql.Identifier(schema), sql.Literal(purpose)))
    return told_as_of


def _tables(cursor: Cursor, schema: str) -> list[str]:
    cursor.execute("select tablename from pg_tables where schemaname = %s order by tablename", (schema,))
    return [name for (name,) in cursor.fetchall()]


def _prune(cursor: Cursor, manifest: Manifest) -> list[str]:
    """Drop what no model owns any more from the build schema, and forget it; returns what there is to say of it."""
    former = buffers.relations(cursor, BUILT)
    buffers.keep_models(cursor, BUILT, manifest.relations_of(BUILT))
    cursor.execute("select viewname from pg_views where schemaname = %s and viewname = any(%s)", (BUILT, list(former)))
    there = [("view", name) for (name,) in cursor.fetchall()] + [("table", name) for name in _tables(cursor, BUILT)]
    notes = []
    for kind, name in sorted(there):
        if name in manifest.tables_of(BUILT):
            continue
        dropped = _attempt(cursor, sql.SQL(f"drop {kind} {{}}").format(sql.Identifier(BUILT, name)))
        notes.append(
            f"{kind} {name} is gone: no model makes it any more"
            if dropped
            else f"{kind} {name} stays as it was, though no model makes it any more: something of somebody's reads it"
        )
    return notes


def _views_of_models(cursor: Cursor, manifest: Manifest | None) -> list[str]:
    """What a model makes, in both buffers and elsewhere, as schema and name: right as they were built."""
    in_buffers = buffers.relations(cursor, LIVE) | buffers.relations(cursor, BUILT)
    made = {(schema, name) for schema in (LIVE, BUILT) for name in in_buffers}
    if manifest:
        made |= {(manifest.nodes[model].get("schema"), name) for model, name in manifest.relations.items()}
    return [f"{schema}.{name}" for schema, name in made]


def _views(cursor: Cursor, of_models: list[str]) -> list[_View]:
    """People's own views on marts, those in schemas of ours and of models not counted."""
    cursor.execute(
        """
        select distinct
            views.oid, format('%%I.%%I', spaces.nspname, views.relname), views.relkind::text, marts.nspname,
            pg_get_userbyid(views.relowner), pg_get_viewdef(views.oid),
            coalesce(array_to_string(views.reloptions, ', '), '')
        from pg_depend
        join pg_rewrite on pg_rewrite.oid = pg_depend.objid
        join pg_class as views on views.oid = pg_rewrite.ev_class
        join pg_namespace as spaces on spaces.oid = views.relnamespace
        join pg_class as tables on tables.oid = pg_depend.refobjid and tables.oid <> views.oid
        join pg_namespace as marts on marts.oid = tables.relnamespace
        where pg_depend.classid = 'pg_rewrite'::regclass
            and pg_depend.refclassid = 'pg_class'::regclass
            and marts.nspname in (%s, %s)
            and spaces.nspname not in ('staging', 'snapshots', 'ops', %s)
            and spaces.nspname || '.' || views.relname <> all(%s)
        order by 2
        """,
        (LIVE, BUILT, settings.raw_schema(), of_models),
    )
    return [_View(*row) for row in cursor.fetchall()]


def _point_to_live(cursor: Cursor, view: _View) -> str | None:
    """Make a view read the new marts by the names that it was written with; returns what to say where that can't be."""
    told = f"view {view.name} of {view.owner}"
    if view.schema == LIVE and view.kind == "v":
        options = f"with ({view.options})" if view.options else ""
        statement = sql.SQL(f"create or replace view {view.name} {options} as {view.definition}")
        if _attempt(cursor, statement):
            return None
    return f"{told} does not read what is published now: its owner has to create it again"


def _attempt(cursor: Cursor, statement: sql.Composable) -> bool:
    """Execute a statement that may be refused; True if it was not."""
    cursor.execute("savepoint attempt")
    try:
        cursor.execute(statement)
    except locks.NotGot:
        raise
    except psycopg2.Error as error:
        log.warning("%s", error)
        cursor.execute("rollback to savepoint attempt")
        return False
    cursor.execute("release savepoint attempt")
    return True
