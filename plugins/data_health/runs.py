"""The runs of `greenery_daily`, as `ops` knows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from include import settings
from include.daily import DAG_ID
from include.daily.admission import holder_of
from include.raw.lease import EXPIRES_AFTER
from include.slack.outbox import PROGRESS
from plugins.data_health.reading import Reading


class State(StrEnum):
    """What became of a run."""

    PUBLISHED = "published"
    FAILED = "failed"
    RUNNING = "running"
    # It neither published nor said why: its message is still to come, or it was killed whole.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Run:
    """A run. Times are UTC; `ended_at` is when it left its last result or published, None where it left none."""

    run_id: str
    state: State
    started_at: datetime
    ended_at: datetime | None
    release: str
    url: str

    @property
    def took(self) -> timedelta | None:
        """From its start to its last result."""
        return self.ended_at - self.started_at if self.ended_at else None


_RUNS = """
select
    runs.run_id,
    runs.started_at,
    runs.release,
    publications.published_at,
    greatest(
        publications.published_at,
        (select max(recorded_at) from ops.node_results as results where results.run_id = runs.run_id)
    ) as ended_at,
    exists (
        select from ops.leases
        where released_at is null
            and holder = %(holder)s || runs.run_id
            and renewed_at > now() - %(silent_for)s
    )
    -- It begins before it holds the lease, and may have to load the shop or to wait for another first.
    or (
        runs.started_at > now() - %(silent_for)s
        and publications.published_at is null
        and not exists (select from ops.node_results as results where results.run_id = runs.run_id)
        and not exists (select from ops.messages where messages.run_id = runs.run_id and kind <> %(progress)s)
    ) as is_running,
    (
        select max(created_at) from ops.messages where messages.run_id = runs.run_id and kind = 'failed'
    ) as failed_at
from ops.runs
left join lateral (
    select max(published_at) as published_at
    from ops.publications
    where publications.run_id = runs.run_id and published_at = data_as_of
) as publications on true
"""


def newest(reading: Reading) -> Run | None:
    """The run that began last; None before the first."""
    return _one(reading, "order by runs.started_at desc limit 1")


def named(reading: Reading, run_id: str) -> Run:
    """A run by its id. Raises LookupError for one that `ops` does not know."""
    if run := _one(reading, "where runs.run_id = %(run_id)s", run_id=run_id):
        return run
    raise LookupError(f"There is no run {run_id} in ops.runs.")


def since(reading: Reading, at: datetime) -> list[Run]:
    """The runs that began at or after a moment, the last one first."""
    return _all(reading, "where runs.started_at >= %(at)s order by runs.started_at desc", at=at)


def _one(reading: Reading, which: str, **parameters: object) -> Run | None:
    found = _all(reading, which, **parameters)
    return found[0] if found else None


def _all(reading: Reading, which: str, **parameters: object) -> list[Run]:
    known = {"holder": holder_of(""), "silent_for": EXPIRES_AFTER, "progress": PROGRESS}
    rows = reading.rows(f"{_RUNS} {which}", {**known, **parameters})  # constants of ours
    return [
        Run(
            row.run_id,
            _state(row.is_running, row.published_at, row.failed_at),
            row.started_at,
            row.ended_at,
            row.release,
            settings.run_url(DAG_ID, row.run_id),
        )
        for row in rows
    ]


def _state(is_running: bool, published_at: datetime | None, failed_at: datetime | None) -> State:
    if is_running:
        return State.RUNNING
    # One that was published can fail when it is cleared; one that failed can be published by hand.
    if published_at and not (failed_at and failed_at > published_at):
        return State.PUBLISHED
    return State.FAILED if failed_at else State.UNKNOWN
