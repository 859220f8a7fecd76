"""Over time: what each test and the runs came to by day, the figures, and what takes how long."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import groupby, pairwise

import psycopg2

from include.dbt_project.manifest import BUILDS
from include.results import failures, publications
from include.results.failures import BROKEN
from include.results.figures import DAILY, open_days
from include.results.nodes import NodeResult
from plugins.data_health import runs, stretches
from plugins.data_health.reading import Reading
from plugins.data_health.runs import Run, State
from plugins.data_health.stretches import Stretch

# How many tasks are told apart, and how many models are named.
TASKS, MODELS = 7, 15
OTHER_TASKS = "all others"
PASS, WARN, FAIL = "pass", "warn", "fail"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DaysOfTest:
    """A test, or a source's freshness, by UTC day; a day with several runs counts as its last result.

    `passed`, `warned` and `failed` count days; on others it did not run. `flips` is how often it began or ceased to
    fail. The states of its stretches are pass, warn, fail, and none where it did not run.
    """

    unique_id: str
    kind: str
    name: str
    title: str
    passed: int
    warned: int
    failed: int
    flips: int
    stretches: tuple[Stretch, ...]

    @property
    def in_words(self) -> str:
        """The same in words: "passed 88 of 90 days; failed 3 Nov, 9 Nov"."""
        ran = self.passed + self.warned + self.failed
        bad = [
            f"{verb} {stretches.in_words(found)}"
            for verb, state in (("failed", FAIL), ("warned", WARN))
            if (found := [one for one in self.stretches if one.state == state])
        ]
        return "; ".join([f"passed {self.passed} of {ran} day{'' if ran == 1 else 's'}", *bad])


@dataclass(frozen=True)
class DayValue:
    """A figure of a UTC day."""

    day: date
    value: float


@dataclass(frozen=True)
class Metric:
    """A metric of `analytics.daily_metrics`: `orders` are counted, `revenue` is in dollars, `conversion` is a share."""

    name: str
    values: tuple[DayValue, ...]


@dataclass(frozen=True)
class RunValue:
    """A figure as the message of a run stated it; the repeat rate is a share."""

    run_id: str
    started_at: datetime
    value: float


@dataclass(frozen=True)
class TaskTime:
    """How many seconds dbt worked in a task of a run, retries included; those beyond the slowest are one."""

    run_id: str
    started_at: datetime
    task: str
    seconds: float


@dataclass(frozen=True)
class ModelTime:
    """How many seconds a model took to build, over the runs that built it; `last` in the last of them."""

    name: str
    builds: int
    mean: float
    longest: float
    last: float


@dataclass(frozen=True)
class History:
    """The days from `first` to `last`, UTC.

    `runs` are the runs by day: published, failed, running, unknown, or none. `tests` are those that failed or warned,
    the worst first, `steady` those that never did. `metrics` are None where `analytics.daily_metrics` can't be read;
    they begin with the first order or session, and end with the day whose figures the message tells.
    """

    days: int
    first: date
    last: date
    runs: tuple[Stretch, ...]
    tests: tuple[DaysOfTest, ...]
    steady: tuple[DaysOfTest, ...]
    metrics: tuple[Metric, ...] | None
    repeat_rate: tuple[RunValue, ...]
    tasks: tuple[TaskTime, ...]
    models: tuple[ModelTime, ...]

    @property
    def failed_days(self) -> tuple[date, ...]:
        """On which the last run failed."""
        failed = [stretch for stretch in self.runs if stretch.state == State.FAILED]
        return tuple(one.first + timedelta(days=number) for one in failed for number in range(one.days))

    @property
    def runs_in_words(self) -> str:
        """The runs by day in words: "published on 28 of 30 days; failed 3 Nov, 9 Nov"."""
        ran = sum(stretch.days for stretch in self.runs if stretch.state != stretches.NONE)
        published = sum(stretch.days for stretch in self.runs if stretch.state == State.PUBLISHED)
        failed = [stretch for stretch in self.runs if stretch.state == State.FAILED]
        told = f"published on {published} of {ran} day{'' if ran == 1 else 's'}"
        return f"{told}; failed {stretches.in_words(failed)}" if failed else told

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks that are told apart, the slowest first, and the others last."""
        seconds: dict[str, float] = defaultdict(float)
        for one in self.tasks:
            seconds[one.task] += one.seconds
        return tuple(sorted(seconds, key=lambda task: (task == OTHER_TASKS, -seconds[task])))

    @property
    def seconds_by_run(self) -> tuple[tuple[datetime, dict[str, float]], ...]:
        """When each run began, the last one first, and its seconds by task."""
        by_run = [(at, {one.task: one.seconds for one in of_run}) for (at, _), of_run in groupby(self.tasks, _run_of)]
        return tuple(reversed(by_run))


