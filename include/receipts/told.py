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
            insert into ops.told (metric, day, publication_id, value, numerator, denominator)
            select
                coalesce(now.metric, former.metric), coalesce(now.day, former.day), %s,
                now.value, now.numerator, now.denominator
            from ({now}) as now
            full join (
                select distinct on (metric, day) metric, day, value, numerator, denominator
                from ops.told
                order by metric, day, publication_id desc
            ) as former on former.metric = now.metric and former.day = now.day
            where (now.value, now.numerator, now.denominator)
                is distinct from (former.value, former.numerator, former.denominator)
            """
        ).format(now=_now(cursor, schema)),
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


def _now(cursor: Cursor, schema: str) -> sql.Composable:
    """What a schema's metrics tell; no row where it has no such table."""
    numbers = ("numerator", "denominator")
    if not has_columns(cursor.connection, f"{schema}.{TABLE}", "metric", "day", "value"):
        columns = sql.SQL("null::text as metric, null::date as day, null::numeric as value, ")
        nothing = sql.SQL(", ").join(sql.SQL("null::numeric as {}").format(sql.Identifier(one)) for one in numbers)
        return sql.SQL("select {}{} where false").format(columns, nothing)
    given = sql.SQL(", ").join(
        sql.SQL(
            "{0}::numeric as {0}"
            if has_columns(cursor.connection, f"{schema}.{TABLE}", one)
            else "null::numeric as {0}"
        ).format(sql.Identifier(one))
        for one in numbers
    )
    return sql.SQL(
        "select distinct on (metric, day) metric::text as metric, day::date as day, value::numeric as value, {}"
        " from {} where metric is not null and day is not null order by metric, day"
    ).format(given, sql.Identifier(schema, TABLE))
