"""What the rows of each item count for, day by day, as they are published now."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from fractions import Fraction

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include.dbt_project.explained_by import Column, Side
from include.receipts.rows import project_sql
from include.settings import LIVE

# The item of rows that have none.
MISSING = "none"


class NotOfRowsError(ValueError):
    """The rows make up this, which is not what people query."""


def by_item(connection: Connection, side: Side, days: Collection[date]) -> dict[str, dict[date, Fraction]]:
    """What the rows of each item count for on these days, where there are any."""
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                """
                with counted as (
                    select {day}::date as day, {amount}::numeric as amount, {item} as item
                    from {relation}
                    where {day}::date = any(%s)
                )

                select {named}, day, sum(amount)
                from counted
                {join}
                group by 1, 2
                having sum(amount) is not null
                """
            ).format(
                day=project_sql(side.measure.day),
                amount=project_sql(side.measure.expr),
                item=project_sql(side.item),
                relation=sql.Identifier(LIVE, side.measure.relation),
                named=_text("joined.item" if side.of else "counted.item"),
                join=_joined(side.of) if side.of else sql.SQL(""),
            ),
            (list(days),),
        )
        found: dict[str, dict[date, Fraction]] = {}
        for name, day, amount in cursor.fetchall():
            if not amount.is_finite():
                raise NotOfRowsError(amount)
            found.setdefault(name, {})[day] = Fraction(amount)
    return found


def called(connection: Connection, column: Column | None, items: list[str]) -> dict[str, str]:
    """What people call items."""
    if column is None:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select {key}::text, min({expr}::text) from {relation} where {key}::text = any(%s) group by 1"
            ).format(
                key=project_sql(column.key),
                expr=project_sql(column.expr),
                relation=sql.Identifier(LIVE, column.relation),
            ),
            (items,),
        )
        return dict(cursor.fetchall())


def _joined(column: Column) -> sql.Composable:
    return sql.SQL(
        "left join (select {key} as key, {expr} as item from {relation}) as joined on joined.key = counted.item"
    ).format(key=project_sql(column.key), expr=project_sql(column.expr), relation=sql.Identifier(LIVE, column.relation))


def _text(expr: str) -> sql.Composable:
    return sql.SQL("coalesce(nullif(({})::text, ''), {})").format(sql.SQL(expr), sql.Literal(MISSING))
