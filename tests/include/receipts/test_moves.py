"""What a publish changes of what was told: every move, with rows that add up to it as a recount in Python does."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from include.dbt_project.manifest import Manifest
from include.receipts import kept_moves, moves, told
from include.receipts.move import Move, Part, Period, Side, What
from include.receipts.moves import Found
from include.results import publications, runs

pytestmark = pytest.mark.db

# More days than rows would be looked for, had each moved by itself.
FIRST, PUBLISHED = date(2025, 9, 20), date(2026, 2, 3)
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
    mart = {"resource_type": "model", "name": "fact_orders", "config": {"materialized": "table"}, "columns": columns}
    return Manifest(
        {"model.p.orders": mart},
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


def build(db: Connection, schema: str, shop: Shop, days: Sequence[date] = DAYS) -> None:
    """The marts of a shop, which tell of these days."""
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
            [(name, day, value(shop, name, day, day), *sums(shop, name, day, day)) for name in COUNTS for day in days],
        )


def publish(db: Connection, shop: Shop, days: Sequence[date] = DAYS) -> int:
    """Make a shop what is live and told, since the morning of the last day."""
    build(db, "analytics", shop, days)
    runs.begin(db, "run", "release")
    as_of = datetime(PUBLISHED.year, PUBLISHED.month, PUBLISHED.day, 6, tzinfo=UTC)
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


@pytest.mark.parametrize(("hour", "moved"), [(timedelta(hours=20), set()), (timedelta(hours=25), {DAYS[-2]})])
def test_the_rest_of_a_day_that_was_not_over_when_raw_was_loaded_is_no_move(
    db: Connection, hour: timedelta, moved: set[date]
) -> None:
    """A run that comes after midnight builds from a load of the evening before."""
    before = shop_of(random.Random(1), 50)  # noqa: S311 - the same orders each time
    yesterday = datetime.combine(DAYS[-2], datetime.min.time(), UTC)
    do(db, "insert into ops.publication_loads values (%s, 'orders', %s)", publish(db, before), yesterday + hour)
    evening = yesterday.replace(tzinfo=None) + timedelta(hours=21)
    build(db, "analytics_next", before | {"evening": Order(evening, Decimal(5), None)})
    assert {one.move.starts for one in moves.find(db, project()) if one.move.period is Period.DAY} == moved


@pytest.mark.parametrize("seed", range(8))
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
        kept_moves.keep(cursor, publication_id, found)
    assert kept_moves.of_publication(db, publication_id) == tuple(one.move for one in found)
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


def order(day: date, amount: str, *, is_late: bool | None = None) -> Order:
    return Order(datetime(day.year, day.month, day.day, 12), Decimal(amount), is_late)


def moved(db: Connection, facts: Manifest | None = None) -> dict[tuple[str, Period, date], Found]:
    return {(one.move.metric, one.move.period, one.move.starts): one for one in moves.find(db, facts or project())}


JANUARY = date(2026, 1, 1)
TENTH, LAST = date(2026, 1, 10), date(2026, 1, 31)


def test_of_too_many_moves_the_largest_and_newest_are_kept(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shop_of(random.Random(1), 60)  # noqa: S311 - the same each time
    publish(db, before)
    build(db, "analytics_next", {key: replace(order, amount=order.amount + 1) for key, order in before.items()})
    every = moves.find(db, project())
    monkeypatch.setattr(moves, "MOST_MOVES", 40)
    kept = [(one.move.metric, one.move.period, one.move.starts) for one in moves.find(db, project())]
    assert len(every) > len(kept) == 40
    assert kept == [(one.move.metric, one.move.period, one.move.starts) for one in every][:40]
    assert {period for _, period, _ in kept} == {*Period}


def test_only_what_was_over_and_told_can_move(db: Connection) -> None:
    shop = {"a": order(TENTH, "10")}
    build(db, "analytics_next", shop)
    assert moved(db) == {}  # nothing was told
    up_to_the_last = [day for day in DAYS if JANUARY <= day <= LAST]
    publish(db, shop, up_to_the_last)
    build(db, "analytics_next", shop)
    assert moved(db) == {}  # nothing differs, but that there are more days
    build(db, "analytics_next", shop | {"b": order(LAST + timedelta(days=1), "1")})
    assert moved(db) == {}  # that day was over, and nobody had told of it
    build(db, "analytics_next", shop | {"b": order(LAST, "1")})
    assert ("revenue", Period.DAY, LAST) in moved(db)
    publish(db, shop)
    build(db, "analytics_next", shop | {"b": order(PUBLISHED, "1")})
    assert moved(db) == {}  # the day was not over
    build(db, "analytics_next", shop | {"b": order(PUBLISHED - timedelta(days=1), "1")})
    do(
        db,
        "insert into analytics_next.daily_metrics values ('revenue', '0044-03-15 BC', 1), ('revenue', 'infinity', 1)",
    )
    assert ("revenue", Period.DAY, PUBLISHED - timedelta(days=1)) in moved(db)


def test_a_day_before_the_first_that_was_told_moves(db: Connection) -> None:
    publish(db, {"a": order(TENTH, "10")}, [day for day in DAYS if day >= TENTH])
    build(db, "analytics_next", {"a": order(TENTH, "10"), "b": order(JANUARY, "5")})
    found = moved(db)
    first, month = found["revenue", Period.DAY, JANUARY].move, found["revenue", Period.MONTH, JANUARY].move
    assert (first.told, first.value, first.adds_up) == (None, Decimal(5), True)
    assert (month.told, month.value, month.adds_up) == (Decimal(10), Decimal(15), True)


def test_a_move_says_what_became_of_which_rows(db: Connection) -> None:
    last = TENTH + timedelta(days=1)
    publish(db, {"a": order(TENTH, "10"), "b": order(TENTH, "20"), "c": order(last, "30"), "d": order(TENTH, "0")})
    after = {"a": order(TENTH, "12.50", is_late=True), "b": order(last, "20"), "late": order(TENTH, "0.25")}
    build(db, "analytics_next", after)
    found = moved(db)
    one = found["revenue", Period.DAY, TENTH]
    assert (one.move.told, one.move.value) == (Decimal(30), Decimal("12.75"))
    assert [(row.key, row.what, row.before, row.after, row.changed, row.other_day) for row in one.rows] == [
        ("a", What.CORRECTED, Decimal(10), Decimal("12.50"), ("amount", "is_late"), None),
        ("b", What.MOVED_OUT, Decimal(20), None, (), last),
        ("late", What.LATE, None, Decimal("0.25"), (), None),
    ]
    assert one.move.parts == (
        Part(Side.NUMERATOR, What.MOVED_OUT, "fact_orders", 1, Decimal(-20), ("b",)),
        Part(Side.NUMERATOR, What.CORRECTED, "fact_orders", 1, Decimal("2.50"), ("a",), ("amount", "is_late")),
        Part(Side.NUMERATOR, What.LATE, "fact_orders", 1, Decimal("0.25"), ("late",)),
    )
    of_the_rate = found["late_rate", Period.DAY, TENTH].move.parts
    assert {part.changed for part in of_the_rate} == {("is_late", "amount")}  # what is counted comes first
    # Within the month it has not moved.
    assert {part.what for part in found["revenue", Period.MONTH, JANUARY].move.parts} == {
        What.CORRECTED,
        What.LATE,
        What.GONE,
    }
    hidden = moved(db, project(personal=True))["revenue", Period.DAY, TENTH]
    assert {part.keys for part in hidden.move.parts} == {()}


def test_a_row_that_was_there_without_a_day_names_what_gave_it_one(db: Connection) -> None:
    shop = {"a": order(TENTH, "10"), "b": order(TENTH, "20")}
    publish(db, shop)
    do(db, "update analytics.fact_orders set ordered_at = null where order_id = 'b'")
    do(db, "update analytics.daily_metrics set value = 10, numerator = 10 where metric = 'revenue' and value = 20")
    build(db, "analytics_next", shop | {"c": order(TENTH, "5")})
    do(db, "update ops.told set value = 10, numerator = 10 where metric = 'revenue' and day = %s", TENTH)
    found = moved(db)["revenue", Period.DAY, TENTH]
    assert [(row.key, row.what, row.changed) for row in found.rows] == [
        ("b", What.LATE, ("ordered_at",)),
        ("c", What.LATE, ()),
    ]
    assert [(part.rows, part.amount, part.changed) for part in found.move.parts] == [
        (1, Decimal(20), ("ordered_at",)),
        (1, Decimal(5), ()),
    ]


def test_rows_make_up_what_is_told_rounded(db: Connection) -> None:
    publish(db, {"a": order(TENTH, "10")})
    build(db, "analytics_next", {"a": order(TENTH, "10"), "b": order(TENTH, "5")})
    do(db, "alter table analytics_next.fact_orders alter amount type numeric(16, 4)")
    do(db, "update analytics_next.fact_orders set amount = 5.0049 where order_id = 'b'")
    do(db, "alter table ops.told alter value type numeric(16, 2)")
    do(db, "alter table analytics_next.daily_metrics alter value type numeric(16, 2)")
    assert moved(db)["revenue", Period.DAY, TENTH].move.adds_up
    do(db, "update analytics_next.fact_orders set amount = 5.0149 where order_id = 'b'")
    assert not moved(db)["revenue", Period.DAY, TENTH].move.adds_up


def test_what_can_not_be_compared_costs_the_rows_alone(db: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    shop = {"a": order(TENTH, "10"), "b": order(TENTH, "20"), "c": order(TENTH, "30")}
    publish(db, shop)
    now = shop | {"c": order(TENTH, "31"), "d": order(TENTH, "1")}
    for reason, statement in (
        ("or there twice", "update analytics_next.fact_orders set order_id = 'd' where order_id = 'c'"),
        ("key is empty", "update analytics_next.fact_orders set order_id = null where order_id = 'c'"),
        ("InvalidTextRepresentation", "alter table analytics_next.fact_orders alter amount type text using 'a@b.c'"),
        ("UndefinedTable", "drop table analytics_next.fact_orders"),
    ):
        build(db, "analytics_next", now)
        do(db, statement)
        caplog.clear()
        one = moved(db)["revenue", Period.DAY, TENTH]
        assert (one.move.told, one.move.value) == (Decimal(60), Decimal(62))
        assert (one.move.adds_up, one.move.parts, one.rows) == (False, (), ())
        assert reason in caplog.text
        assert "a@b.c" not in caplog.text

    build(db, "analytics_next", now)
    do(db, "update analytics.fact_orders set amount = 0 where order_id = 'a'")  # what is live is not what was told
    found = moved(db)
    assert not found["revenue", Period.DAY, TENTH].move.adds_up
    assert found["orders", Period.DAY, TENTH].move.adds_up
    assert {one.move.period for one in moved(db, Manifest({}, {})).values()} == {Period.DAY}
    do(db, "drop table analytics_next.daily_metrics")
    assert moved(db) == {}
