"""Orders: which changed status, day by day, and how long those that stand still have stood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from include.results.orders import STATUS_CHANGES, OrderChange
from plugins.data_health.reading import Reading

SNAPSHOT = "snapshots.orders_snapshot"
# How many orders each change names, on each of the last so many days; and on the page of one day.
NAMED, NAMED_DAYS = 10, 14
LISTED = 5000


@dataclass(frozen=True)
class Standing:
    """The orders that are in a status now, by how long runs have seen them in it.

    `longest_since`, UTC, is since when one of them is in it at least; the others came later. An order that left the
    shop's tables keeps its last status.
    """

    status: str | None
    orders: int
    under_1_day: int
    from_1_to_3_days: int
    from_3_to_7_days: int
    over_7_days: int
    longest_since: datetime


@dataclass(frozen=True)
class Day:
    """The orders that runs of one UTC day saw change status: how many, and by change, the most frequent first."""

    day: date
    orders: int
    changes: tuple[OrderChange, ...]


@dataclass(frozen=True)
class Orders:
    """The orders' changes of status over the last `days`, the last day first, and where all orders stand now.

    A change is told on the UTC day of the run that saw it; an order seen for the first time is no change. `recorded`
    is False where there is no snapshot of orders. All orders are counted, and of each change on one of the last 14 days
    the first 10 are named.
    """

    days: int
    recorded: bool
    standing: tuple[Standing, ...]
    changed: tuple[Day, ...]


def read(reading: Reading, days: int) -> Orders:
    """The changes of the last days, today included, and where orders stand."""
    if not _recorded(reading):
        return Orders(days, False, (), ())
    today = reading.at.astimezone(UTC).date()
    changed = _changed(
        reading,
        today - timedelta(days=days - 1),
        today,
        NAMED,
        named_from=today - timedelta(days=NAMED_DAYS - 1),
    )
    return Orders(days, True, _standing(reading), changed)


def read_day(reading: Reading, day: date) -> Day:
    """The changes of a day, naming 5,000 orders of each. Raises LookupError where there is no snapshot of orders."""
    if not _recorded(reading):
        raise LookupError(f"There is no {SNAPSHOT} in this warehouse: no run has taken the orders' history yet.")
    return next(iter(_changed(reading, day, day, LISTED, named_from=day)), Day(day, 0, ()))


def _recorded(reading: Reading) -> bool:
    return reading.has(SNAPSHOT, "order_id", "status", "dbt_valid_from", "dbt_valid_to")


def _changed(reading: Reading, first: date, last: date, named: int, *, named_from: date) -> tuple[Day, ...]:
    rows = reading.rows(
        f"""
        select changed_at::date as day, status_before, status_after, count(*) as orders
        from ({STATUS_CHANGES}) as changes
        where changed_at >= %(first)s::timestamp and changed_at < %(last)s::timestamp + interval '1 day'
        group by changed_at::date, status_before, status_after
        order by changed_at::date desc, count(*) desc, status_before, status_after
        """,  # noqa: S608 - a constant
        {"first": first, "last": last},
    )
    orders = _named(reading, max(first, named_from), last, named)
    by_day: dict[date, list[OrderChange]] = {}
    for row in rows:
        change = (row.status_before, row.status_after)
        by_day.setdefault(row.day, []).append(OrderChange(*change, row.orders, orders.get((row.day, *change), ())))
    return tuple(Day(day, sum(one.count for one in changes), tuple(changes)) for day, changes in by_day.items())


def _named(
    reading: Reading, first: date, last: date, limit: int
) -> dict[tuple[date, str | None, str | None], tuple[str, ...]]:
    """The first orders of each day and change."""
    rows = reading.rows(
        f"""
        select
            changed_at::date as day,
            status_before,
            status_after,
            (array_agg(order_id::text order by order_id))[1:%(limit)s] as orders
        from ({STATUS_CHANGES}) as changes
        where changed_at >= %(first)s::timestamp and changed_at < %(last)s::timestamp + interval '1 day'
        group by changed_at::date, status_before, status_after
        """,  # noqa: S608 - a constant
        {"first": first, "last": last, "limit": limit},
    )
    return {(row.day, row.status_before, row.status_after): tuple(row.orders) for row in rows}


def _standing(reading: Reading) -> tuple[Standing, ...]:
    """An order is in its status since the last version with another one ended, or since its first version.

    Who has not changed for a week is in it for a week at least: only the others' versions are looked up.
    """
    rows = reading.rows(
        """
        with lately as (
            select changed.status, coalesce(moved.at, changed.dbt_valid_from) as since, 1 as orders
            from snapshots.orders_snapshot as changed
            cross join lateral (
                select
                    coalesce(
                        max(former.dbt_valid_to) filter (where former.status is distinct from changed.status),
                        min(former.dbt_valid_from)
                    ) as at
                from snapshots.orders_snapshot as former
                where former.order_id = changed.order_id and former.dbt_valid_to is not null
            ) as moved
            where changed.dbt_valid_to is null
                and changed.dbt_valid_from > %(now)s - interval '7 days'
        ),

        before_that as (
            select status, dbt_valid_from as since, count(*) as orders
            from snapshots.orders_snapshot
            where dbt_valid_to is null
                and dbt_valid_from <= %(now)s - interval '7 days'
            group by status, dbt_valid_from
        ),

        ages as (
            select status, orders, since, %(now)s - since as age from lately
            union all
            select status, orders, since, %(now)s - since as age from before_that
        )

        select
            status,
            sum(orders)::bigint as orders,
            coalesce(sum(orders) filter (where age < interval '1 day'), 0)::bigint as under_1_day,
            coalesce(sum(orders) filter (where age >= interval '1 day' and age < interval '3 days'), 0)::bigint
                as from_1_to_3_days,
            coalesce(sum(orders) filter (where age >= interval '3 days' and age < interval '7 days'), 0)::bigint
                as from_3_to_7_days,
            coalesce(sum(orders) filter (where age >= interval '7 days'), 0)::bigint as over_7_days,
            min(since)::timestamptz as longest_since
        from ages
        group by status
        order by sum(orders) desc, status
        """,
        {"now": reading.at.astimezone(UTC).replace(tzinfo=None)},
    )
    return tuple(Standing(**row._asdict()) for row in rows)
