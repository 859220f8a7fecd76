"""What each metric tells of each day since which publication: `ops.told`, a log of changes.

So what was told at any moment is one lookup: the last change up to the publication that was in force then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.warehouse import has_columns

TABLE = "daily_metrics"


@dataclass(frozen=True)
class Told:
    """What a metric told of a day, since a publication: None where it told nothing of it any more.

    `numerator` and `denominator` are what the value is made of, where the table of metrics has them.
    """

    metric: str
    day: date
    publication_id: int
    told_at: datetime
    value: Decimal | None
    numerator: Decimal | None
    denominator: Decimal | None


def note(cursor: Cursor, publication_id: int, schema: str) -> int:
    """Call in the transaction that publishes `schema`: what its metrics tell otherwise than before; how many do."""
    cursor.execute(
        sql.SQL(
            """
            with now as ({now}),

            changed as (
                select
                    coalesce(now.metric, former.metric) as metric, coalesce(now.day, former.day) as day,
                    now.value, now.numerator, now.denominator
                from now
                full join (select metric, day, value, numerator, denominator from ops.told where newest) as former
                    on former.metric = now.metric and former.day = now.day
                where (now.value, now.numerator, now.denominator)
                    is distinct from (former.value, former.numerator, former.denominator)
            ),

            no_longer as (
                update ops.told set newest = false
                from changed
                where told.newest and told.metric = changed.metric and told.day = changed.day
            )

            insert into ops.told (metric, day, publication_id, value, numerator, denominator)
            select metric, day, %s, value, numerator, denominator
            from changed
            """
        ).format(now=metrics_of(cursor.connection, schema)),
        (publication_id,),
    )
    return cursor.rowcount


def as_told(connection: Connection, metric: str, day: date, at: datetime | None = None) -> Told | None:
    """What was told of a day at a moment, by default now; None where nothing was told of it until then."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select told.metric, told.day, told.publication_id, published_at, value, numerator, denominator
            from ops.told
            join ops.publications using (publication_id)
            where metric = %s and day = %s and published_at <= coalesce(%s, 'infinity'::timestamptz)
            order by publication_id desc
            limit 1
            """,
            (metric, day, at),
        )
        row = cursor.fetchone()
    return Told(*row) if row else None


def history(connection: Connection, metric: str, day: date) -> list[Told]:
    """How a day was told, the first time first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select told.metric, told.day, told.publication_id, published_at, value, numerator, denominator
            from ops.told
            join ops.publications using (publication_id)
            where metric = %s and day = %s
            order by publication_id
            """,
            (metric, day),
        )
        return [Told(*row) for row in cursor.fetchall()]


def metrics_of(connection: Connection, schema: str) -> sql.Composable:
    """The query of what a schema's metrics tell: metric, day, value, numerator, denominator; of each day one row.

    Of several rows the one with the least value; no row where there is no such table, or of days before 1000 and after
    9998, which no date of Python's reckons with. What is no finite number is null.
    """
    table = f"{schema}.{TABLE}"
    if not has_columns(connection, table, "metric", "day", "value"):
        return sql.SQL(
            "select null::text as metric, null::date as day, null::numeric as value, null::numeric as numerator,"
            " null::numeric as denominator where false"
        )
    numbers = [
        sql.SQL("{}::numeric" if has_columns(connection, table, name) else "null::numeric").format(sql.Identifier(name))
        for name in ("value", "numerator", "denominator")
    ]
    value, numerator, denominator = (
        sql.SQL("case when {0} not in ('NaN', 'Infinity', '-Infinity') then {0} end").format(number)
        for number in numbers
    )
    return sql.SQL(
        """
        select distinct on (metric, day)
            metric::text as metric, day::date as day, {value} as value, {numerator} as numerator,
            {denominator} as denominator
        from {table}
        where metric is not null and day::date between date '1000-01-02' and date '9998-12-31'
        order by metric, day, value
        """
    ).format(value=value, numerator=numerator, denominator=denominator, table=sql.Identifier(schema, TABLE))
