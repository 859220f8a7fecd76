"""The figures that a message states, and those that it stated of the publish before."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import REPEAT_RATE, Metric
from include.results.publications import Publication
from include.warehouse import has_columns
from include.words import Unit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure:
    """A figure of what is published, and the same as the former publish stated it; None where it stated none.

    `name` is that of its metric, `label` what people call it. One in percent is a share: 0.624. `day` is the UTC day
    that it is told of, by which its receipt is found.
    """

    name: str
    label: str
    unit: Unit
    value: float
    former: float | None = None
    day: date | None = None


@dataclass(frozen=True)
class Figures:
    """What is published in figures. `daily` are those of `day`, a UTC day; the repeat rate is of all buyers there are.

    `days_before` is how many days before the publish `day` lies, where that is more than one.
    `former_as_of` is as of when the former publish was, which they are compared with. `told_at` is since when people
    see them: the moment of the publication.
    """

    repeat_rate: Figure | None = None
    buyers: int = 0
    repeat_buyers: int = 0
    day: date | None = None
    days_before: int | None = None
    daily: tuple[Figure, ...] = ()
    former_as_of: datetime | None = None
    told_at: datetime | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """By name, as `ops.metrics` keeps them."""
        stated = (self.repeat_rate, *self.daily)
        return {figure.name: figure.value for figure in stated if figure is not None}


def gather(connection: Connection, live: Publication | None, facts: Manifest) -> Figures:
    """The figures of what people query now, those that the metrics of the project say; none before the first publish.

    The day is the last of `open_days`. A project whose marts are made otherwise gets its message without figures.
    Only reads; rolls back where it can't.
    """
    as_of = live.data_as_of if live else None
    try:
        repeat_buyers, buyers = _buyers(connection)
        days = open_days(connection, as_of)
        day = days[1] if days else None
        told = metrics.told(facts)
        daily = _daily(connection, day, told)
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        connection.rollback()
        log.warning("No figures, since the marts are not as this project's: %s", error)
        return Figures()
    former_as_of, former = _former(connection, live)
    before = (as_of.astimezone(UTC).date() - day).days if as_of and day else 0
    return Figures(
        repeat_rate=_repeat_rate(repeat_buyers / buyers, former) if buyers else None,
        buyers=buyers,
        repeat_buyers=repeat_buyers,
        day=day,
        days_before=before if before > 1 else None,
        daily=tuple(
            Figure(one.name, one.label, one.unit, daily[one.name], former.get(one.name))
            for one in told
            if one.name in daily
        ),
        former_as_of=former_as_of,
    )


def _repeat_rate(share: float, former: dict[str, float]) -> Figure:
    return Figure(REPEAT_RATE, "Repeat rate", Unit.PERCENT, share, former.get(REPEAT_RATE))


def _buyers(connection: Connection) -> tuple[int, int]:
    """Users with two or more orders, and with one or more; (0, 0) before the first publish."""
    if not has_columns(connection, "analytics.dim_users", "orders"):
        return 0, 0
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) filter (where orders >= 2), count(*) filter (where orders >= 1) from analytics.dim_users"
        )
        return cursor.fetchone()


def open_days(connection: Connection, as_of: datetime | None) -> tuple[date, date] | None:
    """The first UTC day with an order or a session, and the last such day that was over when the data was published.

    Where all of them are of that same day, that day; None where there is no such day. Deliveries and sign-ups are
    none: the last packages arrive a week after the last order, and people sign up before the first.
    """
    if not has_columns(connection, "analytics.daily_metrics", "day", "metric", "value"):
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select min(day), coalesce(max(day) filter (where day < (%(as_of)s at time zone 'UTC')::date), max(day))
            from analytics.daily_metrics
            where metric in ('orders', 'sessions') and value > 0
            """,
            {"as_of": as_of},
        )
        first, last = cursor.fetchone()
        return (first, last) if last else None


def _daily(connection: Connection, day: date | None, told: tuple[Metric, ...]) -> dict[str, float]:
    if day is None:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select metric, value::double precision
            from analytics.daily_metrics
            where metric = any(%s) and value is not null and day = %s
            """,
            ([one.name for one in told], day),
        )
        return dict(cursor.fetchall())


def _former(connection: Connection, live: Publication | None) -> tuple[datetime | None, dict[str, float]]:
    """As of when the run published before was, and the figures that its message stated."""
    if live is None:
        return None, {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with former as (
                select run_id, data_as_of
                from ops.publications
                where run_id <> %s and data_as_of < %s and published_at = data_as_of
                order by data_as_of desc
                limit 1
            )

            select former.data_as_of, metrics.metric, metrics.value
            from former
            join ops.metrics using (run_id)
            where metrics.value is not null
            """,
            (live.run_id, live.data_as_of),
        )
        rows = cursor.fetchall()
    return (rows[0][0] if rows else None), {metric: value for _, metric, value in rows}


def keep(connection: Connection, run_id: str, metrics: dict[str, float | None]) -> None:
    """Keep the figures that a run's message states, as they were then."""
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            """
            insert into ops.metrics (run_id, metric, value) values %s
            on conflict (run_id, metric) do update set value = excluded.value
            """,
            [(run_id, name, value) for name, value in metrics.items()],
        )