def read(reading: Reading, days: int) -> History:
    """The last so many days, today among them."""
    last = reading.at.astimezone(UTC).date()
    first = last - timedelta(days=days - 1)
    since = datetime.combine(first, time(), UTC)
    tests = _tests(reading, first, last, since)
    return History(
        days=days,
        first=first,
        last=last,
        runs=stretches.of(_by_day(runs.since(reading, since)), first, last),
        tests=tuple(sorted((one for one in tests if one.failed or one.warned), key=_worst)),
        steady=tuple(sorted((one for one in tests if not one.failed and not one.warned), key=lambda one: one.title)),
        repeat_rate=_repeat_rate(reading, since),
        tasks=_tasks(reading, since),
        models=_models(reading, since),
        # Last, since nothing more can be read after an error.
        metrics=_metrics(reading, days),
    )


def _run_of(time: TaskTime) -> tuple[datetime, str]:
    return time.started_at, time.run_id


def _by_day(found: list[Run]) -> dict[date, str]:
    """The state of the last run of each day."""
    return {run.started_at.astimezone(UTC).date(): str(run.state) for run in reversed(found)}


def _worst(test: DaysOfTest) -> tuple[int, int, str]:
    return (-test.failed - test.flips, -test.warned, test.title)


# What passed is nearly all there is, so its days come as a list a test; the order within a day is asked of the others.
_RAN = """
with days as materialized (
    select run_id, (started_at at time zone 'UTC')::date - %(first)s as day
    from ops.runs
    where started_at >= %(since)s
)

select
    results.unique_id,
    min(results.resource_type) as kind,
    min(results.name) as name,
    bool_or(results.status <> 'pass') as is_troubled,
    array_agg(days.day) as days
from ops.node_results as results
join days using (run_id)
where results.resource_type in ('test', 'freshness') and results.status <> 'skipped'
group by results.unique_id
"""
_LAST_WORDS = """
with days as materialized (
    select run_id, (started_at at time zone 'UTC')::date - %(first)s as day
    from ops.runs
    where started_at >= %(since)s
)

select distinct on (results.unique_id, days.day) results.unique_id, days.day, results.status
from ops.node_results as results
join days using (run_id)
where results.unique_id = any(%(troubled)s) and results.status <> 'skipped'
order by results.unique_id, days.day, results.recorded_at desc
"""


def _tests(reading: Reading, first: date, last: date, since: datetime) -> list[DaysOfTest]:
    ran = reading.rows(_RAN, {"first": first, "since": since})
    troubled = [test.unique_id for test in ran if test.is_troubled]
    states: dict[str, dict[date, str]] = {unique_id: {} for unique_id in troubled}
    for word in reading.rows(_LAST_WORDS, {"first": first, "since": since, "troubled": troubled}):
        states[word.unique_id][first + timedelta(days=word.day)] = FAIL if word.status in BROKEN else word.status

    @cache  # most tests passed on the same days
    def passed(days: frozenset[int]) -> tuple[Stretch, ...]:
        return stretches.of({first + timedelta(days=day): PASS for day in days}, first, last)

    found = []
    for test in ran:
        days = stretches.of(states[test.unique_id], first, last) if test.is_troubled else passed(frozenset(test.days))
        result = NodeResult(test.unique_id, test.kind, test.name, "", None, None, None, 0.0, None)
        found.append(_test(result, failures.title(result, reading.facts), days))
    return found


