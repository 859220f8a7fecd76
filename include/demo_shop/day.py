"""One day of the demo shop: who comes, what they look at and buy, and what becomes of the orders of earlier days."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from include.demo_shop import catalogue
from include.demo_shop.calendar import DAY, HOUR, stamp
from include.demo_shop.catalogue import PAGE, PRODUCTS, PROMOS
from include.demo_shop.customers import FOUNDERS, Shop, Visitor, cohort_size, visitors
from include.demo_shop.ids import dice, named_id, timed_id
from include.demo_shop.orders import Order, fate, later_events, order_line, session_of
from include.raw.contract import TABLES
from include.raw.load import NULL, Rows


@dataclass(frozen=True)
class Shelf:
    """Prices in cents and units in stock, in the order of `catalogue.PRODUCTS`."""

    prices: tuple[int, ...]
    stock: tuple[int, ...]


@dataclass(frozen=True)
class Before:
    """What a day has to know of the one before: the shelf, and the orders that were not delivered by its end."""

    shelf: Shelf
    open_orders: tuple[tuple[Order, str], ...]  # with the status that raw knows


def opening_shelf(shop: Shop) -> Shelf:
    """The shelf on the eve of day 1: between two and four days' worth of each plant."""
    stock = [round(units * (2 + number % 5 / 2)) + 10 for number, units in enumerate(_daily_units(shop, 1))]
    return Shelf(tuple(product.price for product in PRODUCTS), tuple(stock))


def play(shop: Shop, day: int, before: Before) -> dict[str, Rows]:
    """The rows that are new or may have changed on a day, by table, each key once; the same rows for the same call."""
    return _Day(shop, day, before).rows


def shipping_address(name: str) -> str:
    """The id of the address that belongs to a customer's name."""
    return named_id(f"address/{name}")


# Shares of sessions, as the shop's figures have them: items in an order, further plants looked at, and for sessions
# without an order the plants looked at and how many of them went into the cart all the same.
_ITEMS = (1,) * 25 + (2,) * 37 + (3,) * 22 + (4,) * 10 + (5,) * 4 + (6,) + (7,)
_FURTHER_VIEWS = (0, 0, 1, 1, 1, 2, 2, 2, 3, 4)
_VIEWS_BROWSING = (1,) * 36 + (2,) * 31 + (3,) * 33
_CART_BROWSING = (0,) * 51 + (1,) * 41 + (2,) * 8
_UNITS_PER_ORDER = 6
_SHELF = tuple(number for number, product in enumerate(PRODUCTS) for _ in range(product.popularity))
# How busy the hours of the day are, in percent; people who sign up do so early enough to look around afterwards.
_HOURS = tuple(
    hour
    for hour, busy in enumerate((1, 1, 1, 1, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 5, 5, 5, 6, 7, 8, 8, 6, 4, 1))
    for _ in range(busy)
)
_SIGN_UP_HOURS = tuple(hour for hour in _HOURS if hour < 19)
_LONGEST_SESSION = 25 * 60  # seconds
_WITH_PROMO = 0.11
_TO_OWN_ADDRESS = 0.5
_PROFILE_UPDATED = 0.03
_PRICE_CHANGES = 0.06


