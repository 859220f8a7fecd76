"""Unusual: what the data's own past makes unlikely now, and all that is watched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from include.answers import answers
from include.daily import promise
from include.daily.promise import AtRisk
from include.dbt_project import watched as said_of
from include.dbt_project.manifest import Manifest
from include.dbt_project.watched import Consequence
from include.results.answered import answered
from include.results.unusual import Finding, findings
from include.unusual import words
from include.unusual.find import of_run
from plugins.data_health import nodes, observed, runs
from plugins.data_health.observed import Watched
from plugins.data_health.reading import Reading
from plugins.data_health.runs import Run
from plugins.data_health.views import proof
from plugins.data_health.views.proof import Proof

# In this order: what people read, then what comes in, then what is built.
_KINDS = ("metric", "source", "model", "seed")


@dataclass(frozen=True)
class WatchedNode:
    """What is watched of a table, model or metric, and what follows of an unusual figure. `page` names its page."""

    unique_id: str
    name: str
    page: str | None
    consequence: Consequence
    series: tuple[Watched, ...]

    @property
    def since(self) -> date:
        """Since when it is watched: the first UTC day that was observed."""
        return min(one.since for one in self.series)

    @property
    def speaks_from(self) -> date | None:
        """From when on all of its series are judged; None where all are."""
        return max((one.speaks_from for one in self.series if one.speaks_from), default=None)

    @property
    def is_judged_in_part(self) -> bool:
        """Whether some of its series are judged already."""
        return any(one.speaks_from is None for one in self.series)


@dataclass(frozen=True)
class UnusualFigures:
    """What is unusual now, as the last run found it that observed, the worst first; and all that is watched.

    `muted` is what is unusual and muted; `ignored` names what the project says not to watch. `promises` are the
    warnings that a promise was at risk, the newest first. `proof` says how much of what is wrong would be noticed.
    """

    at: datetime
    run: Run | None
    findings: tuple[Finding, ...]
    muted: tuple[Finding, ...]
    watched: tuple[WatchedNode, ...]
    ignored: tuple[str, ...]
    promises: tuple[AtRisk, ...]
    proof: Proof | None

    @property
    def series(self) -> int:
        """How many series are watched."""
        return sum(len(node.series) for node in self.watched)

    @property
    def judged(self) -> tuple[AtRisk, ...]:
        """The warnings of which it is known by now whether they were right."""
        return tuple(one for one in self.promises if one.was_right is not None)

    @property
    def promises_right(self) -> int:
        """How many of these were right."""
        return sum(one.was_right is True for one in self.judged)


def read(reading: Reading) -> UnusualFigures:
    """As of the last run that observed."""
    run_id = observed.newest_run(reading)
    told, muted = found(reading, run_id)
    return UnusualFigures(
        at=reading.at,
        run=runs.named(reading, run_id) if run_id else None,
        findings=told,
        muted=muted,
        watched=_of_nodes(observed.watched(reading), reading.facts),
        ignored=_ignored(reading.facts),
        promises=tuple(promise.warnings(reading.connection)),
        proof=proof.newest(reading),
    )


def found(reading: Reading, run_id: str | None) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What a run found unusual, as its message tells it, and what of it is muted today."""
    if run_id is None:
        return (), ()
    in_force = answers.in_force(reading.connection, reading.at.date())
    return answered(findings(of_run(reading.connection, run_id), reading.facts), in_force)


def _of_nodes(found: Iterable[Watched], facts: Manifest) -> tuple[WatchedNode, ...]:
    names, by_node = nodes.relations(facts), defaultdict(list)
    for one in found:
        by_node[one.series.unique_id].append(one)
    told = [
        WatchedNode(
            unique_id=unique_id,
            name=words.subject(unique_id, facts),
            page=names.get(unique_id),
            consequence=said_of.consequence(facts, unique_id),
            series=tuple(of_node),
        )
        for unique_id, of_node in by_node.items()
    ]
    return tuple(sorted(told, key=lambda node: (_KINDS.index(node.unique_id.partition(".")[0]), node.name)))


def _ignored(facts: Manifest) -> tuple[str, ...]:
    """What the project says not to watch: tables, models and metrics, and columns of others."""
    found = []
    for unique_id, node in (*facts.metrics.items(), *facts.sources.items(), *facts.nodes.items()):
        name = words.subject(unique_id, facts)
        if said_of.consequence(facts, unique_id) is Consequence.IGNORE:
            found.append(name)
        else:
            columns = node.get("columns", {})
            found += [
                f"{name}.{column}"
                for column in columns
                if said_of.consequence(facts, unique_id, column) is Consequence.IGNORE
            ]
    return tuple(sorted(found))
