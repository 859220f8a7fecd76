"""The figures of the marts by day, and the repeat rate as each run's message stated it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime

import psycopg2

from include.dbt_project.metrics import told
from include.results import publications
from include.results.figures import open_days
from include.words import Unit
from plugins.data_health.reading import Reading

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DayValue:
    """A figure of a UTC day."""

    day: date
    value: float


@dataclass(frozen=True)
class Metric:
    """A metric of `analytics.daily_metrics` that the message tells. Values in percent are shares: 0.624."""

    name: str
    label: str
    unit: Unit
    values: tuple[DayValue, ...]


@dataclass(frozen=True)
class RunValue:
    """A figure as the message of a run stated it; the repeat rate is a share."""

    run_id: str
    started_at: datetime
    value: float


def metrics(reading: Reading, days: int) -> tuple[Metric, ...] | None:
    """The last days of each metric that the message tells.

    None where `analytics.daily_metrics` can't be read, and nothing else can then.
    """
    live, wanted = publications.live(reading.connection), told(reading.facts)
    try:
        first, last = open_days(reading.connection, live) or (None, None)
        rows = reading.rows(
            """
            select metric, day, value::double precision as value
            from analytics.daily_metrics
            where day between greatest(%(first)s::date, %(last)s::date - %(days)s + 1) and %(last)s
                and metric = any(%(metrics)s)
                and value is not null
            order by day
            """,
            {"first": first, "last": last, "days": days, "metrics": [one.name for one in wanted]},
        )
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        log.warning("No daily metrics, since the marts are not as this project's: %s", error)
        return None
    return tuple(
        Metric(
            one.name,
            one.label,
            one.unit,
            tuple(DayValue(row.day, row.value) for row in rows if row.metric == one.name),
        )
        for one in wanted
    )


def repeat_rate(reading: Reading, since: datetime) -> tuple[RunValue, ...]:
    """Of the runs that began since then, the first one first."""
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
