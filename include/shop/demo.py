"""The demo shop: an invented plant shop, played day by day into the raw tables.

Everything follows from a seed and a size, so that the same day is always the same. What a day has to know of the days
before (stock, prices, orders under way) it reads from the raw tables; which days were played stands in `raw.shop_days`.

    python -m include.shop.demo --days 30 --orders-per-day 500
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.shop import load, raw
from include.shop.catalogue import PRODUCTS
from include.shop.customers import Shop
from include.shop.day import Before, Shelf, opening_shelf, play
from include.shop.load import LoadReport, TableReport
from include.shop.orders import Order
from include.shop.raw import TABLES
from include.warehouse import connect

NAME = load.DEMO
ORDERS_PER_DAY = 180
SEED = 1

_DAYS_TABLE = sql.SQL("""
create table if not exists {} (
    day integer primary key,
    seed integer not null,
    orders_per_day integer not null,
    loaded_at timestamptz not null
)
""")


class ShopError(RuntimeError):
    """A day can't be played into this warehouse; the message says why and what to do."""


def next_day(connection: Connection) -> int:
    """The first day that was not played yet: 1 for an empty warehouse."""
    with connection.cursor() as cursor:
        return _last_day(cursor) + 1 if raw.exists(cursor, "shop_days") else 1


def play_day(connection: Connection, day: int, *, seed: int = SEED, orders_per_day: int = ORDERS_PER_DAY) -> LoadReport:
    """Play one day of the shop into the raw tables, in one transaction (see `load.transaction`).

    A day that was played before changes nothing: its report counts no row, and tells when it was loaded. Days are
    played in order and with the same seed and size throughout. `raw.loads` gets a row for each of the seven tables, of
    how many rows are new or changed. Raises ShopError.
    """
    shop = Shop(seed, orders_per_day)
    with load.transaction(connection) as cursor:
        load.prepare(cursor)
        cursor.execute(_DAYS_TABLE.format(raw.named("shop_days")))
        last = _check(cursor, shop, day)
        if day <= last:
            return LoadReport(_loaded_at(cursor, day), {table: TableReport() for table in TABLES})
        before = Before(opening_shelf(shop), ()) if day == 1 else _before(cursor)
        report = load.upsert(cursor, play(shop, day, before), NAME)
        cursor.execute(
            sql.SQL("insert into {} values (%s, %s, %s, %s)").format(raw.named("shop_days")),
            (day, seed, orders_per_day, report.loaded_at),
        )
        return report


def _check(cursor: Cursor, shop: Shop, day: int) -> int:
    """The last day that was played; raises ShopError where `day` can't be the same shop's next or an earlier one."""
    origin = load.last_origin(cursor)
    if origin not in (None, NAME):
        raise ShopError(
            f"the raw tables hold {origin}, not the demo shop; play it into an empty warehouse (`make clean` makes one)"
        )
    last = _last_day(cursor)
    if not 1 <= day <= last + 1:
        raise ShopError(f"day {day} can't be played: the next day of this shop is {last + 1}")
    cursor.execute(sql.SQL("select seed, orders_per_day from {} where day = 1").format(raw.named("shop_days")))
    begun = cursor.fetchone()
    if begun and begun != (shop.seed, shop.orders_per_day):
        raise ShopError(
            f"this shop was begun with seed {begun[0]} and {begun[1]} orders a day, not with seed {shop.seed} and "
            f"{shop.orders_per_day}; go on with the same, or begin anew in an empty warehouse"
        )
    return last


def _last_day(cursor: Cursor) -> int:
    cursor.execute(sql.SQL("select coalesce(max(day), 0) from {}").format(raw.named("shop_days")))
    return cursor.fetchone()[0]


def _loaded_at(cursor: Cursor, day: int) -> datetime:
    cursor.execute(sql.SQL("select loaded_at from {} where day = %s").format(raw.named("shop_days")), (day,))
    return cursor.fetchone()[0]


def _before(cursor: Cursor) -> Before:
    """The state of the shop, as the raw tables have it.

    People break these tables on purpose, to see what the daily run makes of it: so a value may be null, a row may be
    there twice, or not at all, and the shop goes on.
    """
    cursor.execute(
        sql.SQL("select product_id, (price * 100)::integer, inventory from {}").format(raw.named("products"))
    )
    shelf = {product_id: (price, stock) for product_id, price, stock in cursor}
    prices, stock = [], []
    for product in PRODUCTS:
        price, units = shelf.get(product.product_id, (None, None))
        prices.append(product.price if price is None else price)
        stock.append(units or 0)
    cursor.execute(
        sql.SQL(
            "select distinct on (order_id) order_id, user_id, promo_id, address_id, extract(epoch from created_at)"
            "::bigint, order_cost::text, shipping_cost::text, order_total::text, status from {}"
            " where status <> 'delivered' and order_id is not null and created_at is not null order by order_id"
        ).format(raw.named("orders"))
    )
    return Before(Shelf(tuple(prices), tuple(stock)), tuple((Order(*row[:-1]), row[-1]) for row in cursor))


def main() -> None:
    """Play the next days of history into the warehouse that the environment names, and say how long it took."""
    parser = argparse.ArgumentParser(prog="python -m include.shop.demo", description=main.__doc__)
    parser.add_argument("--days", type=int, default=1, help="how many days to play (default: %(default)s)")
    parser.add_argument("--orders-per-day", type=int, default=ORDERS_PER_DAY, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    arguments = parser.parse_args()
    began, events, day = time.monotonic(), 0, 0
    try:
        with connect("greenery demo shop") as connection:
            for day in range(first := next_day(connection), first + arguments.days):
                report = play_day(connection, day, seed=arguments.seed, orders_per_day=arguments.orders_per_day)
                connection.commit()
                events += report.tables["events"].inserted
    except (ShopError, load.LoadError) as error:
        parser.exit(1, f"{error}\n")
    print(f"{arguments.days} days up to day {day}, {events:,} events in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
