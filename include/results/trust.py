"""How far each published mart can be trusted: the view `analytics.trust`, for a dashboard to show beside its chart.

What a publish knows of its marts is kept in `ops.publication_marts`. The view adds what can change without a publish:
who holds it back, and whether a run did not publish since.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from include import settings
from include.dbt_project.manifest import Manifest
from include.receipts import basis
from include.results import node_results, publications
from include.results.publications import HOLD, RELEASE
from include.settings import BUILT, LIVE
from include.warehouse import transaction

NAME = "trust"
# The table that the view reads; no view of anybody else's does.
_TABLE = "publication_marts"

# No row where the newest publication is not what goes by the name of what is live, as where `ops` alone was restored.
_TRUST = sql.SQL(
    """
    with live as (
        select newest.publication_id, newest.published_at, newest.data_as_of, newest.decision_id
        from (
            select publication_id, published_at, data_as_of, decision_id, schema_oid
            from ops.publications
            order by publication_id desc
            limit 1
        ) as newest
        where newest.schema_oid = to_regnamespace({live})::oid
    ),
    hold as (
        select newest.decided_at, newest.decided_by, newest.reason
        from (
            select action, decided_at, decided_by, reason
            from ops.decisions
            where action in ({hold}, {release})
            order by decision_id desc
            limit 1
        ) as newest
        where newest.action = {hold}
    ),
    refused as (
        select min(told.created_at) as since, (array_agg(told.run_id order by told.created_at desc))[1] as run_id
        from ops.messages as told
        cross join live
        where told.kind = 'failed' and told.created_at > live.published_at
    ),
    broken as (
        select
            words.resource_type || ' ' || words.name as what,
            row_number() over (order by words.recorded_at, words.unique_id) as place,
            count(*) over () as of_all
        from refused
        cross join lateral (
            select unique_id, resource_type, name, recorded_at
            from ops.last_words
            where last_words.run_id = refused.run_id and status in ('fail', 'error')
        ) as words
    ),
    why as (
        select
            string_agg(what, ', ' order by place)
            || case when max(of_all) > 3 then ' and ' || max(of_all) - 3 || ' more' else '' end as broke
        from broken
        where place <= 3
    )
    select
        marts.mart,
        live.data_as_of as as_of,
        live.published_at,
        marts.complete_to,
        marts.tested_at,
        marts.tests_passed,
        marts.tests_warned,
        marts.tests_let_through,
        least(hold.decided_at, refused.since) as held_since,
        hold.decided_by as held_by,
        coalesce(
            hold.reason,
            case
                when refused.since is not null
                    then coalesce('failed: ' || why.broke, 'the last run did not reach its end')
            end
        ) as held_why,
        decisions.action as decided,
        decisions.decided_by,
        decisions.reason as decided_why
    from live
    join ops.publication_marts as marts on marts.publication_id = live.publication_id
    cross join refused
    cross join why
    left join hold on true
    left join ops.decisions as decisions on decisions.decision_id = live.decision_id
    """
).format(live=sql.Literal(LIVE), hold=sql.Literal(HOLD), release=sql.Literal(RELEASE))

_VIEW = sql.SQL("create or replace view {} with (security_barrier) as {}").format(sql.Identifier(LIVE, NAME), _TRUST)

# What a BI tool shows of the columns.
_COLUMNS = {
    "mart": "The table or view in this schema that the row is about.",
    "as_of": "When its data was first published. It is older than published_at where former marts were put back.",
    "published_at": "Since when people query this data.",
    "complete_to": "The last whole UTC day that the loads behind it cover. Null where a load is not known.",
    "tested_at": "When the last of its tests ended. Null where it has none.",
    "tests_passed": "How many of the tests that read it passed.",
    "tests_warned": "How many of them warned.",
    "tests_let_through": "How many of them did not pass, and somebody published all the same.",
    "held_since": "Since when newer data is held back: by somebody, or since a run failed. Null where it is not.",
    "held_by": "The login of who holds it back. Null where a run failed by itself.",
    "held_why": "The reason of who holds it back, or what failed in the last run.",
    "decided": "What somebody decided by hand to bring this data here: publish or roll back. Null where a run did.",
    "decided_by": "The login of who decided that.",
    "decided_why": "The reason given for that.",
}


@dataclass(frozen=True)
class Trust:
    """A row of the view; its columns say what each field means."""

    mart: str
    as_of: datetime
    published_at: datetime
    complete_to: date | None
    tested_at: datetime | None
    tests_passed: int
    tests_warned: int
    tests_let_through: int
    held_since: datetime | None
    held_by: str | None
    held_why: str | None
    decided: str | None
    decided_by: str | None
    decided_why: str | None


def of_marts(connection: Connection) -> dict[str, Trust]:
    """How far each published mart can be trusted, by its name; nothing before the first publication."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("select * from ({}) as trust order by mart").format(_TRUST))
        return {row[0]: Trust(*row) for row in cursor.fetchall()}


