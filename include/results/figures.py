"""The figures that a message states, and those that it stated of the publish before."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import REPEAT_RATE, Metric
from include.receipts import basis, told
from include.receipts.told import Told
from include.results.publications import Publication
from include.settings import LIVE
from include.warehouse import has_columns
from include.words import Unit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure:
    """A figure of what is published, and the same as the former publish stated it; None where it stated none.

    `name` is that of its metric, `label` what people call it. One in percent is a share: 0.624. `day` is the UTC day
    that it is of; the repeat rate is of all buyers up to its day, the last that there is.
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
    `former_as_of` is as of when the former publish was, which they are compared with.
    `publication_id` is the publication that they are of, made at `told_on`. The receipt of each figure is at
    `address.url(figure.name, figure.day, figures.told_on)`; where `figure.day` is None it has none.
    """

    repeat_rate: Figure | None = None
    buyers: int = 0
    repeat_buyers: int = 0
    day: date | None = None
    days_before: int | None = None
    daily: tuple[Figure, ...] = ()
    former_as_of: datetime | None = None
    publication_id: int | None = None
    told_on: datetime | None = None

    @property
    def stated(self) -> tuple[Figure, ...]:
        """All of them."""
        return (*((self.repeat_rate,) if self.repeat_rate else ()), *self.daily)


def gather(connection: Connection, live: Publication | None, facts: Manifest) -> Figures:
    """The figures of what people query now, those that the metrics of the project say; none before the first publish.

    The day is the last of `open_days`. A project whose table of metrics is otherwise gets its message without figures.
    Only reads; rolls back where it can't.
    """
    as_of = live.data_as_of if live else None
    try:
        days = open_days(connection, live)
        day = days[1] if days else None
        shown = metrics.told(facts)
        daily = _daily(connection, LIVE, day, shown)
        rate_day, rate, repeat_buyers, buyers = _repeat_rate(connection, LIVE)
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        connection.rollback()
        log.warning("No figures, since the marts are not as this project's: %s", error)
        return Figures()
    former_as_of, former, _ = of_former(connection, live)
    before = (as_of.astimezone(UTC).date() - day).days if as_of and day else 0
    return Figures(
        repeat_rate=None
        if rate is None
        else Figure(REPEAT_RATE, "Repeat rate", Unit.PERCENT, rate, former.get(REPEAT_RATE), rate_day),
        buyers=buyers,
        repeat_buyers=repeat_buyers,
        day=day,
        days_before=before if before > 1 else None,
        daily=tuple(
            Figure(one.name, one.label, one.unit, daily[one.name], former.get(one.name), day)
            for one in shown
            if one.name in daily
        ),
        former_as_of=former_as_of,
        publication_id=live.publication_id if live else None,
        told_on=live.published_at if live else None,
    )


def elsewhere(connection: Connection, schema: str, published: Figures, facts: Manifest) -> Figures:
    """What would be told of the same day if a schema's marts were published, compared with what is.

    Where the schema has no such figure it stays as it is. Raises psycopg2.Error where its table is no such table.
    """
    shown = metrics.told(facts)
    daily = _daily(connection, schema, published.day, shown)
    rate_day, rate, repeat_buyers, buyers = _repeat_rate(connection, schema)
    now = {one.name: one.value for one in published.daily}
    former = published.repeat_rate.value if published.repeat_rate else None
    of_all = {} if rate is None else {"repeat_buyers": repeat_buyers, "buyers": buyers}
    if rate is not None:
        of_all["repeat_rate"] = Figure(REPEAT_RATE, "Repeat rate", Unit.PERCENT, rate, former, rate_day)
    elif published.repeat_rate:
        of_all["repeat_rate"] = replace(published.repeat_rate, former=former)
    return replace(
        published,
        **of_all,
        daily=tuple(
            Figure(one.name, one.label, one.unit, value, now.get(one.name), published.day)
            for one in shown
            if (value := daily.get(one.name, now.get(one.name))) is not None
        ),
    )


def open_days(connection: Connection, live: Publication | None) -> tuple[date, date] | None:
    """The first UTC day with an order or a session, and the last such day that was over when `live` was loaded.

    A day of which a later load brings the rest is not told as a whole one, though it is over by the publish. Where
    all of them are of that same day, that day; None where there is no such day. Deliveries and sign-ups are none: the
    last packages arrive a week after the last order, and people sign up before the first.
    """
    if not has_columns(connection, "analytics.daily_metrics", "day", "metric", "value"):
        return None
    loaded_at = basis.loaded_at(connection, live.publication_id) if live else None
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select min(day), coalesce(max(day) filter (where day < (%(loaded_at)s at time zone 'UTC')::date), max(day))
            from analytics.daily_metrics
            where metric in ('orders', 'sessions') and value > 0
            """,
            {"loaded_at": loaded_at},
        )
        first, last = cursor.fetchone()
        return (first, last) if last else None


def _repeat_rate(connection: Connection, schema: str) -> tuple[date | None, float | None, int, int]:
    """Its last day, the rate, repeat buyers and buyers; without a day where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                """
                select day, value::double precision, numerator::bigint, denominator::bigint
                from ({}) as metrics
                where metric = %s and value is not null and numerator is not null and denominator > 0
                order by day desc
                limit 1
                """
            ).format(told.metrics_of(connection, schema)),
            (REPEAT_RATE,),
        )
        return cursor.fetchone() or (None, None, 0, 0)


def _daily(connection: Connection, schema: str, day: date | None, shown: tuple[Metric, ...]) -> dict[str, float]:
    """What the metrics tell of a day, by name."""
    if day is None:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                """
                select metric, value::double precision
                from ({}) as metrics
                where metric = any(%s) and value is not null and day = %s
                """
            ).format(told.metrics_of(connection, schema)),
            ([one.name for one in shown], day),
        )
        return dict(cursor.fetchall())


def of_former(
    connection: Connection, live: Publication | None
) -> tuple[datetime | None, dict[str, float], dict[str, date]]:
    """As of when the run published before was, and the figures that its message stated, with their days."""
    if live is None:
        return None, {}, {}
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

            select former.data_as_of, metrics.metric, metrics.value, metrics.day
            from former
            join ops.metrics using (run_id)
            where metrics.value is not null
            """,
            (live.run_id, live.data_as_of),
        )
        rows = cursor.fetchall()
    values = {metric: value for _, metric, value, _ in rows}
    return (rows[0][0] if rows else None), values, {metric: day for _, metric, _, day in rows if day}


def keep(connection: Connection, run_id: str, figures: Figures) -> None:
    """Keep the figures that a run's message states, as they were then."""
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            """
            insert into ops.metrics (run_id, metric, value, day, publication_id) values %s
            on conflict (run_id, metric) do update set
                value = excluded.value, day = excluded.day, publication_id = excluded.publication_id
            """,
            [(run_id, one.name, one.value, one.day, figures.publication_id) for one in figures.stated],
        )


def stated(connection: Connection, publication_id: int) -> dict[str, Told]:
    """Each figure that the message of a publication stated, by its name, as `ops.told` gives it back."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select distinct on (told.metric)
                told.metric, told.day, told.publication_id, published_at, told.value, numerator, denominator
            from ops.metrics
            join ops.told on told.metric = metrics.metric and told.day = metrics.day
                and told.publication_id <= metrics.publication_id
            join ops.publications on publications.publication_id = told.publication_id
            where metrics.publication_id = %s
            order by told.metric, told.publication_id desc
            """,
            (publication_id,),
        )
        return {row[0]: Told(*row) for row in cursor.fetchall()}
