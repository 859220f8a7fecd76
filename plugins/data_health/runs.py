"""The runs of `greenery_daily`, as `ops` knows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from include import settings
from include.dbt_project.runs import DAILY, holder_of
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
        select from ops.leases where released_at is null and holder = %(holder)s || runs.run_id
    ) as is_running,
    exists (
        select from ops.messages where messages.run_id = runs.run_id and kind = 'failed'
    ) as has_failed
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
    rows = reading.rows(f"{_RUNS} {which}", {"holder": holder_of(""), **parameters})  # constants of ours
    return [
        Run(
            row.run_id,
            _state(row.is_running, row.published_at, row.has_failed),
            row.started_at,
            row.ended_at,
            row.release,
            settings.run_url(DAILY, row.run_id),
        )
        for row in rows
    ]


def _state(is_running: bool, published_at: datetime | None, has_failed: bool) -> State:
    if is_running:
        return State.RUNNING
    if published_at:
        return State.PUBLISHED
    return State.FAILED if has_failed else State.UNKNOWN
