"""What a change is compared with: what is published where that is the base's work on the raw of now, else the base."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from psycopg2.extensions import connection as Connection

from include import settings
from include.daily import buffers
from include.dbt_project.manifest import Manifest
from include.preview import costs
from include.preview.build import VIEW, Built, build, read_by
from include.preview.progress import Progress
from include.preview.report import Kind, Plan, Versus
from include.preview.version import Version, published_as
from include.receipts import basis
from include.results import node_results
from include.results.failures import without_data
from include.slack.message import listed
from include.warehouse.relation import Relation, readable
from include.warehouse.sandbox import Sandbox


class Moment(NamedTuple):
    """How raw was, by the newest stamp of each table, and which publication people queried."""

    stamps: Mapping[str, datetime | None]
    publication_id: int | None


@dataclass(frozen=True)
class _Published:
    """The newest publication: `macros` is a hash over macros and variables, `by_hand` whether somebody decided it."""

    publication_id: int
    run_id: str
    published_at: datetime
    raw_as_of: datetime | None
    macros: str | None
    by_hand: bool


def find(
    connection: Connection, old: Version, new: Version, plan: Plan, sandbox: Sandbox, progress: Progress
) -> tuple[Built, Versus]:
    """The data of a plan's models as they are without the change, and what that is.

    `relations` also has what these models and their tests read, so that a build of the change can read it there.
    `sandbox` is that of the old version: where the base has to be built, it is built there. Ends the connection's
    transaction, which would be idle while dbt builds. Raises BuildError.
    """
    facts = old.facts
    changed = {one.unique_id for one in plan.models if one.kind is not Kind.COMMENTS}
    touched = changed & facts.models
    tests = plan.tests_changed
    needed = read_by(facts, touched, tests) | read_by(new.facts, changed, tests)
    there = readable(connection, {one: published_as(facts, one, sandbox) for one in needed if one in facts.nodes})
    views = {one for one in touched if facts.nodes[one]["config"]["materialized"] == VIEW}
    published = _published(connection)
    why = _why_not(connection, old, needed, published) or _lacking(facts, touched - views - there.keys())
    found = None if published is None or why else _as_published(connection, facts, published, there)
    connection.commit()
    if published is None or found is None:
        snapshots = {one: relation for one, relation in there.items() if one in facts.snapshots}
        built = build(old, sandbox, touched, snapshots, progress, unit_tests=False, changed_tests=tests)
        return built, Versus(old.label, old.commit, why=f"{why}, so {old.label} was built from the raw of now.")
    if views:  # which a run makes anew while it is read
        shown = build(old, sandbox, views, there, progress, tests=False, unit_tests=False)
        found = replace(found, relations={**there, **shown.relations})
    return found, Versus(old.label, old.commit, published.published_at)


def moment(connection: Connection) -> Moment:
    """How things are now: ask before what is compared is built, and afterwards. Ends the connection's transaction."""
    published = _published(connection)
    now = Moment(buffers.newest_stamps(connection), published and published.publication_id)
    connection.commit()
    return now


def moved(connection: Connection, since: Moment) -> str | None:
    """A note where the two sides of a comparison may stand on different data; None where nothing moved meanwhile."""
    now = moment(connection)
    if tables := sorted(name for name, stamp in now.stamps.items() if stamp != since.stamps.get(name)):
        return (
            f"Raw was loaded while this was built ({listed(tables)}), so part of what differs may come from there. "
            "Preview it again."
        )
    if now.publication_id != since.publication_id:
        return "A run published while this was built, so part of what differs may come from there. Preview it again."
    return None


def _published(connection: Connection) -> _Published | None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select
                publication_id, run_id, published_at, raw_as_of, macros,
                decision_id is not null or published_at <> data_as_of
            from ops.publications
            where schema_oid = to_regnamespace(%s)::oid
            order by publication_id desc
            limit 1
            """,
            (settings.LIVE,),
        )
        row = cursor.fetchone()
    return _Published(*row) if row else None


def _why_not(connection: Connection, old: Version, needed: Collection[str], published: _Published | None) -> str | None:
    """Why what is published is not what the base makes of raw as it is now; None where it is."""
    if published is None:
        return "Nothing is published yet"
    if published.by_hand:
        return "What is published was put there by hand"
    if published.raw_as_of is None:
        return "Nothing says how raw was when the marts were published"
    facts = old.facts
    if published.macros != facts.macros_hash:
        return f"What is published was built with other macros or variables than those of {old.label}"
    checksums = {one.unique_id: one.checksum for one in basis.models(connection, published.publication_id)}
    if other := sorted(
        facts.title(one)
        for one in needed
        if one in facts.drawn and checksums.get(one) != basis.checksum(facts.nodes[one])
    ):
        return f"What is published was built with another SQL than that of {old.label} ({listed(other)})"
    stamps = buffers.newest_stamps(connection)
    sources = [source for one, source in facts.sources.items() if one in needed]
    read = {source["identifier"] for source in sources if source["schema"] == settings.raw_schema()}
    others = [source for source in sources if source["schema"] not in (settings.raw_schema(), *settings.OUR_SCHEMAS)]
    if unknown := sorted((read - stamps.keys()) | {f"{one['schema']}.{one['identifier']}" for one in others}):
        return f"Nothing says when {listed(unknown)} changed"
    if came := sorted(one for one in read | {"deletions"} if (at := stamps.get(one)) and at > published.raw_as_of):
        return f"Raw has moved since the run that published ({listed(came)})"
    return None


def _lacking(facts: Manifest, models: Collection[str]) -> str | None:
    return f"Not published: {listed(sorted(map(facts.title, models)))}" if models else None


def _as_published(
    connection: Connection, facts: Manifest, published: _Published, there: Mapping[str, Relation]
) -> Built:
    """What people query, with the results of the run that made it.

    How long a model took is known where that run built all of it; rows are as Postgres estimates them.
    """
    results = {
        one.unique_id: replace(one, message=one.message and without_data(one.message), failing_rows=[])
        for one in node_results.of_run(connection, published.run_id)
        if one.unique_id in facts.nodes
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "select unique_id from ops.buffer_models where schema_oid = to_regnamespace(%s)::oid and rebuilt",
            (settings.LIVE,),
        )
        rebuilt = {one for (one,) in cursor.fetchall()}
    models = {one: relation for one, relation in there.items() if one in facts.models}
    known = costs.of_tables(connection, models, {one: results[one] for one in rebuilt & results.keys()})
    return Built(there, known, results)
