"""A preview from its first step to its report: what differs is built aside, and read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from psycopg2.extensions import connection as Connection

from include.dbt_project import metrics
from include.preview import before, build, checks, costs, figures, kept, message, plan, readers, rows, slow, version
from include.preview.build import Built
from include.preview.progress import Progress
from include.preview.report import FigureMove, Kind, Report, RowsDiff, Versus
from include.preview.version import Version
from include.warehouse import sandbox
from include.warehouse.sandbox import Sandbox

# Days of figures that are compared: so many as the data-health page shows.
DAYS = 30


def make(connection: Connection, base: str, name: str, progress: Progress, *, days: int = DAYS) -> Report:
    """Preview the project's folder against the commit `base`, and keep the report.

    `connection` is the developer's, who may write nothing of production. `name` is the preview's, as people call it:
    two of one name can't be under way at once. Its sandboxes are gone afterwards. Raises VersionError where a state of
    the project can't be used, and SandboxError where another preview of this name is under way.
    """
    began = time.monotonic()
    here = Sandbox(sandbox.name_of(sandbox.PREVIEW, name))
    with progress.step(f"Parsing {base} and your folder"):
        old, new = version.both(base, here)
    planned = costs.known(connection, plan.compare(old, new))
    report = Report(Versus(base, old.commit, is_same=old.files == new.files), datetime.now(UTC), planned)
    touched = any(one.kind is not Kind.COMMENTS for one in (*planned.models, *planned.snapshots))
    if touched or planned.tests_changed or planned.figures_new or planned.figures_gone:
        report = _built(connection, report, old, new, here, progress, days)
    report = replace(report, seconds=time.monotonic() - began)
    kept.keep(report, new.files)
    return report


def _built(
    connection: Connection, report: Report, old: Version, new: Version, here: Sandbox, progress: Progress, days: int
) -> Report:
    """The report with what building finds; the sandboxes are dropped however it ends."""
    there = version.was(here)
    with ExitStack() as lent:
        for one, of in ((there, old), (here, new)):
            lent.enter_context(_lent(connection, one, of))
        at = before.moment(connection)
        was, versus = before.find(connection, old, new, report.plan, there, progress)
        snapshots = [one for one in report.plan.snapshots if one.kind in (Kind.NEW, Kind.CHANGED)]
        wanted = [one.unique_id for one in (*report.plan.built(), *snapshots)]
        now = build.build(new, here, wanted, was.relations, progress, changed_tests=report.plan.tests_changed)
        with progress.step("Comparing rows, figures and tests"):
            report = replace(
                report,
                versus=versus,
                plan=report.plan.with_costs(now.costs),
                failed=checks.failed(now, new.facts),
                tests=checks.compare(was.results, now.results, old.facts, new.facts),
                rows=tuple(_rows(connection, report, was, now)),
                figures=_figures(connection, was, now, old, new, days),
                readers=readers.broken(connection, report.plan, was.relations, now.relations),
            )
            if note := before.moved(connection, at):
                report = replace(report, notes=(*report.notes, note))
        with progress.step("Living through an ordinary day of what changed"):
            report = replace(report, slow=slow.look(connection, new, here, report.plan, now, old, progress))
        return replace(report, message=message.tomorrow(connection, report, new.facts, here.marts))


@contextmanager
def _lent(connection: Connection, one: Sandbox, of: Version) -> Iterator[None]:
    """A sandbox for the time of the block; one that another preview works in stays as it is."""
    sandbox.drop(connection, one)  # with what a preview that was killed has left there
    sandbox.create(connection, one.name, f"a preview of {of.label}")
    try:
        yield
    finally:
        connection.rollback()
        sandbox.drop(connection, one)


def _rows(connection: Connection, report: Report, was: Built, now: Built) -> Iterator[RowsDiff]:
    """Of each model whose rows are there before and after, what is otherwise."""
    for one in report.plan.built():
        before_it, after_it = was.relations.get(one.unique_id), now.relations.get(one.unique_id)
        if before_it and after_it:
            found = rows.compare(connection, one, before_it, after_it)
            connection.commit()  # a publish waits for who has read a mart
            if not found.is_same:
                yield found


def _figures(
    connection: Connection, was: Built, now: Built, old: Version, new: Version, days: int
) -> tuple[FigureMove, ...]:
    """Nothing where the model of metrics is not touched, or was not built."""
    models = metrics.model(old.facts), metrics.model(new.facts)
    before_it, after_it = was.relations.get(models[0] or ""), now.relations.get(models[1] or "")
    if not before_it or not after_it or before_it == after_it:
        return ()
    return figures.compare(connection, new.facts, before_it.schema, after_it.schema, days)
