"""The last runs: what became of each, how long it took, and how its tests came out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from include.results.failures import BROKEN
from plugins.data_health import runs
from plugins.data_health.reading import Reading
from plugins.data_health.runs import Run


@dataclass(frozen=True)
class RunLine:
    """A run, and how many of its tests, freshness included, came out how; a test's last result counts."""

    run: Run
    passed: int
    warned: int
    failed: int


@dataclass(frozen=True)
class RunList:
    """The runs of the last `days` days, the newest first."""

    days: int
    runs: tuple[RunLine, ...]


_TESTS = """
select
    run_id,
    count(*) filter (where status = 'pass') as passed,
    count(*) filter (where status = 'warn') as warned,
    count(*) filter (where status = any(%(broken)s)) as failed
from ops.last_words
where run_id = any(array(select run_id from ops.runs where started_at >= %(since)s))
    and resource_type in ('test', 'freshness')
group by run_id
"""


def read(reading: Reading, days: int) -> RunList:
    """The runs of the last so many days, today among them."""
    first = reading.at.astimezone(UTC).date() - timedelta(days=days - 1)
    since = datetime.combine(first, time(), UTC)
    tests = {row.run_id: row for row in reading.rows(_TESTS, {"since": since, "broken": list(BROKEN)})}
    return RunList(days, tuple(_line(run, tests.get(run.run_id)) for run in runs.since(reading, since)))


def _line(run: Run, tests: Any) -> RunLine:
    return RunLine(run, tests.passed, tests.warned, tests.failed) if tests else RunLine(run, 0, 0, 0)
