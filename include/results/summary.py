"""What a run has to tell, gathered from `ops` and the warehouse: the data behind the Slack message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.answer import Answer
from include.dbt_project import counted, metrics
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import Metric
from include.receipts import explain, kept_moves
from include.receipts.explanation import Explanation
from include.receipts.move import Move
from include.results import answered, earlier, failures, figures, node_results, orders, publications, runs, unusual
from include.results.answered import Outlived, Told
from include.results.failures import BROKEN, Failure, Root
from include.results.figures import Figures
from include.results.nodes import NodeResult
from include.results.orders import OrderChange
from include.results.publications import Decision, Publication
from include.results.unusual import Finding
from include.unusual import find
from include.warehouse import has_columns
from include.words import Unit


@dataclass(frozen=True)
class Resolved:
    """A publish that ended some time without one: how long it had been, and what had failed, by name."""

    after: timedelta
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """One run, as its message tells it.

    `overtaken` says of a run that was published once that people query another one's marts by now.
    Times are UTC. `data_as_of` and `decision` are those of what people query now: `decision` where somebody put it
    there by hand; `hold` keeps runs from publishing. `took` is from the run's start to its last result.
    `roots` are the places where it broke first, and `not_built` the models that are behind none of them and were not
    built either. `fixed` names what failed before and is well now, `resolved` is there on the first publish after
    failed runs. `order_changes` is None where no snapshot was taken; a project without one of orders has no such news.
    """

    run_id: str
    run_url: str
    published: bool
    overtaken: bool
    data_as_of: datetime | None
    decision: Decision | None
    hold: Decision | None
    started_at: datetime | None
    took: timedelta | None
    passed: int
    warned: int
    failed: int
    skipped: int
    roots: tuple[Root, ...]
    warnings: tuple[Root, ...]
    not_built: tuple[str, ...]
    fixed: tuple[str, ...]
    resolved: Resolved | None
    figures: Figures
    order_changes: tuple[OrderChange, ...] | None
    follows_orders: bool = True
    # What the past of the data makes unlikely, the worst first.
    unusual: tuple[Finding, ...] = ()
    # What of that is muted; what was answered since the run before; mutes that outlived their reason.
    muted: tuple[Finding, ...] = ()
    news: tuple[Told, ...] = ()
    outlived: tuple[Outlived, ...] = ()
    # What its publish changed of what was told before, and why figures differ from those that it is compared with;
    # for words of it the project's metrics by name, and what a row is called by the name of its model.
    moves: tuple[Move, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    nouns: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    # What is wrong with the dbt project as it is now, where the run had to use an older release.
    project_problem: str | None = None
    health_url: str | None = None

    @property
    def kind(self) -> str:
        """Which message this is."""
        return "overtaken" if self.overtaken else "published" if self.published else "failed"

    def metric(self, name: str) -> Metric:
        """A metric by its name; one that the project has no more is called so."""
        return self.metrics.get(name) or Metric(name, name, Unit.NUMBER)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """All that failed where it broke first."""
        return tuple(failure for root in self.roots for failure in root.failures)


def gather(
    connection: Connection,
    run_id: str,
    run_url: str,
    *,
    run_failed: bool,
    facts: Manifest,
    notes: tuple[str, ...] = (),
    project_problem: str | None = None,
    health_url: str | None = None,
) -> Summary:
    """Sum up a run.

    `run_failed` is Airflow's word on the run as it is now: one that was published once can fail when it is cleared.
    `facts` are those of the run's release: a data test or model of which the run left no result was skipped.
    """
    run = runs.find(connection, run_id)
    results = node_results.of_run(connection, run_id)
    checks = [result for result in results if result.resource_type in ("test", "freshness")]
    expected_tests = {test.unique_id for test in facts.data_tests}
    live, own = publications.live(connection), publications.of_run(connection, run_id)
    published = bool(own and live and live.run_id == run_id) and not run_failed
    given = answers.in_force(connection, datetime.now(UTC).date())
    roots, warnings = _what_broke(connection, run_id, run_url, results, facts, run, given)
    told, muted = answered.answered(unusual.findings(find.of_run(connection, run_id), facts), given)
    bad = [check.unique_id for check in checks if check.status in ("warn", *BROKEN)]
    # Another project may have a snapshot of that name that tells of something else.
    recorded = has_columns(
        connection, "snapshots.orders_snapshot", "order_id", "status", "dbt_valid_from", "dbt_valid_to"
    ) and any(result.name == "orders_snapshot" and result.status == "success" for result in results)
    ended_at = runs.last_word_at(connection, run_id)
    # What somebody lets through is not well again.
    well = published and not any(check.status in BROKEN for check in checks)
    resolved = _resolved(connection, run_id, own, facts) if well else None
    explained = {model for root in roots for model in root.not_built}
    broke = {root.name for root in roots}
    not_built = [
        title for model in _not_built(results, facts) if (title := facts.title(model)) not in explained | broke
    ]
    return Summary(
        run_id=run_id,
        run_url=run_url,
        published=published,
        overtaken=bool(own and live and live.run_id != run_id) and not run_failed,
        data_as_of=live.data_as_of if live else None,
        decision=live.decision if live else None,
        hold=publications.hold(connection),
        started_at=run.started_at if run else None,
        took=ended_at - run.started_at if run and ended_at else None,
        passed=sum(check.status == "pass" for check in checks),
        warned=sum(check.status == "warn" for check in checks),
        failed=sum(check.status in BROKEN for check in checks),
        skipped=len(expected_tests - {check.unique_id for check in checks if check.status != "skipped"}),
        roots=roots,
        warnings=warnings,
        not_built=() if published else tuple(not_built),
        fixed=tuple(failures.title(one, facts) for one in earlier.fixed(connection, run_id)),
        resolved=resolved,
        figures=figures.gather(connection, live, facts),
        order_changes=tuple(orders.changes(connection, run_id)) if recorded else None,
        follows_orders=any(node["name"] == "orders_snapshot" for node in facts.snapshots.values()),
        unusual=told,
        muted=muted,
        news=answered.news(connection, run_id, facts),
        outlived=answered.outlived(connection, run_id, facts, bad),
        moves=kept_moves.of_publication(connection, own.publication_id) if published and own else (),
        explanations=explain.of_publication(connection, own.publication_id) if published and own else (),
        metrics=metrics.by_name(facts),
        nouns=counted.nouns(facts),
        notes=(*notes, *(own.notes if own else ())),
        project_problem=project_problem,
        health_url=health_url,
    )


def _what_broke(
    connection: Connection,
    run_id: str,
    run_url: str,
    results: list[NodeResult],
    facts: Manifest,
    run: runs.RunStart | None,
    given: tuple[Answer, ...],
) -> tuple[tuple[Root, ...], tuple[Root, ...]]:
    """The roots of what failed, and what warned."""
    failed = [result for result in results if result.status in BROKEN]
    warned = [result for result in results if result.status == "warn"]
    # What warns today has not become new by having failed yesterday.
    since = {
        **earlier.since(connection, run_id, [one.unique_id for one in failed], bad=BROKEN),
        **earlier.since(connection, run_id, [one.unique_id for one in warned], bad=("warn", *BROKEN)),
    }
    tasks = node_results.tasks(connection, run_id)
    of_run = failures.RunContext(
        started_at=run.started_at if run else None,
        since=since,
        log_urls={name: f"{run_url}/tasks/{quote(task, safe='')}" for name, task in tasks.items()},
        answers=given,
    )
    broken = failures.broken(failed, facts, of_run, _not_built(results, facts))
    return tuple(broken), tuple(failures.warned(warned, facts, of_run))


def _not_built(results: list[NodeResult], facts: Manifest) -> list[str]:
    """Unique ids of the models that this run did not build."""
    built = {result.unique_id for result in results if result.status == "success"}
    return [model for model in facts.drawn if model in facts.models - built]


def _resolved(connection: Connection, run_id: str, own: Publication | None, facts: Manifest) -> Resolved | None:
    """What a publish ended, unless somebody only waived it."""
    recovery = earlier.recovery(connection, run_id) if own and own.decision is None else None
    if recovery is None:
        return None
    # A task that could not do its work because of what failed is no news of its own.
    names = [failures.title(one, facts) for one in recovery.failed if one.resource_type != "task"]
    return Resolved(recovery.after, tuple(dict.fromkeys(names)))
