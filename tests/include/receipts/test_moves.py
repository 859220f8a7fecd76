"""What a publish changes of what was told: every move, with rows that add up to it as a recount in Python does."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from include.dbt_project.manifest import Manifest
from include.receipts import moves, told
from include.receipts.move import Move, Part, Period, Side, What
from include.results import publications, runs

pytestmark = pytest.mark.db

FIRST, PUBLISHED = date(2025, 11, 10), date(2026, 2, 3)
DAYS = [FIRST + timedelta(days=nth) for nth in range((PUBLISHED - FIRST).days + 1)]


@dataclass(frozen=True)
class Order:
    """A row of the mart; of unknown lateness where it has none."""

    ordered_at: datetime
    amount: Decimal
    is_late: bool | None

    @property
    def day(self) -> date:
        return self.ordered_at.date()


Shop = dict[str, Order]
# What an order counts for, above and below.
COUNTS = {
    "orders": (lambda _: Decimal(1), None),
    "revenue": (lambda order: order.amount, None),
    "late_rate": (lambda order: Decimal(bool(order.is_late)), lambda order: Decimal(order.is_late is not None)),
    "mean_amount": (lambda order: order.amount, lambda _: Decimal(1)),
    "revenue_so_far": (lambda order: order.amount, None),
}
RUNNING = "revenue_so_far"


def measure(name: str, expr: str, agg: str = "sum") -> dict[str, Any]:
    return {"name": name, "expr": expr, "agg": agg}


def metric(name: str, of: str, kind: str = "simple") -> dict[str, Any]:
    return {"name": name, "type": kind, "type_params": {"measure": {"name": of}}}


def project(*, personal: bool = False) -> Manifest:
    """One mart, and metrics of each kind that is counted by rows."""
    columns = {"order_id": {"config": {"meta": {"personal": "order_id"}}}} if personal else {}
    ratio = {"numerator": {"name": "late"}, "denominator": {"name": "known"}}
    metrics = [
        metric("orders", "orders"),
        metric("revenue", "revenue"),
        metric("late", "late"),
        metric("known", "known"),
        {"name": "late_rate", "type": "ratio", "type_params": ratio},
        metric("mean_amount", "mean_amount"),
        metric(RUNNING, "revenue", "cumulative"),
    ]
    return Manifest(
        {"model.p.orders": {"resource_type": "model", "name": "fact_orders", "columns": columns}},
        {},
        metrics={one["name"]: one for one in metrics},
        semantic_models={
            "orders": {
                "node_relation": {"alias": "fact_orders"},
                "depends_on": {"nodes": ["model.p.orders"]},
                "defaults": {"agg_time_dimension": "day"},
                "entities": [{"name": "order", "type": "primary", "expr": "order_id"}],
                "dimensions": [{"name": "day", "type": "time", "expr": "ordered_at"}],
                "measures": [
                    measure("orders", "1"),
                    measure("revenue", "amount"),
                    measure("late", "case when is_late then 1 else 0 end"),
                    measure("known", "case when is_late is not null then 1 else 0 end"),
                    measure("mean_amount", "amount", "average"),
                ],
            }
        },
    )


def sums(shop: Shop, name: str, first: date, last: date) -> tuple[Decimal, Decimal | None]:
    """The two sides of a metric over days."""
    above, below = COUNTS[name]
    of = [order for order in shop.values() if (name == RUNNING or first <= order.day) and order.day <= last]
    return sum(map(above, of), Decimal(0)), sum(map(below, of), Decimal(0)) if below else None


def value(shop: Shop, name: str, first: date, last: date) -> Decimal | None:
    above, below = sums(shop, name, first, last)
    if below is None:
        return above
    return (above / below).quantize(Decimal("0.0001"), ROUND_HALF_UP) if below else None


def do(db: Connection, statement: str, *parameters: object) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def build(db: Connection, schema: str, shop: Shop) -> None:
    """The marts of a shop."""
    do(db, f"create schema if not exists {schema}")
    do(db, f"drop table if exists {schema}.fact_orders, {schema}.daily_metrics")
    do(
        db,
        f"create table {schema}.fact_orders (order_id text, ordered_at timestamp, amount numeric(16, 2), is_late bool)",
    )
    do(
        db,
        f"create table {schema}.daily_metrics"
        " (metric text, day date, value numeric, numerator numeric, denominator numeric)",
    )
    with db.cursor() as cursor:
        execute_values(
            cursor,
            f"insert into {schema}.fact_orders values %s",
            [(key, order.ordered_at, order.amount, order.is_late) for key, order in shop.items()],
        )
        execute_values(
            cursor,
            f"insert into {schema}.daily_metrics values %s",
            [(name, day, value(shop, name, day, day), *sums(shop, name, day, day)) for name in COUNTS for day in DAYS],
        )


def publish(db: Connection, shop: Shop, on: date = PUBLISHED) -> int:
    """Make a shop what is live and told, since the morning of a day."""
    build(db, "analytics", shop)
    runs.begin(db, "run", "release")
    as_of = datetime(on.year, on.month, on.day, 6, tzinfo=UTC)
    with db.cursor() as cursor:
        publication_id, _ = publications.note(cursor, "run", "analytics", as_of=as_of, decision=None, notes=[])
        told.note(cursor, publication_id, "analytics")
    return publication_id


def shop_of(chance: random.Random, orders: int) -> Shop:
    return {f"o{nth:03}": order_of(chance) for nth in range(orders)}


def order_of(chance: random.Random) -> Order:
    at = datetime.combine(chance.choice(DAYS), datetime.min.time()) + timedelta(minutes=chance.randrange(24 * 60))
    return Order(at, Decimal(chance.randrange(0, 500)) / 100, chance.choice((True, False, None)))


def edited(shop: Shop, chance: random.Random) -> Shop:
    """Some orders come late, some go, some are corrected, some move to another day, some do both."""
    now = dict(shop)
    for key in chance.sample(sorted(now), 12):
        other = order_of(chance)
        match chance.randrange(5):
            case 0:
                del now[key]
            case 1:
                now[key] = replace(now[key], amount=other.amount)
            case 2:
                now[key] = replace(now[key], is_late=other.is_late)
            case 3:
                now[key] = replace(now[key], ordered_at=other.ordered_at)
            case 4:
                now[key] = other
    return now | {f"late{nth}": order_of(chance) for nth in range(chance.randrange(5))}


def periods(kind: Period) -> dict[date, date]:
    """The last day of each period that is over, by its first."""
    of: dict[date, list[date]] = {}
    for day in DAYS[:-1]:
        starts = {Period.DAY: day, Period.MONTH: day.replace(day=1), Period.YEAR: day.replace(month=1, day=1)}[kind]
        of.setdefault(starts, []).append(day)
    over = {starts: days[-1] for starts, days in of.items()}
    return over if kind is Period.DAY else dict(list(over.items())[:-1])


def expected(before: Shop, after: Shop) -> dict[tuple[str, Period, date], tuple[Decimal | None, Decimal | None]]:
    """Each move that has to be found, as told and as it is now. What runs is told where another difference begins."""
    found = {}
    for name in COUNTS:
        for kind in Period:
            known = Decimal(0)
            for starts, last in periods(kind).items():
                was, now = (value(shop, name, starts, last) for shop in (before, after))
                higher = (now or 0) - (was or 0)
                if higher and (name != RUNNING or higher != known):
                    found[name, kind, starts] = (was, now)
                known = higher
    return found


@pytest.mark.parametrize("seed", range(12))
def test_each_move_is_found_and_its_rows_add_up_to_a_recount(db: Connection, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same edits each time
    before = shop_of(chance, 300)
    after = edited(before, chance)
    publication_id = publish(db, before)
    build(db, "analytics_next", after)

    found = moves.find(db, project())

    assert {
        (one.move.metric, one.move.period, one.move.starts): (one.move.told, one.move.value) for one in found
    } == expected(before, after)
    for one in found:
        move = one.move
        assert move.adds_up, move
        last = periods(move.period)[move.starts]
        was, now = (sums(shop, move.metric, move.starts, last) for shop in (before, after))
        for side, one_was, one_now in zip(Side, was, now, strict=True):
            parts = [part for part in move.parts if part.side is side]
            assert sum((part.amount for part in parts), Decimal(0)) == (one_now or 0) - (one_was or 0)
            if move.period is Period.DAY:
                rows = [row for row in one.rows if row.side is side]
                assert _counted(parts) == {what: _of(rows, what) for what in {row.what for row in rows}}
                recounted = _recount(before, after, move, side)
                # Rows that make up for each other on an earlier day are not behind what runs.
                assert {(row.key, row.what) for row in rows} == recounted or (move.metric == RUNNING and recounted)
    with db.cursor() as cursor:
        moves.keep(cursor, publication_id, found)
    assert moves.of_publication(db, publication_id) == tuple(one.move for one in found)
    assert do(db, "select count(*) from ops.moved_rows") == [(sum(len(one.rows) for one in found),)]


def _counted(parts: Iterable[Part]) -> dict[What, tuple[int, Decimal, tuple[str, ...]]]:
    return {part.what: (part.rows, part.amount, part.keys) for part in parts}


def _of(rows: Iterable[Any], what: What) -> tuple[int, Decimal, tuple[str, ...]]:
    of = [row for row in rows if row.what is what]
    return len(of), sum((row.amount for row in of), Decimal(0)), tuple(sorted(row.key for row in of)[:5])


def _recount(before: Shop, after: Shop, move: Move, side: Side) -> set[tuple[str, What]]:
    """What became of each order that a day counts otherwise, by its two versions alone."""
    counts = COUNTS[move.metric][list(Side).index(side)]
    if counts is None:
        return set()

    def inside(order: Order | None) -> bool:
        return order is not None and (order.day <= move.starts if move.metric == RUNNING else order.day == move.starts)

    found = set()
    for key in before.keys() | after.keys():
        was, now = before.get(key), after.get(key)
        if (counts(was) if inside(was) else 0) == (counts(now) if inside(now) else 0):
            continue
        if inside(was) and inside(now):
            found.add((key, What.CORRECTED))
        elif inside(was):
            found.add((key, What.MOVED_OUT if now else What.GONE))
        else:
            found.add((key, What.MOVED_IN if was else What.LATE))
    return found
