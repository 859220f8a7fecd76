"""The demo shop: an invented plant shop, played day by day into the raw tables.

Everything follows from a seed and a size, so that the same day is always the same, on whatever date the shop begins.
What a day has to know of the days before (stock, prices, orders under way) it reads from the raw tables; which days
were played stands in `raw.shop_days`. A day is played when it is over: nothing is ever dated in the future.

    GREENERY_DEMO_FIRST_DAY=2026-01-01 python -m include.demo_shop.demo --orders-per-day 500
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw, settings, words
from include.demo_shop.catalogue import PRODUCTS
from include.demo_shop.customers import Shop
from include.demo_shop.day import Before, Shelf, opening_shelf, play
from include.demo_shop.orders import Order
from include.raw import load
from include.raw.contract import TABLES
from include.raw.load import LoadReport, TableReport
from include.warehouse import connect, transaction

NAME = load.DEMO
ORDERS_PER_DAY = 180
SEED = 1


class ShopError(RuntimeError):
    """A day can't be played into this warehouse; the message says why and what to do."""


def next_day(connection: Connection) -> int:
    """The first day that was not played yet: 1 for an empty warehouse."""
    with connection.cursor() as cursor:
        return _last_day(cursor) + 1 if raw.exists(cursor, "shop_days") else 1


def due(connection: Connection) -> list[tuple[int, date]]:
    """The days that are over and were not played yet, with their dates; none where the last one played is yesterday.

    Days are UTC. Raises ShopError where a new shop is to begin on a day that is not over.
    """
    with connection.cursor() as cursor:
        shop = _begun(cursor) if raw.exists(cursor, "shop_days") else None
        first_day, last = (shop.first_day, _last_day(cursor)) if shop else (_opening(), 0)
    over = (_today() - first_day).days
    return [(day, first_day + timedelta(days=day - 1)) for day in range(last + 1, over + 1)]


def play_day(
    connection: Connection,
    day: int,
    *,
    seed: int = SEED,
    orders_per_day: int = ORDERS_PER_DAY,
    first_day: date | None = None,
    steady: bool = False,
) -> LoadReport:
    """Play one day of the shop into the raw tables, in one transaction (see `warehouse.transaction`).

    A day that was played before changes nothing: its report counts no row, and tells when it was loaded. Days are
    played in order, when they are over, and with the same seed and size throughout; a new shop begins on `first_day`,
    or where it is None as the settings say. In a `steady` shop each day is as busy as the others. `raw.loads` gets a
    row for each of the seven tables, of how many rows are new or changed. Raises ShopError.
    """
    with transaction(connection) as cursor:
        load.prepare(cursor)
        begun = _begun(cursor)
        shop = Shop(seed, orders_per_day, first_day or (begun.first_day if begun else _opening()), steady)
        last = _check(cursor, shop, begun, day)
        if day <= last:
            return LoadReport(_loaded_at(cursor, day), {table: TableReport() for table in TABLES})
        before = Before(opening_shelf(shop), ()) if day == 1 else _before(cursor)
        report = load.upsert(cursor, play(shop, day, before), NAME)
        cursor.execute(
            sql.SQL(
                "insert into {} (day, seed, orders_per_day, loaded_at, first_day) values (%s, %s, %s, %s, %s)"
            ).format(raw.named("shop_days")),
            (day, seed, orders_per_day, report.loaded_at, shop.first_day),
        )
        return report


def _today() -> date:
    return datetime.now(UTC).date()


def _opening() -> date:
    """When a new shop begins: as the settings say, else so that two days of it are over."""
    chosen = settings.demo_first_day() or _today() - timedelta(days=2)
    if chosen >= _today():
        raise ShopError(f"GREENERY_DEMO_FIRST_DAY is {chosen}, which is not over yet; it takes a day of the past")
    return chosen


def _begun(cursor: Cursor) -> Shop | None:
    """The shop that is played here, None before its first day."""
    place = raw.named("shop_days")
    cursor.execute(sql.SQL("select seed, orders_per_day, first_day from {} where day = 1").format(place))
    row = cursor.fetchone()
    return Shop(*row) if row else None


def _check(cursor: Cursor, shop: Shop, begun: Shop | None, day: int) -> int:
    """The last day that was played; raises ShopError where `day` can't be the same shop's next or an earlier one."""
    origin = load.last_origin(cursor)
    if origin not in (None, NAME):
        raise ShopError(
            f"the raw tables hold {origin}, not the demo shop; play it into an empty warehouse (`make clean` makes one)"
        )
    last = _last_day(cursor)
    if not 1 <= day <= last + 1:
        raise ShopError(f"day {day} can't be played: the next day of this shop is {last + 1}")
    if begun and begun != replace(shop, steady=False):
        raise ShopError(
            f"this shop was begun with {_told(begun)}, not with {_told(shop)}; go on with the same, or begin anew "
            "in an empty warehouse"
        )
    if shop.date_of(day) >= _today():
        raise ShopError(f"day {day} of the demo shop is {shop.date_of(day)}, which is not over; it can be played then")
    return last


def _told(shop: Shop) -> str:
    return f"seed {shop.seed} and {shop.orders_per_day} orders a day on {shop.first_day}"


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
    """Play the days that are over into the warehouse that the environment names, and say how long it took."""
    parser = argparse.ArgumentParser(prog="python -m include.demo_shop.demo", description=main.__doc__)
    parser.add_argument("--orders-per-day", type=int, default=ORDERS_PER_DAY, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    arguments = parser.parse_args()
    began, events = time.monotonic(), 0
    try:
        with connect("greenery demo shop") as connection:
            days = due(connection)
            for day, _ in days:
                report = play_day(connection, day, seed=arguments.seed, orders_per_day=arguments.orders_per_day)
                connection.commit()
                events += report.tables["events"].inserted
    except (ShopError, load.LoadError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    print(f"{words.count(len(days), 'day')} played, {events:,} events in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
