"""Inventory: what was oversold, what ran out and for how long, and how many units there were day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from plugins.data_health.reading import Reading

PRODUCTS, STOCK_OUTS, SNAPSHOT = "analytics.fact_product", "analytics.product_stock_outs", "snapshots.products_snapshot"
DAYS = 14
LISTED = 200


@dataclass(frozen=True)
class Oversold:
    """A product of which more `units` were sold, over all time, than the `inventory` of now: `oversold_units` more."""

    product_id: str
    product_name: str
    inventory: int
    units: int
    oversold_units: int


@dataclass(frozen=True)
class StockOut:
    """A period in which a product was out of stock. `until` is None while it still is; times are UTC."""

    product_id: str
    product_name: str
    since: datetime
    until: datetime | None
    hours: float


@dataclass(frozen=True)
class Stock:
    """A product's units in stock at the end of each of the days, None where they were not known yet."""

    product_id: str
    product_name: str
    inventory: tuple[int | None, ...]


@dataclass(frozen=True)
class Inventory:
    """Products that ran out or were oversold, as published, and the units in stock day by day, as the runs saw them.

    `oversold` and `stock_outs` are None where the shop has no such mart, `stocks` where it has no snapshot of products.
    Each holds 200 rows at most: the most oversold, the stock-outs that last and then the newest, and the products with
    the least stock; `…_count` counts all. `days` are the last 14 UTC days, the last one being today so far.
    """

    oversold: tuple[Oversold, ...] | None
    oversold_count: int
    stock_outs: tuple[StockOut, ...] | None
    stock_outs_count: int
    days: tuple[date, ...]
    stocks: tuple[Stock, ...] | None
    stocks_count: int


def read(reading: Reading) -> Inventory:
    """The inventory as of now."""
    today = reading.at.astimezone(UTC).date()
    days = tuple(today - timedelta(days=back) for back in reversed(range(DAYS)))
    oversold, oversold_count = _oversold(reading)
    stock_outs, stock_outs_count = _stock_outs(reading)
    stocks, stocks_count = _stocks(reading, days)
    return Inventory(oversold, oversold_count, stock_outs, stock_outs_count, days, stocks, stocks_count)


def _oversold(reading: Reading) -> tuple[tuple[Oversold, ...] | None, int]:
    if not reading.has(PRODUCTS, "product_id", "product_name", "inventory", "units", "oversold_units"):
        return None, 0
    rows = reading.rows(
        """
        select product_id::text, product_name, inventory, units, oversold_units, count(*) over () as all_of_them
        from analytics.fact_product
        where oversold_units > 0
        order by oversold_units desc, product_name, product_id
        limit %(limit)s
        """,
        {"limit": LISTED},
    )
    return tuple(Oversold(*row[:-1]) for row in rows), rows[0].all_of_them if rows else 0


def _stock_outs(reading: Reading) -> tuple[tuple[StockOut, ...] | None, int]:
    if not reading.has(STOCK_OUTS, "product_id", "product_name", "out_from", "out_until", "hours"):
        return None, 0
    rows = reading.rows(
        """
        select
            product_id::text,
            product_name,
            out_from::timestamptz as since,
            out_until::timestamptz as until,
            hours::double precision as hours,
            count(*) over () as all_of_them
        from analytics.product_stock_outs
        order by out_until desc nulls first, out_from desc, product_id
        limit %(limit)s
        """,
        {"limit": LISTED},
    )
    return tuple(StockOut(*row[:-1]) for row in rows), rows[0].all_of_them if rows else 0


def _stocks(reading: Reading, days: tuple[date, ...]) -> tuple[tuple[Stock, ...] | None, int]:
    """By the versions of which there was one at the end of each day, of the products that have least now."""
    if not reading.has(SNAPSHOT, "product_id", "name", "inventory", "dbt_valid_from", "dbt_valid_to"):
        return None, 0
    rows = reading.rows(
        """
        with products as (
            select product_id, name, inventory, count(*) over () as all_of_them
            from snapshots.products_snapshot
            where dbt_valid_to is null
            order by inventory, name, product_id
            limit %(limit)s
        ),

        versions as (
            select product_id, inventory, dbt_valid_from, dbt_valid_to
            from snapshots.products_snapshot
            where dbt_valid_to is null or dbt_valid_to >= %(first)s::timestamp
        )

        select
            products.product_id::text,
            products.name,
            array_agg(versions.inventory order by days.day) as stock,
            products.all_of_them
        from products
        cross join unnest(%(days)s::date[]) as days (day)
        left join versions
            on versions.product_id = products.product_id
            and versions.dbt_valid_from < days.day::timestamp + interval '1 day'
            and (versions.dbt_valid_to is null or versions.dbt_valid_to >= days.day::timestamp + interval '1 day')
        group by products.product_id, products.name, products.inventory, products.all_of_them
        order by products.inventory, products.name, products.product_id
        """,
        {"limit": LISTED, "first": days[0], "days": list(days)},
    )
    return tuple(Stock(row[0], row[1], tuple(row.stock)) for row in rows), rows[0].all_of_them if rows else 0
