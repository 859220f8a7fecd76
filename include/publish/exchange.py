"""The exchange of the two schemas by name, in one transaction: publish, and its way back.

What is live is locked first. Without the locks a query that joins two marts while names change can read one old and one
new.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection, Mapping
from datetime import datetime

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.daily import buffers, rows_of_raw
from include.daily.buffers import Buffer
from include.dbt_project.manifest import Manifest
from include.publish import beside_marts, changes, gate, locks, on_marts, receipts
from include.publish.gate import NotPublishedError
from include.receipts.move import Found
from include.results import publications, trust
from include.results.publications import Decision
from include.settings import BUILT, LIVE
from include.warehouse import connect, personal, roles

# With the pauses between them, longer than what readers are held to (`roles.HELD_TO`): more than six minutes.
ATTEMPTS = 90
# How long statistics may wait for a table. Whoever holds one for longer is waited for, and named, by the exchange.
LONGEST_WAIT_FOR_STATISTICS = "5s"

log = logging.getLogger(__name__)


def exchange(
    run_id: str,
    buffer: Buffer,
    *,
    manifest: Manifest | None = None,
    as_of: datetime | None = None,
    decision: Decision | None = None,
    proven: bool = True,
    attempts: int | None = None,
    notes: Collection[str] = (),
    moved: Collection[Found] = (),
) -> datetime:
    """Make what was built aside what people query; returns as of when it is.

    `buffer` is what was looked at and found fit. `manifest` says which tables in it models own:
    what nobody owns is dropped (None: nothing is). `as_of` is None where the marts are new, else when they were first
    published. `proven` says that every test passed on it. `notes` are for the message, `moved` is what of what was told
    changes with it. Raises NotPublishedError, with nothing changed, where readers hold their locks through all
    attempts, or where somebody else built or published meanwhile.
    """
    attempts = attempts or ATTEMPTS
    refresh_statistics()
    with connect("greenery publish") as connection, locks.watched(connection) as in_the_way:
        for attempt in range(1, attempts + 1):
            try:
                with connection.cursor() as cursor:
                    told_as_of = _exchange(cursor, buffer, run_id, manifest, as_of, decision, proven, notes, moved)
                    connection.commit()
                    return told_as_of
            except (psycopg2.Error, locks.HeldError) as error:
                if not locks.not_got(error):
                    raise
                connection.rollback()
                for holder, look in error.by if isinstance(error, locks.HeldError) else ():
                    in_the_way[holder].append(look)
                log.info("Attempt %d of %d: %s.", attempt, attempts, locks.in_words(in_the_way))
                if attempt < attempts:
                    time.sleep(pause(attempt))
    raise NotPublishedError(
        f"{locks.in_words(in_the_way) or f'Schema {LIVE} was held by somebody'}, through {attempts} attempts, so "
        "nothing was published. Let them end what they do there, or end the session as the administrator: `python -m "
        f"include.under_way end PID`. Then {'clear publish' if decision is None else 'decide again'}."
    )


def pause(attempt: int) -> int:
    """How many seconds to wait after an attempt: readers who come meanwhile wait for none of ours."""
    return 1 if attempt <= 30 else 5


def refresh_statistics() -> None:
    """ANALYZE what was built and has changed much since the planner last looked at it, as far as that can be done now.

    Each table in a transaction of its own: who waits for one that it has, while it waits for theirs, is a deadlock.
    """
    with connect("greenery publish") as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("set lock_timeout = %s", (LONGEST_WAIT_FOR_STATISTICS,))
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
            try:
                cursor.execute(sql.SQL("analyze {}").format(sql.Identifier(BUILT, name)))
            except psycopg2.Error as error:
                if connection.closed:
                    raise
                # Held or cancelled; or dropped, which is found out once nobody can do that any more.
                log.warning("%s.%s has no new statistics: %s", BUILT, name, error)


def _take_turn(cursor: Cursor) -> None:
    """One exchange at a time, and nobody builds meanwhile."""
    # How long it waits for tables is a matter of the statement, and for another exchange of its attempts.
    cursor.execute("set local lock_timeout = 0")
    # Readers and the next try would wait for a process that is frozen from here on for as long as it is.
    cursor.execute("set local idle_in_transaction_session_timeout = '30s'")
    cursor.execute("select pg_advisory_xact_lock(hashtext('greenery exchange'))")
    locks.keep_out_builders(cursor, BUILT)
    locks.check_nobody_makes_anything(cursor, LIVE, BUILT)


def _check_nothing_came_between(cursor: Cursor, buffer: Buffer, *, by_hand: bool) -> None:
    """What is exchanged is what its caller looked at, and publishing was not held back meanwhile."""
    now = buffers.current(cursor.connection)
    if now != buffer:
        changed: list[str] = []
        if (now.schema_oid, now.since) == (buffer.schema_oid, buffer.since):  # else another run began, or published
            built = dict(now.built.items() ^ buffer.built.items())
            changed = sorted(built or dict(now.relations.items() ^ buffer.relations.items()))
        what = f": {', '.join(changed)}" if changed else ""
        raise NotPublishedError(
            f"Somebody else has built or published at this moment{what}. Nothing more was changed. Where nothing was "
            "published, trigger a new run, or clear check_sources with everything downstream of it."
        )
    if not by_hand:
        gate.check_not_held(cursor.connection)


def _exchange(
    cursor: Cursor,
    buffer: Buffer,
    run_id: str,
    manifest: Manifest | None,
    as_of: datetime | None,
    decision: Decision | None,
    proven: bool,
    said: Collection[str],
    moved: Collection[Found],
) -> datetime:
    _take_turn(cursor)
    _check_nothing_came_between(cursor, buffer, by_hand=decision is not None)
    cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(LIVE)))  # somebody dropped it
    # Readers wait for the commit, and would wait for a replica with it, which may be gone. What tells of the publish is
    # committed after it, and does wait where the server is set so.
    cursor.execute("set local synchronous_commit = local")
    locks.keep_out_maintenance(cursor, LIVE)
    notes = [*said, *(_prune(cursor, manifest) if manifest and manifest.models else ())]
    models = _models(cursor, manifest)
    if trust.NAME in models[BUILT]:
        trust.make_way(cursor)
    _check_nobodys_is_lost(cursor, models, then="clear publish" if decision is None else "decide again")
    of_models = _of_models(manifest, models)
    found = beside_marts.readers(cursor, LIVE, BUILT, of_models)
    notes += on_marts.left_behind(cursor, LIVE, BUILT)
    notes += beside_marts.tied(cursor, LIVE, of_models)
    locks.keep_out_readers(
        cursor,
        LIVE,
        views=[reader.oid for reader in found if reader.kind != "function"],
        functions=[reader.oid for reader in found if reader.kind == "function"],
    )
    # As they are called now: until a moment ago their owners could rename them.
    readers = beside_marts.readers(cursor, LIVE, BUILT, of_models)
    if any(models.values()):
        notes += beside_marts.stay(cursor, LIVE, BUILT, models)
    carried = [
        change
        for look_up in (on_marts.row_security, on_marts.rights, on_marts.comments_and_options)
        for change in look_up(cursor, LIVE, BUILT)
    ]
    # What is live is called so for a moment, which nobody sees. Who may make schemas must not know it before.
    in_between = f"greenery exchange {secrets.token_hex(8)}"
    for before, after in ((LIVE, in_between), (BUILT, LIVE), (in_between, BUILT)):
        cursor.execute(sql.SQL("alter schema {} rename to {}").format(sql.Identifier(before), sql.Identifier(after)))
    notes += changes.make(cursor, carried)
    if manifest and manifest.models:
        personal.note(cursor, manifest.personal)
    roles.open_to_readers(cursor, LIVE, closed=BUILT)
    notes += [note for reader in readers if (note := beside_marts.point_to(cursor, LIVE, reader))]
    publication_id, told_as_of = publications.note(cursor, run_id, LIVE, as_of=as_of, decision=decision, notes=notes)
    receipts.keep(cursor, publication_id, run_id, buffer, manifest if as_of is None else None, moved)
    if as_of is None:
        buffers.published(cursor, LIVE, proven=proven)
        rows_of_raw.keep(cursor, publication_id)
    by = f", {decision.action} by {decision.by}: {decision.reason}" if decision else ""
    for schema, purpose in (
        (LIVE, f"published {told_as_of:%Y-%m-%d %H:%M} UTC by run {run_id}{by}"),
        (BUILT, "Where dbt builds what the next publish puts into analytics."),
    ):
        cursor.execute(sql.SQL("comment on schema {} is {}").format(sql.Identifier(schema), sql.Literal(purpose)))
    # Nor has begun to since in what was live. Who has in the other one builds by hand, and waits for us.
    locks.check_nobody_makes_anything(cursor, BUILT)
    return told_as_of


def _models(cursor: Cursor, manifest: Manifest | None) -> dict[str, set[str]]:
    """The names of what models made, by schema: each buffer knows its own.

    Of one that `ops` has forgotten, as after a restore, it is what is called like a model and is ours. Before anything
    was published, nothing is.
    """
    models = {schema: buffers.relations(cursor, schema) for schema in (LIVE, BUILT)}
    if manifest and manifest.models:
        models[BUILT] |= manifest.tables_of(BUILT)
    if not buffers.is_known(cursor, LIVE):
        cursor.execute(
            "select relname from pg_class where relnamespace = to_regnamespace(%s) and relname = any(%s)"
            " and pg_get_userbyid(relowner) = current_user and exists (select from ops.publications)",
            (LIVE, sorted(models[BUILT])),
        )
        models[LIVE] = {name for (name,) in cursor.fetchall()}
    return models


def _check_nobodys_is_lost(cursor: Cursor, models: Mapping[str, Collection[str]], *, then: str) -> None:
    """Raise NotPublishedError where something that somebody has put into what is live could not stay as it is."""
    if taken := beside_marts.in_the_way(cursor, LIVE, models):
        name, owner = taken
        raise NotPublishedError(
            f"Table {name} of {owner} in {LIVE} has the name of a model, and a later build would drop it; nothing was "
            "published. Let its owner rename it or move it to another schema (or call the model otherwise), then "
            f"{then}."
        )
    if shown := on_marts.shown_by_a_view(cursor, LIVE, BUILT):
        raise NotPublishedError(
            f"Table {shown} has row security, and what is to take its place is a view, which can have none: whoever "
            "may read it would see every row. Nothing was published. Materialize the model as a table, or let all "
            f"see all of it (alter table {LIVE}.{shown} disable row level security), then {then}."
        )


def _prune(cursor: Cursor, manifest: Manifest) -> list[str]:
    """Drop from the build schema what was a model's, and forget it where it is gone; returns what there is to say."""
    former = buffers.relations(cursor, BUILT) - manifest.tables_of(BUILT)
    cursor.execute(
        """
        select case relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end, relname
        from pg_class
        where relnamespace = to_regnamespace(%s) and relkind in ('r', 'v', 'm') and relname = any(%s)
        order by 1, 2
        """,
        (BUILT, sorted(former)),
    )
    notes, kept = [], []
    for kind, name in cursor.fetchall():
        if changes.attempt(cursor, sql.SQL(f"drop {kind} {{}}").format(sql.Identifier(BUILT, name))):
            notes.append(f"{kind} {name} is gone: no model makes it any more")
        else:
            kept.append(name)
            notes.append(
                f"{kind} {name} stays as it was, though no model makes it any more: something of somebody's reads it"
            )
    buffers.keep_models(cursor, BUILT, manifest.relations_of(BUILT), besides=kept)
    return notes


def _of_models(manifest: Manifest | None, in_buffers: Mapping[str, Collection[str]]) -> list[str]:
    """What a model makes, in both buffers and elsewhere, as schema and name: right as they were built."""
    made = {(schema, name) for schema, names in in_buffers.items() for name in names}
    if manifest:
        made |= {(manifest.nodes[model].get("schema"), name) for model, name in manifest.relations.items()}
    return [f"{schema}.{name}" for schema, name in made]