def _test(result: NodeResult, title: str, found: tuple[Stretch, ...]) -> DaysOfTest:
    days = {state: sum(one.days for one in found if one.state == state) for state in (PASS, WARN, FAIL)}
    ran = [one.state == FAIL for one in found if one.state != stretches.NONE]
    flips = sum(before != after for before, after in pairwise(ran))
    return DaysOfTest(
        result.unique_id, result.resource_type, result.name, title, days[PASS], days[WARN], days[FAIL], flips, found
    )


def _metrics(reading: Reading, days: int) -> tuple[Metric, ...] | None:
    live = publications.live(reading.connection)
    try:
        first, last = open_days(reading.connection, live.data_as_of if live else None) or (None, None)
        rows = reading.rows(
            """
            select metric, day, value::double precision as value
            from analytics.daily_metrics
            where day between greatest(%(first)s::date, %(last)s::date - %(days)s + 1) and %(last)s
                and metric = any(%(metrics)s)
                and value is not null
            order by day
            """,
            {"first": first, "last": last, "days": days, "metrics": list(DAILY)},
        )
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        log.warning("No daily metrics, since the marts are not as this project's: %s", error)
        return None
    return tuple(
        Metric(name, tuple(DayValue(row.day, row.value) for row in rows if row.metric == name)) for name in DAILY
    )


def _repeat_rate(reading: Reading, since: datetime) -> tuple[RunValue, ...]:
    rows = reading.rows(
        """
        select run_id, runs.started_at, metrics.value
        from ops.metrics
        join ops.runs using (run_id)
        where metrics.metric = 'repeat_rate' and metrics.value is not null and runs.started_at >= %(since)s
        order by runs.started_at
        """,
        {"since": since},
    )
    return tuple(RunValue(row.run_id, row.started_at, row.value) for row in rows)


def _tasks(reading: Reading, since: datetime) -> tuple[TaskTime, ...]:
    rows = reading.rows(
        """
        with spent as (
            select results.run_id, results.task_id, sum(results.seconds) as seconds
            from ops.node_results as results
            join ops.runs using (run_id)
            where runs.started_at >= %(since)s
            group by results.run_id, results.task_id
        ),

        slowest as (
            select task_id
            from spent
            group by task_id
            order by sum(seconds) desc, task_id
            limit %(few)s
        )

        select run_id, runs.started_at, slowest.task_id, sum(spent.seconds) as seconds
        from spent
        join ops.runs using (run_id)
        left join slowest using (task_id)
        group by run_id, runs.started_at, slowest.task_id
        order by runs.started_at, run_id, slowest.task_id
        """,
        {"since": since, "few": TASKS},
    )
    return tuple(TaskTime(row.run_id, row.started_at, _short(row.task_id), row.seconds) for row in rows)


def _short(task_id: str | None) -> str:
    """A task as people call it: by its model, where it builds one."""
    return BUILDS.sub("", task_id.rsplit(".", 1)[-1]) if task_id else OTHER_TASKS


def _models(reading: Reading, since: datetime) -> tuple[ModelTime, ...]:
    rows = reading.rows(
        """
        with slowest as (
            select
                results.unique_id, min(results.name) as name, count(*) as builds, avg(results.seconds) as mean,
                max(results.seconds) as longest
            from ops.node_results as results
            join ops.runs using (run_id)
            where runs.started_at >= %(since)s and results.resource_type = 'model' and results.status = 'success'
            group by results.unique_id
            order by avg(results.seconds) desc
            limit %(few)s
        )

        select slowest.name, slowest.builds, slowest.mean, slowest.longest, newest.seconds
        from slowest
        cross join lateral (
            select seconds
            from ops.node_results as results
            where results.unique_id = slowest.unique_id and status = 'success'
            order by recorded_at desc
            limit 1
        ) as newest
        order by slowest.mean desc
        """,
        {"since": since, "few": MODELS},
    )
    return tuple(ModelTime(*row) for row in rows)
