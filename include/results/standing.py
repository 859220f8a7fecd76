"""What is known against a figure: mutes, what is unusual, warnings, what was let through, decisions by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.answer import Answer, Kind
from include.answers.known import FRESHNESS
from include.dbt_project.counted import stands_on
from include.dbt_project.manifest import Manifest
from include.receipts import basis
from include.results import answered, failures, node_results, publications
from include.results.failures import BROKEN, RunContext
from include.results.publications import Publication
from include.results.unusual import findings
from include.unusual import find


class Against(StrEnum):
    """What kind of thing it is, the gravest first."""

    HOLD = "held"
    DECISION = "by hand"
    FAILED = "failed"
    WARNED = "warned"
    UNUSUAL = "unusual"
    MUTE = "muted"
    MINE = "seen to"
    EXPECTED = "expected"


@dataclass(frozen=True)
class Standing:
    """Something that is known against a figure, in a sentence. `unique_id` is what it is about, where it is a node."""

    against: Against
    says: str
    since: datetime | None = None
    unique_id: str = ""


_OF_ANSWER = {Kind.MUTE: Against.MUTE, Kind.MINE: Against.MINE, Kind.EXPECTED: Against.EXPECTED}


def of_figure(
    connection: Connection, facts: Manifest, metric: str, day: date, publication: Publication | None = None
) -> tuple[Standing, ...]:
    """What is known against a metric of a day, as a publication has it; by default the one that people query now.

    It looks at the metric and at all that it stands on. Answers and a hold are those of now.
    """
    publication = publication or publications.live(connection)
    metrics = {unique_id for unique_id, one in facts.metrics.items() if one["name"] == metric}
    nodes = stands_on(facts, metric) | metrics
    found = _of_publication(connection, publication) + _answers(connection, facts, nodes, day)
    if publication:
        found += _results(connection, facts, nodes, publication.run_id)
        found += _unusual(connection, facts, nodes, day, publication)
    return tuple(sorted(found, key=lambda one: list(Against).index(one.against)))


def _of_publication(connection: Connection, publication: Publication | None) -> list[Standing]:
    found = []
    if held := publications.hold(connection):
        says = f"{held.by} holds runs back from publishing: {held.reason}"
        found.append(Standing(Against.HOLD, says, held.decided_at))
    if publication and (made := publication.decision):
        found.append(Standing(Against.DECISION, f"{made.by} chose it ({made.action}): {made.reason}", made.decided_at))
    for note in publication.notes if publication else ():
        if note.startswith(publications.lacking("")):
            found.append(Standing(Against.WARNED, note, publication.published_at))
    return found


def _results(connection: Connection, facts: Manifest, nodes: frozenset[str], run_id: str) -> list[Standing]:
    found = []
    for result in node_results.of_run(connection, run_id):
        about = set(failures.tested_by(result, facts))
        if result.status not in (*BROKEN, "warn") or not about & nodes:
            continue
        told = failures.failure(result, facts, RunContext(None, {}, {}))
        against = Against.WARNED if result.status == "warn" else Against.FAILED
        expected = f"; {told.wanted}" if told.wanted else ""
        says = f"{failures.title(result, facts)}: {told.measured}{expected}"
        found.append(Standing(against, says, unique_id=result.unique_id))
    return found


def _unusual(
    connection: Connection, facts: Manifest, nodes: frozenset[str], day: date, publication: Publication
) -> list[Standing]:
    """What was unusual on that day, and what the run found unusual that first published the day whole."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select run_id from ops.unusual where since <= %(day)s and day >= %(day)s and unique_id = any(%(nodes)s)"
            " group by run_id order by max(day), run_id",
            {"day": day, "nodes": sorted(nodes)},
        )
        runs = [run_id for (run_id,) in cursor.fetchall()]
    loaded_at = basis.loaded_at(connection, publication.publication_id)
    first_whole = loaded_at.astimezone(UTC).date() - day <= timedelta(days=1)
    found = {}
    for run_id in (*runs, *([publication.run_id] if first_whole else ())):
        for finding in findings(find.of_run(connection, run_id), facts):
            for one in (finding, *finding.with_it):
                seen = one.unusual
                if seen.series.unique_id in nodes and (seen.since <= day <= seen.day or run_id == publication.run_id):
                    says = f"{one.title}: {one.value} on {seen.day:%-d %b %Y}; usually {one.usual}"
                    found[seen.series] = Standing(Against.UNUSUAL, says, unique_id=seen.series.unique_id)
    return list(found.values())


def _answers(connection: Connection, facts: Manifest, nodes: frozenset[str], day: date) -> list[Standing]:
    tests = {test.unique_id for test in facts.data_tests if nodes.intersection(facts.tested(test.unique_id))}
    return [
        Standing(_OF_ANSWER[one.kind], _said(one, facts), one.answered_at, one.about.unique_id)
        for one in answers.in_force(connection, datetime.now(UTC).date())
        if one.about.unique_id.removeprefix(FRESHNESS) in nodes | tests
        and (one.kind is not Kind.EXPECTED or one.about.day == day)
    ]


def _said(one: Answer, facts: Manifest) -> str:
    until = f" until {one.until:%-d %b %Y}" if one.until else ""
    through = ", and lets it through" if one.waives else ""
    verb = {Kind.MUTE: "mutes it", Kind.MINE: "sees to it", Kind.EXPECTED: "says that it was to be expected"}[one.kind]
    return f"{answered.title(one.about, facts)}: {one.by} {verb}{until}{through}: {one.reason}"
