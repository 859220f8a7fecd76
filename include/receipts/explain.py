"""Why a figure differs from that of an earlier day: parts by what the marts know of each row, which add up exactly."""

from __future__ import annotations

import json
import logging
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
from include.dbt_project.counted import Measure, counted
from include.dbt_project.explained_by import Dimension, Side
from include.dbt_project.manifest import Manifest
from include.receipts import meanwhile, split
from include.receipts.explanation import Explanation, Meanwhile, Share, Split
from include.receipts.items import MISSING, NotOfRowsError, by_item, called
from include.receipts.split import Counts
from include.receipts.told import TABLE
from include.settings import LIVE
from include.warehouse import has_columns, transaction

FACTORS = "factors"
# Half a digit of the value as its table has it, and what floating point leaves.
_AGREES = Fraction(1, 10**split.DIGITS)

log = logging.getLogger(__name__)


def explain(connection: Connection, facts: Manifest, metric: str, day: date, former_day: date) -> Explanation | None:
    """A metric of a day against a former one, by what is published now; None where it can't be counted by rows.

    A split whose rows are not there, or don't make up both values, is left out. Raises psycopg2.OperationalError where
    a statement takes longer than the session's `statement_timeout`.
    """
    rows = counted(facts).get(metric)
    found = values(connection, metric, (former_day, day)) if rows else {}
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
    whole = replace(whole, splits=tuple(one for one in splits if one.shares))
    if not whole.splits:
        return None
    happened: tuple[Meanwhile, ...] = ()
    with _spared(metric, "what happened at the same time"), transaction(connection):
        happened = meanwhile.of(connection, facts, whole, rows)
    return replace(whole, meanwhile=happened)


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
        item: Counts(*(sums.get(item, {}).get(day, Fraction(0)) for sums in sides for day in days))
        for item in {item for sums in sides for item in sums}
    }
    total = sum(items.values(), Counts())
    ratio = len(sides) > 1
    made = (
        (total.former / total.former_below, total.value / total.value_below) if ratio else (total.former, total.value)
    )
    _check(whole, made)
    shares = (split.of_ratio if ratio else split.of_sum)(items, whole.difference)
    labels = {MISSING: dimension.missing} | called(connection, dimension.called, [one.item for one in shares])
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
            raise NotOfRowsError(float(by_rows))


@contextmanager
def _spared(metric: str, what: str) -> Iterator[None]:
    """A project may have made its tables otherwise: that costs it this split."""
    try:
        yield
    except (psycopg2.ProgrammingError, psycopg2.DataError, ZeroDivisionError, NotOfRowsError) as error:
        why = type(error).__name__ if isinstance(error, psycopg2.Error) else repr(error)  # Postgres quotes values
        log.info("%s is not explained by %s: %s", metric, what, why)


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