class _Day:
    def __init__(self, shop: Shop, day: int, before: Before) -> None:
        self.shop, self.day = shop, day
        self.opening, self.start, self.end = (shop.start_of(one) for one in (1, day, day + 1))
        self.random = Random(f"{shop.seed}/day/{day}")  # noqa: S311 - no secret hangs on it
        self.rows = {table: Rows() for table in TABLES}
        self.gift_addresses = cohort_size(shop, FOUNDERS) + cohort_size(shop, FOUNDERS) // 6
        self.discounts = [promo for promo in PROMOS if promo.first_day <= day and promo.status(day) == "active"]
        shelf = before.shelf if day == 1 else self._overnight(before.shelf)
        self.prices, self.stock = shelf.prices, list(shelf.stock)
        if day == 1:
            self._founders()
        for order, status in before.open_orders:
            self._follow(order, status)
        for visitor in visitors(shop, day):
            self._visit(visitor)
        self._close()

    def _overnight(self, shelf: Shelf) -> Shelf:
        """What is new when the doors open: some prices, and plants where they ran low."""
        prices, stock = list(shelf.prices), list(shelf.stock)
        for number, daily in enumerate(_daily_units(self.shop, self.day)):
            if self.random.random() < _PRICE_CHANGES:
                # Five cents up or down at least, and never away from where it began.
                usual = PRODUCTS[number].price
                price = round(usual * self.random.uniform(0.88, 1.15) / 5) * 5
                prices[number] = price if price != prices[number] else price + 5
            if stock[number] < daily * 1.5 + 5:
                stock[number] += round(daily * 3) + 10
        return Shelf(tuple(prices), tuple(stock))

    def _founders(self) -> None:
        """Those who had signed up in the year before the opening, and some addresses of their friends."""
        for number in range(cohort_size(self.shop, FOUNDERS)):
            name = self._name(FOUNDERS, number)
            self._sign_up(name, self._customer_since(FOUNDERS, name))
        for number in range(cohort_size(self.shop, FOUNDERS), self.gift_addresses):
            self._address(self._name(FOUNDERS, number))

    def _follow(self, order: Order, status: str) -> None:
        """What the day does to an order of an earlier one."""
        fated = fate(order)
        if fated.status(self.end) != status:
            self.rows["orders"].extend([order_line(order, fated, self.end)])
        self.rows["events"].extend(later_events(order, fated, self.start))

    def _visit(self, visitor: Visitor) -> None:
        roll = self.random.random
        name = self._name(visitor.cohort, visitor.number)
        if visitor.cohort == self.day:
            since = self._customer_since(self.day, name)
            self._sign_up(name, since)
            starts = [since + 45 + 30 * 60 * nth for nth in range(len(visitor.visits))]
        else:
            hours = sorted(_HOURS[int(roll() * len(_HOURS))] for _ in visitor.visits)
            starts = sorted(self.start + hour * HOUR + int(roll() * HOUR) for hour in hours)
            # Not on day 1, on which the founders' rows are written as they signed up: a key comes once a day.
            if self.day > 1 and roll() < _PROFILE_UPDATED:
                self._new_phone(visitor, name, min(starts[0], self.end - _LONGEST_SESSION))
        user_id = named_id(f"user/{name}")
        for start, buys in zip(starts, visitor.visits, strict=True):
            self._session(name, user_id, min(start, self.end - _LONGEST_SESSION), buys)

    def _session(self, name: str, user_id: str, at: int, buys: bool) -> None:
        """One session: plants looked at one by one, some put into the cart, and an order of what is in it."""
        roll, bits = self.random.random, self.random.getrandbits
        own_id = timed_id(at - self.opening, bits(72))
        session_id = session_of(own_id) if buys else own_id
        if buys:
            wanted = _ITEMS[int(roll() * 100)]
            views = wanted + _FURTHER_VIEWS[int(roll() * 10)]
        else:
            views = _VIEWS_BROWSING[int(roll() * 100)]
            wanted = min(views, _CART_BROWSING[int(roll() * 100)])
        lines, seen, items = [], set(), []
        while len(seen) < views:
            number = _SHELF[int(roll() * len(_SHELF))]
            if number in seen:
                continue
            seen.add(number)
            product_id = PRODUCTS[number].product_id
            common = f"\t{session_id}\t{user_id}\t{PAGE}/product/{product_id}\t"
            lines.append(
                f"{timed_id(at - self.opening, bits(72))}{common}{stamp(at)}\tpage_view\t{NULL}\t{product_id}\n"
            )
            at += 15 + int(roll() * 50)
            if len(items) < wanted and self.stock[number] > 0:
                items.append(number)
                lines.append(
                    f"{timed_id(at - self.opening, bits(72))}{common}{stamp(at)}\tadd_to_cart\t{NULL}\t{product_id}\n"
                )
                at += 15 + int(roll() * 30)
        if buys and items:
            at += 30
            lines.append(
                f"{timed_id(at - self.opening, bits(72))}\t{session_id}\t{user_id}\t{PAGE}/checkout/{own_id}\t"
                f"{stamp(at)}\tcheckout\t{own_id}\t{NULL}\n"
            )
            order = self._order(own_id, name, user_id, at + 1 + int(roll() * 4), items)
            fated = fate(order)
            self.rows["orders"].extend([order_line(order, fated, self.end)])
            lines += later_events(order, fated, self.start)
        self.rows["events"].extend(lines)

    def _order(self, order_id: str, name: str, user_id: str, at: int, items: list[int]) -> Order:
        """The order of what is in the cart, its items written down and taken off the shelf."""
        roll = self.random.random
        cost, lines = 0, []
        for number in items:
            quantity = min(1 + int(roll() * 4), self.stock[number])
            self.stock[number] -= quantity
            cost += quantity * self.prices[number]
            lines.append(f"{order_id}\t{PRODUCTS[number].product_id}\t{quantity}\n")
        self.rows["order_items"].extend(lines)
        shipping = 100 + int(roll() * 900)
        promo = None
        if self.discounts and roll() < _WITH_PROMO:
            promo = self.discounts[int(roll() * len(self.discounts))]
            if promo.discount * 100 > cost + shipping:
                promo = None
        ship_to = name if roll() < _TO_OWN_ADDRESS else self._name(FOUNDERS, int(roll() * self.gift_addresses))
        return Order(
            order_id,
            user_id,
            promo.promo_id if promo else None,
            shipping_address(ship_to),
            at,
            _dollars(cost),
            _dollars(shipping),
            _dollars(cost + shipping - (promo.discount * 100 if promo else 0)),
        )

    def _sign_up(self, name: str, since: int) -> None:
        self._address(name)
        self._user(name, since, since, catalogue.person(name).phone)

    def _new_phone(self, visitor: Visitor, name: str, at: int) -> None:
        """A customer changes their profile: a new telephone number."""
        self._user(name, self._customer_since(visitor.cohort, name), at, catalogue.phone(f"{name}/{self.day}"))

    def _user(self, name: str, since: int, updated: int, phone: str) -> None:
        who = catalogue.person(name)
        self.rows["users"].extend(
            [
                f"{named_id(f'user/{name}')}\t{who.first_name}\t{who.last_name}\t{who.email}\t{phone}\t"
                f"{stamp(since)}\t{stamp(updated)}\t{shipping_address(name)}\n"
            ]
        )

    def _address(self, name: str) -> None:
        street, zipcode, state = catalogue.address(name)
        self.rows["addresses"].extend(
            [f"{shipping_address(name)}\t{street}\t{zipcode}\t{state}\t{catalogue.COUNTRY}\n"]
        )

    def _close(self) -> None:
        """What the shelf and the promos look like in the evening."""
        self.rows["products"].extend(
            f"{product.product_id}\t{product.name}\t{_dollars(price)}\t{stock}\n"
            for product, price, stock in zip(PRODUCTS, self.prices, self.stock, strict=True)
        )
        self.rows["promos"].extend(
            f"{promo.promo_id}\t{promo.discount}\t{promo.status(self.day)}\n"
            for promo in PROMOS
            if promo.first_day <= self.day
        )

    def _name(self, cohort: int, number: int) -> str:
        return f"{self.shop.seed}/{cohort}/{number}"

    def _customer_since(self, cohort: int, name: str) -> int:
        """When a customer signed up: on the cohort's day, or for a founder some time in the year before the opening."""
        if cohort == FOUNDERS:
            return self.opening - 1 - dice(f"sign-up/{name}") % (365 * DAY)
        hour, second = divmod(dice(f"sign-up/{name}"), HOUR)
        return self.shop.start_of(cohort) + _SIGN_UP_HOURS[hour % len(_SIGN_UP_HOURS)] * HOUR + second


def _daily_units(shop: Shop, day: int) -> list[float]:
    """How many units of each plant are sold on a day like this one."""
    return [shop.orders_on(day) * _UNITS_PER_ORDER * product.popularity / len(_SHELF) for product in PRODUCTS]


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
