"""Which figures a change of the project moves, and on which days: what the metrics tell before and after."""

from __future__ import annotations

from itertools import groupby

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import Metric
from include.preview.report import FigureDay, FigureMove
from include.receipts import told
from include.warehouse import exists
from include.words import Unit


def compare(
    connection: Connection, facts: Manifest, before_schema: str, after_schema: str, days: int
) -> tuple[FigureMove, ...]:
    """The metrics that tell other values of the last `days` days of which either schema tells; the message's first.

    `facts` are those of the state that made `after_schema`. Nothing where that has a table of metrics which was not
    built: nobody knows what it would tell. Only reads.
    """
    with connection.cursor() as cursor:
        if metrics.model(facts) and not exists(cursor, sql.Identifier(after_schema, told.TABLE).as_string(cursor)):
            return ()
        cursor.execute(
            sql.SQL(
                """
                with before as ({before}), after as ({after}),

                last_days as (
                    select day
                    from (select day from before union select day from after) as every
                    order by day desc
                    limit {days}
                )

                select metric, day, before.value, after.value, (select count(*) from last_days)
                from (select * from before where day in (select day from last_days)) as before
                full join (select * from after where day in (select day from last_days)) as after using (metric, day)
                where before.value is distinct from after.value
                    and coalesce(abs(after.value - before.value) >= 1e-9 * greatest(1, abs(before.value)), true)
                order by metric, day desc
                """
            ).format(
                before=told.metrics_of(connection, before_schema),
                after=told.metrics_of(connection, after_schema),
                days=sql.Literal(days),
            )
        )
        moved = {metric: list(rows) for metric, rows in groupby(cursor.fetchall(), key=lambda row: row[0])}
    in_message = {metrics.REPEAT_RATE, *(metric.name for metric in metrics.told(facts))}
    known = metrics.by_name(facts)
    order = [metrics.REPEAT_RATE, *known, *sorted(moved.keys() - known.keys())]
    return tuple(
        FigureMove(
            metric=metric.name,
            label=metric.label,
            unit=metric.unit,
            is_told=metric.name in in_message,
            compared=moved[metric.name][0][-1],
            moved=len(moved[metric.name]),
            days=tuple(FigureDay(day, before, after) for _, day, before, after, _ in moved[metric.name]),
        )
        for metric in (known.get(name) or Metric(name, name, Unit.NUMBER) for name in dict.fromkeys(order))
        if metric.name in moved
    )
