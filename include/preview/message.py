"""The Slack message of the next run, as it would read if the change were merged and raw stayed as it is.

It is made as a run's is, from what the last published run found, with what the preview knows in its place: figures,
what moved, tests, models. What only tomorrow's data can say is left out, and what people answered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import psycopg2
from psycopg2.extensions import connection as Connection

from include.dbt_project import counted, metrics
from include.dbt_project.manifest import Manifest
from include.preview.report import Became, Kind, Report
from include.receipts.move import Move, Period
from include.receipts.ours import MACROS_CHANGED, Ours
from include.results import earlier, failures, figures, node_results, publications, runs
from include.results.failures import BROKEN, RunContext
from include.results.figures import Figures
from include.results.nodes import NodeResult
from include.results.publications import Publication
from include.results.summary import Summary
from include.slack.render import render_to_come

# How a run leaves what becomes of a test.
_STATUS = {
    Became.FAILS: "fail",
    Became.STILL_FAILS: "fail",
    Became.NOT_RUN: "error",
    Became.WARNS: "warn",
    Became.STILL_WARNS: "warn",
    Became.PASSES: "pass",
}
# Reasons of a change that are no change of the model's own file.
_NOT_ITS_FILE = ("macro ", "variable ")

log = logging.getLogger(__name__)


def tomorrow(connection: Connection, report: Report, facts: Manifest, after_schema: str) -> str:
    """The message as plain text, by the new state's `facts` and the marts that were built in `after_schema`.

    "" where nothing was published yet, or where what runs leave in `ops` can't be read. Only reads; rolls back where it
    can't.
    """
    try:
        live = publications.last(connection)
        if live is None:
            return ""
        # How long ago its day was is not known of a run to come.
        now = replace(figures.gather(connection, live, facts), days_before=None, former_as_of=live.data_as_of)
        told = figures.elsewhere(connection, after_schema, now, facts)
        summary = _summary(connection, live, now, told, report, facts)
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        connection.rollback()
        log.warning("No message of the next run, since what runs leave in ops can't be read: %s", error)
        return ""
    return render_to_come(summary)


def _summary(
    connection: Connection, live: Publication, now: Figures, told: Figures, report: Report, facts: Manifest
) -> Summary:
    of_last = {one.unique_id: one for one in node_results.of_run(connection, live.run_id)}
    results = _results(of_last, report, facts)
    let_through = {one.unique_id for one in of_last.values() if one.status in BROKEN}
    # What is behind a place where it breaks is not built, and its tests don't run.
    broken = [one for one in results.values() if one.status in BROKEN and one.unique_id not in let_through]
    behind = {one for result in broken for node in _on(result, facts) for one in facts.downstream(node)}
    missing = behind | {one.unique_id for one in broken if one.resource_type == "model"}
    skipped = {test.unique_id for test in facts.data_tests if test.parents & missing}
    ran = [one for one in results.values() if one.unique_id not in skipped]
    failed, warned = ([one for one in ran if one.status in bad] for bad in (BROKEN, ("warn",)))
    run = runs.find(connection, live.run_id)
    context = _context(connection, live.run_id, run, of_last)
    roots = failures.broken(failed, facts, context, [one for one in facts.drawn if one in behind & facts.models])
    checks = [one.status for one in ran if one.resource_type in ("test", "freshness")]
    return Summary(
        run_id="of the next run",
        run_url="",
        published=not broken,
        overtaken=False,
        data_as_of=live.data_as_of if broken else report.made_at,
        decision=None,
        hold=None,
        started_at=run.started_at if run else None,
        took=None,
        passed=checks.count("pass"),
        warned=checks.count("warn"),
        failed=sum(status in BROKEN for status in checks),
        skipped=len(skipped),
        roots=tuple(roots),
        warnings=tuple(failures.warned(warned, facts, context)),
        not_built=(),
        fixed=tuple(one.name for one in report.tests if one.became is Became.PASSES),
        resolved=None,
        figures=now if broken else told,
        order_changes=None,
        follows_orders=False,
        moves=() if broken else tuple(_moves(report, facts)),
        metrics=metrics.by_name(facts),
        nouns=counted.nouns(facts),
    )


def _results(of_last: Mapping[str, NodeResult], report: Report, facts: Manifest) -> dict[str, NodeResult]:
    """What the next run's tests would find, and the models that it could not build, by unique ids."""
    tests = {test.unique_id: facts.nodes[test.unique_id]["name"] for test in facts.data_tests}
    found = {one: _result(one, "test", name, "pass") for one, name in tests.items()}
    found |= {one: result for one, result in of_last.items() if one in tests or result.resource_type == "freshness"}
    for test in report.tests:
        if name := tests.get(test.unique_id):
            found[test.unique_id] = _result(test.unique_id, "test", name, _STATUS[test.became], test.rows, test.reason)
    models = {facts.title(model): model for model in facts.drawn}
    for one in report.failed:
        if model := models.get(one.name):
            found[model] = _result(model, "model", one.name, "error", None, one.reason)
    return found


def _result(
    unique_id: str, kind: str, name: str, status: str, rows: int | None = 0, message: str | None = None
) -> NodeResult:
    return NodeResult(unique_id, kind, name, status, None, rows, message, 0.0, None)


def _on(result: NodeResult, facts: Manifest) -> list[str]:
    if result.resource_type == "freshness":
        return [result.unique_id.removeprefix("freshness.")]
    # Behind a test that spans models is nothing but the publish.
    tested = facts.tested(result.unique_id) if result.resource_type == "test" else [result.unique_id]
    return tested if len(tested) == 1 else []


def _context(
    connection: Connection, run_id: str, run: runs.RunStart | None, of_last: Mapping[str, NodeResult]
) -> RunContext:
    """What the last run found too is known since then, or longer."""
    bad = {one.unique_id for one in of_last.values() if one.status in ("warn", *BROKEN)}
    began = run.started_at if run else None
    since = dict.fromkeys(bad, began) if began else {}
    return RunContext(began, since | earlier.since(connection, run_id, bad, bad=("warn", *BROKEN)), {})


def _moves(report: Report, facts: Manifest) -> Iterator[Move]:
    """What was told and would be told otherwise, with the causes that the run would name."""
    own = {
        one.unique_id
        for one in report.plan.models
        if one.kind in (Kind.NEW, Kind.CHANGED) and any(not why.startswith(_NOT_ITS_FILE) for why in one.reasons)
    }
    by_macro = any(why.startswith(_NOT_ITS_FILE) for one in report.plan.models for why in one.reasons)
    ours = Ours((MACROS_CHANGED,) if by_macro else (), frozenset(own), facts, counted.counted(facts))
    for figure in report.figures:
        causes = ours.of(figure.metric)
        for day in figure.days:
            yield Move(figure.metric, Period.DAY, day.day, day.before, day.after, causes=causes)