def note(cursor: Cursor, publication_id: int, run_id: str, manifest: Manifest | None, since: datetime | None) -> None:
    """Call in the transaction that publishes, after `basis.note`: what is known of each mart.

    `since` is when the run last began to build: what its tests said before that is not of these marts.
    Without a manifest it is a publication that comes back: it is as it was the first time.
    """
    if manifest is None:
        cursor.execute(
            """
            insert into ops.publication_marts
            select
                made.publication_id, marts.mart, marts.tested_at, marts.tests_passed, marts.tests_warned,
                marts.tests_let_through, marts.complete_to
            from ops.publications as made
            join ops.publications as former
                on former.run_id = made.run_id and former.published_at = made.data_as_of
            join ops.publication_marts as marts on marts.publication_id = former.publication_id
            where made.publication_id = %s and former.publication_id <> made.publication_id
            """,
            (publication_id,),
        )
        return
    passed = node_results.passed_tests(cursor.connection, run_id, since)
    warned = {test for test, one in passed.items() if one.warned}
    loaded = {load.table: load.loaded_at for load in basis.loads(cursor.connection, publication_id)}
    rows = []
    for model, mart in manifest.relations_of(BUILT).items():
        tests = {test.unique_id for test in manifest.data_tests if model in test.parents}
        rows.append(
            (
                publication_id,
                mart,
                max((passed[test].at for test in tests & passed.keys()), default=None),
                len(tests & passed.keys() - warned),
                len(tests & warned),
                len(tests - passed.keys()),
                _complete_to(model, manifest, loaded),
            )
        )
    execute_values(
        cursor,
        "insert into ops.publication_marts (publication_id, mart, tested_at, tests_passed, tests_warned,"
        " tests_let_through, complete_to) values %s",
        rows,
    )


def show(cursor: Cursor, publication_id: int) -> None:
    """Make the view in what is live, or renew it, for whoever may read there; a note where its name is taken."""
    cursor.execute("select to_regclass(%s) is not null", (f"{LIVE}.{NAME}",))
    [is_there] = cursor.fetchone()
    if is_there and not _is_ours(cursor):
        publications.add_note(cursor, publication_id, _taken())
        return
    view = sql.Identifier(LIVE, NAME)
    comments = [
        sql.SQL("comment on column {}.{} is {}").format(view, sql.Identifier(column), sql.Literal(says))
        for column, says in _COLUMNS.items()
    ]
    statements = [
        _VIEW,
        sql.SQL("comment on view {} is 'How far each mart in this schema can be trusted, one row a mart.'").format(
            view
        ),
        *comments,
    ]
    if not is_there:  # what somebody takes from readers later is not given back
        statements.append(sql.SQL("grant select on {} to public").format(view))
    cursor.execute(sql.SQL("; ").join(statements))


def renew(cursor: Cursor) -> None:
    """After a restore: the view reads the `ops` that came, and no longer the one that was kept aside."""
    if _is_ours(cursor):
        cursor.execute(_VIEW)


def _taken() -> str:
    return (
        f"{LIVE}.{NAME} is somebody's own, so how far the marts can be trusted is not shown there: let its owner rename"
        " it"
    )


def make_way(cursor: Cursor) -> None:
    """Drop the view: a model has its name from now on. It stays where somebody's own view reads it."""
    if _is_ours(cursor):
        with suppress(psycopg2.errors.DependentObjectsStillExist), transaction(cursor.connection) as inner:
            inner.execute(sql.SQL("drop view {}").format(sql.Identifier(LIVE, NAME)))


def _is_ours(cursor: Cursor) -> bool:
    """Whether what has the name of the view is that view: it reads our table, be it that of a former `ops`."""
    cursor.execute(
        """
        select
        from pg_rewrite
        join pg_class as views on views.oid = pg_rewrite.ev_class
        join pg_depend on pg_depend.classid = 'pg_rewrite'::regclass and pg_depend.objid = pg_rewrite.oid
        join pg_class as tables
            on pg_depend.refclassid = 'pg_class'::regclass and tables.oid = pg_depend.refobjid and tables.relname = %s
        where views.oid = to_regclass(%s) and views.relkind = 'v' and pg_has_role(views.relowner, 'usage')
        """,
        (_TABLE, f"{LIVE}.{NAME}"),
    )
    return cursor.rowcount > 0


def _complete_to(model: str, manifest: Manifest, loaded: Mapping[str, datetime]) -> date | None:
    """The last whole UTC day that the loads behind a model cover, each table's newest; None if one is not known."""
    sources = manifest.upstream(model) & manifest.sources.keys() - manifest.made_here
    moments = [_loaded_at(manifest.sources[one], loaded) for one in sources]
    known = [moment for moment in moments if moment]
    if not known or len(known) < len(moments):
        return None
    return min(known).astimezone(UTC).date() - timedelta(days=1)


def _loaded_at(source: Mapping[str, Any], loaded: Mapping[str, datetime]) -> datetime | None:
    return loaded.get(source.get("identifier") or source["name"]) if source["schema"] == settings.raw_schema() else None
