"""Health: the state of the data in a word, for a monitor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from include import settings
from include.daily import watchdog
from include.results import backups, publications
from plugins.data_health import observed, runs
from plugins.data_health.reading import Reading
from plugins.data_health.runs import Run, State
from plugins.data_health.views import messages, unusual


class Status(StrEnum):
    """The data in a word."""

    PUBLISHED = "published"
    RUNNING = "running"
    LATE = "late"
    FAILED = "failed"
    NEVER = "never"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Health:
    """`published` and `running` are well: what was due is there, or not due yet. With all others the answer is a 503.

    `late`: what was due at `late_since` is not published. `failed`: nor did the last `run` publish, whose id it is.
    `never`: no run has begun. `unreachable`: the warehouse does not answer, and nothing else is known.
    `data_as_of` is as of when people see the data; times are UTC. `waiting_messages` wait to be sent to Slack.
    `unusual_figures` are those that the last run found that observed: the data is published all the same.
    `backup_as_of` is the last backup, and `backup_late_since` when one was due that was not made. The data is well
    without it.
    """

    status: Status
    data_as_of: datetime | None = None
    late_since: datetime | None = None
    run: str | None = None
    waiting_messages: int = 0
    unusual_figures: int = 0
    backup_as_of: datetime | None = None
    backup_late_since: datetime | None = None

    @property
    def is_well(self) -> bool:
        """Whether a monitor may sleep on."""
        return self.status in (Status.PUBLISHED, Status.RUNNING)


def read(reading: Reading) -> Health:
    """The state as of now."""
    live, run, late = publications.live(reading.connection), runs.newest(reading), late_since(reading)
    waiting, backup = messages.waiting(reading), backups.newest(reading.connection, reading.at)
    return Health(
        status=status_of(run, late),
        data_as_of=live.data_as_of if live else None,
        late_since=late,
        run=run.run_id if run else None,
        waiting_messages=waiting.count if waiting else 0,
        unusual_figures=len(unusual.found(reading, observed.newest_run(reading))[0]),
        backup_as_of=backup.made_at if backup else None,
        backup_late_since=watchdog.backup_due(reading.connection, reading.at, backup),
    )


def status_of(run: Run | None, late: datetime | None) -> Status:
    """What the last run made of it; `late` is since when something is due that is not there."""
    if run and run.state in (State.FAILED, State.UNKNOWN):
        return Status.FAILED
    if late:
        return Status.LATE
    if run is None:
        return Status.NEVER
    return Status.RUNNING if run.state is State.RUNNING else Status.PUBLISHED


def late_since(reading: Reading) -> datetime | None:
    """When that was due which is not published; None where all that is due is."""
    facts = watchdog.known(reading.connection, reading.at)
    due = watchdog.last_due(facts.scheduled, reading.at, settings.published_by())
    return due if watchdog.is_late(due, facts) else None
