"""Why a figure differs from that of an earlier day: parts by what the marts know of each row, which add up exactly."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from include.dbt_project import explained_by
from include.dbt_project.counted import Measure
from include.dbt_project.explained_by import Column, Dimension, Side
from include.dbt_project.manifest import Manifest
from include.receipts import split
from include.receipts.explanation import Explanation, Meanwhile, Share, Split
from include.receipts.split import Counts
from include.receipts.told import TABLE
from include.settings import LIVE
from include.warehouse import has_columns, transaction

FACTORS = "factors"
# Half a digit of the value as its table has it, and what floating point leaves.
_AGREES = Fraction(1, 10**split.DIGITS)
# The item of rows that have none.
_MISSING = "none"

log = logging.getLogger(__name__)


class _NotOfRowsError(ValueError):
    """The rows don't make up the values that people query."""


def explain(connection: Connection, facts: Manifest, metric: str, day: date, former_day: date) -> Explanation | None:
    """A metric of a day against a former one, by what is published now; None where it can't be counted by rows.

    A split whose rows are not there, or don't make up both values, is left out. Raises psycopg2.OperationalError where
    a statement takes longer than the session's `statement_timeout`.
    """
    found = values(connection, metric, (former_day, day))
    if len(found) < 2:
        return None
    whole = Explanation(metric, day, former_day, found[day], found[former_day])
    splits: list[Split] = []
    for dimension in explained_by.dimensions(facts, metric):
        with _spared(metric, dimension.name), transaction(connection):
            splits.append(_by_dimension(connection, whole, dimension))
    if factors := explained_by.factors(facts, metric):
        with _spared(metric, FACTORS), transaction(connection):
            splits.append(_by_factors(connection, whole, factors))
    told = tuple(one for one in splits if one.shares)
    return replace(whole, splits=told) if told else None


