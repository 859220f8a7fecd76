"""The Slack message of the next run, as it would read if the change were merged and raw stayed as it is.

It is the newest run's message with what the preview knows in its place: figures, what moved, tests, models. What only
tomorrow's data can say, such as changed orders and what is unusual, is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import psycopg2
from psycopg2.extensions import connection as Connection

from include.dbt_project.counted import counted
from include.dbt_project.manifest import Manifest
from include.preview import headline
from include.preview.report import Became, Kind, Report, TestChange
from include.receipts.move import Move, Period
from include.receipts.ours import MACROS_CHANGED, Ours
from include.results import failures, figures, publications, summary
from include.results.failures import Root
from include.results.nodes import NodeResult
from include.results.summary import Summary
from include.slack.render import render

# Reasons of a change that are no change of the model's own file.
_NOT_ITS_FILE = ("macro ", "variable ")
_NO_RUN = failures.RunContext(None, {}, {})

log = logging.getLogger(__name__)


def tomorrow(connection: Connection, report: Report, facts: Manifest, after_schema: str) -> str:
    """The message as plain text, by the new state's `facts` and the marts that were built in `after_schema`.

    "" where no run has told anything yet, or where what runs leave in `ops` can't be read. Only reads; rolls back
    where it can't.
    """
    try:
        run_id = _newest(connection)
        if run_id is None:
            return ""
        run_failed = publications.of_run(connection, run_id) is None
        base = summary.gather(connection, run_id, "", run_failed=run_failed, facts=facts)
        told = figures.elsewhere(connection, after_schema, base.figures, facts)
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        connection.rollback()
        log.warning("No message of the next run, since what runs leave in ops can't be read: %s", error)
        return ""
    # Its last lines lead to a run that there is not.
    return render(_of_the_next_run(base, told, report, facts)).body.rsplit("\n\n", 1)[0]


def _newest(connection: Connection) -> str | None:
    """The newest run that has told what became of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select run_id
            from ops.runs
            where run_id in (select run_id from ops.messages where kind in ('published', 'overtaken', 'failed'))
            order by started_at desc
            limit 1
            """
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _of_the_next_run(base: Summary, told: figures.Figures, report: Report, facts: Manifest) -> Summary:
    passes = headline.newly(report, Became.PASSES)
    fixed = {one.unique_id for one in passes}
    broken = _broken(report, facts)
    roots = (*broken, *_without(base.roots, fixed))
    warned = failures.warned(_results(headline.newly(report, Became.WARNS), "warn", facts), facts, _NO_RUN)
    warnings = (*warned, *_without(base.warnings, fixed))
    was_let_through = base.published and base.failed > 0
    published = not broken and base.hold is None and (not roots or was_let_through)
    not_built = {model for root in roots for model in root.not_built} | {one.name for one in report.failed}
    every = base.passed + base.warned + base.failed + base.skipped - len(report.plan.tests_gone)
    failed, warn = _tests(roots), _tests(warnings)
    skipped = _skipped(facts, not_built) if roots and not published else 0
    same = replace(
        base,
        run_id="of the next run",
        published=published,
        overtaken=False,
        roots=roots,
        warnings=warnings,
        not_built=(),
        passed=max(0, every - failed - warn - skipped),
        warned=warn,
        failed=failed,
        skipped=skipped,
        fixed=tuple(one.name for one in passes),
        resolved=None,
        follows_orders=False,
        unusual=(),
        muted=(),
        news=(),
        outlived=(),
        moves=(),
        explanations=(),
        notes=(),
    )
    if not published:
        return same
    told = replace(told, former_as_of=base.data_as_of)
    return replace(same, data_as_of=report.made_at, decision=None, figures=told, moves=tuple(_moves(report, facts)))


def _broken(report: Report, facts: Manifest) -> tuple[Root, ...]:
    """Where the next run would break: what is behind such a place is not built, so none of its tests fails."""
    models = {facts.title(model): model for model in facts.drawn}
    results = [
        NodeResult(models[one.name], "model", one.name, "error", None, None, one.reason, 0.0, None)
        for one in report.failed
        if one.name in models
    ]
    results += _results(headline.newly(report, Became.FAILS), "fail", facts)
    results += _results(headline.not_run(report), "error", facts)
    behind = {one for result in results for node in _on(result, facts) for one in facts.downstream(node)}
    not_built = [model for model in facts.drawn if model in behind & facts.models]
    return tuple(replace(root, also_failed=()) for root in failures.broken(results, facts, _NO_RUN, not_built))


def _on(result: NodeResult, facts: Manifest) -> list[str]:
    return facts.tested(result.unique_id) if result.resource_type == "test" else [result.unique_id]


def _results(tests: Iterable[TestChange], status: str, facts: Manifest) -> list[NodeResult]:
    """The same as a run leaves them, of tests that the project has."""
    return [
        NodeResult(
            one.unique_id, "test", facts.nodes[one.unique_id]["name"], status, None, one.rows, one.reason, 0.0, None
        )
        for one in tests
        if one.unique_id in facts.nodes
    ]


def _without(roots: Iterable[Root], fixed: set[str]) -> Iterator[Root]:
    """The places where it is still broken."""
    for root in roots:
        if left := tuple(one for one in root.failures if one.unique_id not in fixed):
            yield replace(root, failures=left)


def _tests(roots: Iterable[Root]) -> int:
    return sum(failure.kind in ("test", "freshness") for root in roots for failure in root.failures)


def _skipped(facts: Manifest, not_built: set[str]) -> int:
    """How many tests read a model that is not built."""
    return sum(any(facts.title(one) in not_built for one in test.parents) for test in facts.data_tests)


def _moves(report: Report, facts: Manifest) -> Iterator[Move]:
    """What was told and would be told otherwise, with the causes that the run would name."""
    own = {
        one.unique_id
        for one in report.plan.models
        if one.kind in (Kind.NEW, Kind.CHANGED) and any(not why.startswith(_NOT_ITS_FILE) for why in one.reasons)
    }
    by_macro = any(why.startswith(_NOT_ITS_FILE) for one in report.plan.models for why in one.reasons)
    ours = Ours((MACROS_CHANGED,) if by_macro else (), frozenset(own), facts, counted(facts))
    for figure in report.figures:
        causes = ours.of(figure.metric)
        for day in figure.days:
            yield Move(figure.metric, Period.DAY, day.day, day.before, day.after, causes=causes)
