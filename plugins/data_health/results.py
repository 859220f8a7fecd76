"""What became of nodes: by run, by day, and how it stands now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from include import settings
from include.daily import DAG_ID
from include.dbt_project.manifest import Manifest
from include.results import failures
from include.results.failures import Failure
from include.results.nodes import NodeResult
from plugins.data_health import pages
from plugins.data_health.reading import Reading

STRIP_DAYS = 30

TestState = Literal["fail", "error", "warn", "pass", "never"]


@dataclass(frozen=True)
class Result:
    """What became of a node in a run: the last word of it, if a task was retried or cleared.

    `state` is dbt's: success, pass, warn, fail, error or skipped. `started_at` (UTC) is the run's. `rows` are those
    that a model wrote, None for a view; `failures` counts a test's failing rows; `seconds` is execution time.
    `measured` says what was found where it is not well. `log_url` leads to the task's log in Airflow.
    """

    run_id: str
    started_at: datetime
    state: str
    seconds: float
    rows: int | None
    failures: int | None
    measured: str | None
    log_url: str


@dataclass(frozen=True)
class Day:
    """What the last run that began on a UTC day made of a node, None where no run had a word on it."""

    day: date
    state: str | None


@dataclass(frozen=True)
class Standing:
    """How a test stands.

    `state` is what it last said, in whatever run; never where it has not run yet. `at` and `since` (UTC) are the starts
    of that run and of the first that said the same without a break. `failed_runs` counts the runs of the last 90 days
    that found it failing, mended later or not.
    """

    state: TestState = "never"
    run_id: str | None = None
    at: datetime | None = None
    since: datetime | None = None
    failed_runs: int = 0


_HISTORY = """
select
    results.unique_id,
    run_id,
    runs.started_at,
    results.task_id,
    results.resource_type,
    results.name,
    results.status,
    results.severity,
    results.failures,
    results.message,
    results.seconds,
    results.rows_affected,
    case when %(with_rows)s then results.failing_rows else '[]' end as failing_rows
from ops.last_words as results
join ops.runs using (run_id)
where results.unique_id = any(%(nodes)s)
    -- As a list, so that no word of an earlier run is looked at.
    and run_id = any(array(select run_id from ops.runs where started_at >= %(since)s))
order by results.unique_id, runs.started_at desc, run_id
"""


def history(reading: Reading, nodes: Collection[str], days: int, *, with_rows: bool = False) -> dict[str, list[Any]]:
    """What became of nodes in the runs that began in the last days, by unique id, the last run first."""
    found: dict[str, list[Any]] = defaultdict(list)
    since = reading.at - timedelta(days=days)
    for row in reading.rows(_HISTORY, {"nodes": list(nodes), "since": since, "with_rows": with_rows}):
        found[row.unique_id].append(row)
    return found


def result(row: Any, facts: Manifest) -> Result:
    """One row of the history."""
    well = row.status in ("pass", "success", "skipped")
    return Result(
        run_id=row.run_id,
        started_at=row.started_at,
        state=row.status,
        seconds=row.seconds,
        rows=row.rows_affected,
        failures=row.failures,
        measured=None if well else failure(row, facts).measured,
        log_url=pages.task_url(settings.run_url(DAG_ID, row.run_id), row.task_id),
    )


def failure(row: Any, facts: Manifest) -> Failure:
    """The same as people need to hear it, without personal columns."""
    told = NodeResult(
        row.unique_id,
        row.resource_type,
        row.name,
        row.status,
        row.severity,
        row.failures,
        row.message,
        row.seconds,
        row.rows_affected,
        failing_rows=row.failing_rows,
    )
    return failures.failure(told, facts, failures.RunContext(row.started_at, {}, {}))


def strip(rows: Iterable[Any], today: date) -> tuple[Day, ...]:
    """The last 30 UTC days of a node, the oldest first, by its history; skipped only where it did not run at all."""
    states: dict[date, str] = {}
    for row in sorted(rows, key=lambda row: row.status == "skipped"):
        states.setdefault(row.started_at.astimezone(UTC).date(), row.status)
    days = [today - timedelta(days=back) for back in reversed(range(STRIP_DAYS))]
    return tuple(Day(day, states.get(day)) for day in days)


_STANDINGS = """
with said as (
    select unique_id, status, max(recorded_at) as last_at
    from ops.node_results
    where unique_id = any(%(tests)s) and status <> 'skipped'
    group by unique_id, status
),

ranked as (
    select
        *,
        row_number() over newest_first = 1 as is_newest,
        lead(last_at) over newest_first as other_at
    from said
    window newest_first as (partition by unique_id order by last_at desc)
),

failed as (
    select unique_id, count(distinct run_id) as runs
    from ops.node_results
    where unique_id = any(%(tests)s) and recorded_at >= %(since)s and status in ('fail', 'error')
    group by unique_id
)

select
    ranked.unique_id,
    ranked.status,
    newest.run_id,
    newest.started_at,
    first.started_at as since,
    coalesce(failed.runs, 0) as failed_runs
from ranked
cross join lateral (
    select run_id, runs.started_at
    from ops.node_results as results
    join ops.runs using (run_id)
    where results.unique_id = ranked.unique_id and results.recorded_at = ranked.last_at
    limit 1
) as newest
cross join lateral (
    select runs.started_at
    from ops.node_results as results
    join ops.runs using (run_id)
    where results.unique_id = ranked.unique_id
        and results.status = ranked.status
        and results.recorded_at > coalesce(ranked.other_at, '-infinity')
    order by results.recorded_at
    limit 1
) as first
left join failed using (unique_id)
where ranked.is_newest
"""


def standings(reading: Reading, tests: Collection[str]) -> dict[str, Standing]:
    """How tests stand, by unique id; what never ran is left out."""
    parameters = {"tests": list(tests), "since": reading.at - timedelta(days=90)}
    return {
        row.unique_id: Standing(row.status, row.run_id, row.started_at, row.since, row.failed_runs)
        for row in reading.rows(_STANDINGS, parameters)
    }


def last_words(reading: Reading, run_id: str) -> dict[str, Any]:
    """What a run said last of each node, by unique id."""
    return {
        row.unique_id: row
        for row in reading.rows(
            "select unique_id, status, seconds, rows_affected from ops.last_words where run_id = %(run)s",
            {"run": run_id},
        )
    }


def compiled_sql(reading: Reading, node: str) -> str | None:
    """What dbt ran last for a node; None where nothing ran yet."""
    rows = reading.rows("select sql from ops.compiled_sql where unique_id = %(node)s", {"node": node})
    return rows[0].sql if rows else None