def values(connection: Connection, metric: str, days: Collection[date]) -> dict[date, Decimal]:
    """What people query of a metric on these days, where there is a number."""
    if not has_columns(connection, f"{LIVE}.{TABLE}", "metric", "day", "value"):
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("select day::date, round(value::numeric, %s) from {} where metric = %s and day = any(%s)").format(
                sql.Identifier(LIVE, TABLE)
            ),
            (split.DIGITS, metric, list(days)),
        )
        return {day: value for day, value in cursor.fetchall() if value is not None and value.is_finite()}


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
                day=_sql(side.measure.day),
                amount=_sql(side.measure.expr),
                item=_sql(side.item),
                relation=sql.Identifier(LIVE, side.measure.relation),
                named=_text("joined.item" if side.of else "counted.item"),
                join=_joined(side.of) if side.of else sql.SQL(""),
            ),
            (list(days),),
        )
        found: dict[str, dict[date, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        for name, day, amount in cursor.fetchall():
            if not amount.is_finite():
                raise _NotOfRowsError(f"{side.measure.relation} has an amount that is no number on {day}")
            found[name][day] = Fraction(amount)
    return found


def keep(connection: Connection, publication_id: int, explanations: Iterable[Explanation]) -> None:
    """Keep what a message says."""
    with connection.cursor() as cursor:
        for one in explanations:
            cursor.execute(
                """
                insert into ops.explanations (publication_id, metric, day, explanation) values (%s, %s, %s, %s)
                on conflict (publication_id, metric) do update
                set day = excluded.day, explanation = excluded.explanation
                """,
                (publication_id, one.metric, one.day, Json(asdict(one), dumps=_dumps)),
            )


def of_publication(connection: Connection, publication_id: int) -> tuple[Explanation, ...]:
    """What was kept with a publication, in the order of the metrics' names."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select explanation from ops.explanations where publication_id = %s order by metric", (publication_id,)
        )
        return tuple(_read(one) for (one,) in cursor.fetchall())


def _by_dimension(connection: Connection, whole: Explanation, dimension: Dimension) -> Split:
    days = (whole.former_day, whole.day)
    sides = [by_item(connection, side, days) for side in dimension.sides]
    items = {
        item: Counts(*(sums[item][day] if item in sums else Fraction(0) for sums in sides for day in days))
        for item in {item for sums in sides for item in sums}
    }
    total = sum(items.values(), Counts())
    ratio = len(sides) > 1
    made = (
        (total.former / total.former_below, total.value / total.value_below) if ratio else (total.former, total.value)
    )
    _check(whole, made)
    shares = (split.of_ratio if ratio else split.of_sum)(items, whole.difference)
    labels = {_MISSING: dimension.missing} | _called(connection, dimension.called, [one.item for one in shares])
    return Split(
        dimension.name,
        dimension.label,
        tuple(replace(one, label=labels.get(one.item) or one.label) for one in shares),
    )


def _by_factors(connection: Connection, whole: Explanation, factors: tuple[explained_by.Factor, ...]) -> Split:
    days = (whole.former_day, whole.day)
    sums = [(Fraction(1), Fraction(1)), *(_sums(connection, factor.measure, days) for factor in factors)]
    _check(whole, sums[-1])
    found = [
        split.Factor(factor.metric, factor.label, former / former_before, value / value_before)
        for factor, ((former_before, value_before), (former, value)) in zip(factors, pairwise(sums), strict=True)
    ]
    return Split(FACTORS, FACTORS, split.of_product(found, whole.difference))


def _sums(connection: Connection, measure: Measure, days: tuple[date, date]) -> tuple[Fraction, ...]:
    """The sum of each day."""
    [sums] = by_item(connection, Side(measure, "''"), days).values() or [{}]
    return tuple(sums.get(day, Fraction(0)) for day in days)


def _check(whole: Explanation, made: tuple[Fraction, ...]) -> None:
    for told, by_rows in zip((whole.former, whole.value), made, strict=True):
        if abs(by_rows - Fraction(told)) > _AGREES:
            raise _NotOfRowsError(f"its rows make {float(by_rows)}, and it is {told}")


def _called(connection: Connection, column: Column | None, items: list[str]) -> dict[str, str]:
    """What people call items."""
    if column is None:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select {key}::text, min({expr}::text) from {relation} where {key}::text = any(%s) group by 1"
            ).format(key=_sql(column.key), expr=_sql(column.expr), relation=sql.Identifier(LIVE, column.relation)),
            (items,),
        )
        return dict(cursor.fetchall())


def _joined(column: Column) -> sql.Composable:
    return sql.SQL(
        "left join (select {key} as key, {expr} as item from {relation}) as joined on joined.key = counted.item"
    ).format(key=_sql(column.key), expr=_sql(column.expr), relation=sql.Identifier(LIVE, column.relation))


def _text(expr: str) -> sql.Composable:
    return sql.SQL("coalesce(nullif(({})::text, ''), {})").format(sql.SQL(expr), sql.Literal(_MISSING))


def _sql(expr: str) -> sql.Composable:
    """The project's own SQL, beside parameters of ours."""
    return sql.SQL(f"({expr.replace('%', '%%')}\n)")


@contextmanager
def _spared(metric: str, what: str) -> Iterator[None]:
    """A project may have made its tables otherwise: that costs it this split."""
    try:
        yield
    except (psycopg2.ProgrammingError, psycopg2.DataError, ZeroDivisionError, _NotOfRowsError) as error:
        log.info("%s is not split by %s: %s", metric, what, error)


def _dumps(explanation: dict) -> str:
    return json.dumps(explanation, default=str)


def _read(kept: dict) -> Explanation:
    def share(one: dict) -> Share:
        return Share(one["item"], one["label"], *(Decimal(one[name]) for name in ("former", "value", "amount")))

    return Explanation(
        kept["metric"],
        date.fromisoformat(kept["day"]),
        date.fromisoformat(kept["former_day"]),
        Decimal(kept["value"]),
        Decimal(kept["former"]),
        tuple(
            Split(one["dimension"], one["label"], tuple(share(part) for part in one["shares"]))
            for one in kept["splits"]
        ),
        tuple(Meanwhile(**one) for one in kept["meanwhile"]),
    )
