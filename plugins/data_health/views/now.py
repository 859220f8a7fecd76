"""Now: what people query, what became of the last run, and what is wrong, where it broke first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from include.daily import watchdog
from include.dbt_project import release
from include.results import backups, publications
from include.results.backups import Made
from include.results.summary import Summary, gather
from plugins.data_health import runs
from plugins.data_health.reading import Reading, facts_of
from plugins.data_health.runs import Run, State
from plugins.data_health.views import health, messages
from plugins.data_health.views.messages import Waiting


@dataclass(frozen=True)
class Progress:
    """How many of the dbt project's models, snapshots and tests a run has a result of."""

    done: int
    of: int


@dataclass(frozen=True)
class Now:
    """`late` is since when something should have been published, None where all that is due is there.

    `report` is of the last run, None before the first; `progress` only while it is under way.
    `waiting` are the messages that Slack has not taken yet, None where there are none. `backup` is the last one that
    `ops` knows of, and `backup_late` since when one should have been made. `next_release` names the release of the dbt
    project that the next run uses, None where none was ever parsed.
    """

    at: datetime
    data_as_of: datetime | None
    live_run: Run | None
    late: datetime | None
    run: Run | None
    progress: Progress | None
    report: Summary | None
    waiting: Waiting | None
    backup: Made | None
    backup_late: datetime | None
    next_release: str | None

    @property
    def status(self) -> str:
        """In a word: never, running, late, failed, or published."""
        return health.status_of(self.run, self.late)


def read(reading: Reading) -> Now:
    """The state of the data as of now."""
    live = publications.live(reading.connection)
    backup = backups.newest(reading.connection, reading.at)
    run = runs.newest(reading)
    project = release.current()
    progress = _progress(reading, run) if run and run.state is State.RUNNING else None
    return Now(
        at=reading.at,
        data_as_of=live.data_as_of if live else None,
        live_run=runs.named(reading, live.run_id) if live else None,
        late=health.late_since(reading),
        run=run,
        progress=progress,
        report=report_of(reading, run) if run else None,
        waiting=messages.waiting(reading),
        backup=backup,
        backup_late=watchdog.backup_due(reading.connection, reading.at, backup),
        next_release=project.stamp if project else None,
    )


def report_of(reading: Reading, run: Run) -> Summary:
    """What the run's message tells."""
    return gather(
        reading.connection,
        run.run_id,
        run.url,
        run_failed=run.state is State.FAILED,
        facts=facts_of(run.release),
    )


def _progress(reading: Reading, run: Run) -> Progress:
    facts = facts_of(run.release)
    expected = {*facts.models, *facts.snapshots, *(test.unique_id for test in facts.data_tests)}
    [row] = reading.rows(
        "select count(distinct unique_id) from ops.node_results where run_id = %(run)s and unique_id = any(%(nodes)s)",
        {"run": run.run_id, "nodes": list(expected)},
    )
    return Progress(row.count, len(expected))
