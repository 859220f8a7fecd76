"""Over time: what each test and the runs came to by day, the figures, and what takes how long."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby

from include.dbt_project import metrics
from include.unusual.series import Measure, Series
from plugins.data_health import bands, figures_over_time, runs, stretches, tests_by_day, times
from plugins.data_health.bands import DayOfSeries
from plugins.data_health.figures_over_time import Metric, RunValue
from plugins.data_health.reading import Reading
from plugins.data_health.runs import Run, State
from plugins.data_health.stretches import Stretch
from plugins.data_health.tests_by_day import DaysOfTest
from plugins.data_health.times import OTHER_TASKS, ModelTime, TaskTime

# A band of more days takes too long for a page of many charts; the page of a series has it.
BANDED = 90


@dataclass(frozen=True)
class History:
    """The days from `first` to `last`, UTC.

    `runs` are the runs by day: published, failed, running, unknown, or none. `tests` are those that failed or warned,
    the worst first, `steady` those that never did. `metrics` are None where `analytics.daily_metrics` can't be read;
    they begin with the first order or session, and end with the day whose figures the message tells. `usual` has their
    days as they were observed, by name, with what is usual; of a year it has none.
    """

    days: int
    first: date
    last: date
    runs: tuple[Stretch, ...]
    tests: tuple[DaysOfTest, ...]
    steady: tuple[DaysOfTest, ...]
    metrics: tuple[Metric, ...] | None
    usual: dict[str, tuple[DayOfSeries, ...]]
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
    tests = tests_by_day.of_tests(reading, first, last, since)
    return History(
        days=days,
        first=first,
        last=last,
        runs=stretches.of(_by_day(runs.since(reading, since)), first, last),
        tests=tuple(sorted((one for one in tests if one.failed or one.warned), key=_worst)),
        steady=tuple(sorted((one for one in tests if not one.failed and not one.warned), key=lambda one: one.title)),
        repeat_rate=figures_over_time.repeat_rate(reading, since),
        usual=_usual(reading, days) if days <= BANDED else {},
        tasks=times.of_tasks(reading, since),
        models=times.of_models(reading, since),
        # Last, since nothing more can be read after an error.
        metrics=figures_over_time.metrics(reading, days),
    )


def _usual(reading: Reading, days: int) -> dict[str, tuple[DayOfSeries, ...]]:
    found = {}
    for unique_id, metric in reading.facts.metrics.items():
        if metrics.is_told(metric) and (of_it := bands.of_newest(reading, Series(unique_id, Measure.VALUE), days)):
            found[metric["name"]] = of_it
    return found


def _run_of(time: TaskTime) -> tuple[datetime, str]:
    return time.started_at, time.run_id


def _by_day(found: list[Run]) -> dict[date, str]:
    """The state of the last run of each day."""
    return {run.started_at.astimezone(UTC).date(): str(run.state) for run in reversed(found)}


def _worst(test: DaysOfTest) -> tuple[int, int, str]:
    return (-test.failed - test.flips, -test.warned, test.title)
