"""Four weeks of a small shop as CSV folders, one a day: orders change, come late, are corrected, moved and deleted.

Each folder holds the whole shop as it was known at the end of its day. What is to come later lies in `coming`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

from include.raw.contract import TABLES

# Days that are told from the first folder on; then the weeks, in which December and the year come to their end.
BEGINS, FIRST_DAY, DAYS = date(2025, 11, 28), date(2025, 12, 15), 28
ORDERS_A_DAY = 12
PROMO = ("greens", Decimal(4))
PRICES = {"fern": Decimal("12.50"), "moss": Decimal("4.99"), "palm": Decimal("89.90"), "ivy": Decimal("7.25")}
# What a product costs from a day on.
NEW_PRICES = {("palm", date(2025, 12, 22)): Decimal("99.90"), ("moss", date(2026, 1, 2)): Decimal("3.49")}
# By a day's number since FIRST_DAY, after how many days four in ten of its orders are known at last.
STUCK = {10: 3, 17: 2, 24: 3}

Row = dict[str, str]


def price(product: str, day: date) -> Decimal:
    """What a product costs on a day."""
    changed = [(since, new) for (name, since), new in NEW_PRICES.items() if name == product and since <= day]
    return max(changed)[1] if changed else PRICES[product]


class SmallShop:
    """The shop, a day after the other; `known` is what its next folder holds, by table and key."""

    def __init__(self) -> None:
        self.random = Random(24)  # noqa: S311 - no secret hangs on it
        self.known: dict[str, dict[tuple[str, ...], Row]] = {name: {} for name in TABLES}
        self.coming: dict[date, list[tuple[str, Row]]] = defaultdict(list)
        self.users: list[str] = []
        self.orders = 0
        self._know("addresses", address_id="home", zipcode="01234", state="Ohio", country="United States")
        self._know("promos", promo_id=PROMO[0], discount=str(PROMO[1]), status="active")
        for number in range(20):
            self._user(f"user-{number:03}", datetime.combine(BEGINS, time(8), UTC))
        self.day = BEGINS
        while self.day < FIRST_DAY:
            self._trade(late=False)
            self.day += timedelta(days=1)

    def write(self, folder: Path) -> date:
        """The next day of the shop, and its folder; returns the day."""
        for table, row in self.coming.pop(self.day, ()):
            self._know(table, **row)
        self._trade()
        number = (self.day - FIRST_DAY).days
        self._correct(number)
        for product in PRICES:
            self._know(
                "products", product_id=product, name=product, price=str(price(product, self.day)), inventory="1000000"
            )
        folder.mkdir()
        for name, table in TABLES.items():
            with (folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(table.columns), restval="")
                writer.writeheader()
                writer.writerows(self.known[name].values())
        self.day += timedelta(days=1)
        return self.day - timedelta(days=1)

    def _correct(self, number: int) -> None:
        """What becomes of single rows on a day of the weeks, by its number."""
        yesterday = self.day - timedelta(days=1)
        if number == 3:
            self._more_units(self._placed_on(yesterday)[0])
        if number == 5:
            self._delete(self._placed_on(self.day - timedelta(days=3))[1])
        if number == 9:
            order = self._placed_on(yesterday)[2]
            order["created_at"] = _text(_moment(order["created_at"]) - timedelta(days=1))
        if number == 11:
            self._user("user-late", datetime.combine(self.day - timedelta(days=5), time(9), UTC))
        if number == 19:  # of a month that is long over, and of a year
            self._more_units(self._placed_on(date(2025, 11, 29))[0])
        if number == 20:
            self._delete(self._placed_on(date(2025, 12, 30))[0])
            self._more_units(self._placed_on(date(2025, 12, 30))[0])

    def _trade(self, *, late: bool = True) -> None:
        """A day's new users, visits and orders, and what becomes of the orders of the days before."""
        number = (self.day - FIRST_DAY).days
        for order in list(self.known["orders"].values()):
            self._deliver(order)
        if self.random.random() < 0.6:
            self._user(f"user-{len(self.users):03}", self._moment())
        for _ in range(self.random.randint(3, 6)):
            self._visit(f"visit-{self.day}-{self.random.getrandbits(32):08x}", self._moment(), None, self.day)
        for _ in range(ORDERS_A_DAY + self.random.randint(-2, 2)):
            known_on = self.day
            if late:
                known_on += timedelta(days=self.random.choices([0, 1, 2, 6, 9], [90, 6, 2, 1, 1])[0])
                stuck = number in STUCK and self.random.random() < 0.4
                known_on = self.day + timedelta(days=STUCK[number]) if stuck else known_on
            self._order(known_on)

    def _order(self, known_on: date) -> None:
        self.orders += 1
        order, at, user = f"order-{self.orders:04}", self._moment(), self.random.choice(self.users)
        items = {
            name: self.random.randint(1, 3) for name in self.random.sample(sorted(PRICES), self.random.randint(1, 3))
        }
        cost = sum((units * price(name, self.day) for name, units in items.items()), Decimal(0))
        promo, discount = PROMO if self.random.random() < 0.2 else ("", Decimal(0))
        row = {
            "order_id": order,
            "user_id": user,
            "promo_id": promo,
            "address_id": "home",
            "created_at": _text(at),
            "order_cost": str(cost),
            "shipping_cost": "5",
            "order_total": str(cost + 5 - discount),
            "status": "preparing",
        }
        self._know_on(known_on, "orders", row)
        for product, units in items.items():
            self._know_on(known_on, "order_items", {"order_id": order, "product_id": product, "quantity": str(units)})
        # The website tells of it apart from the shop: sometimes at once, and sometimes as late.
        self._visit(f"visit-{order}", at, order, self.random.choice([self.day, known_on]), user)

    def _deliver(self, order: Row) -> None:
        """An order is sent a day after it was placed, and is two to five days under way; three are promised."""
        age, placed = self.day - _moment(order["created_at"]).date(), _moment(order["created_at"])
        if order["status"] == "preparing" and age >= timedelta(days=1):
            promised = _text(placed + timedelta(days=4)) if self.random.random() < 0.9 else ""
            order |= {"status": "shipped", "tracking_id": f"track-{order['order_id']}", "shipping_service": "ups"}
            order["estimated_delivery_at"] = promised
        elif order["status"] == "shipped" and self.random.random() < 0.5:
            # Some carriers tell of it a day later.
            at = self._moment() - timedelta(days=self.random.choice([0, 0, 0, 1]))
            order |= {"status": "delivered", "delivered_at": _text(max(at, placed + timedelta(hours=20)))}

    def _more_units(self, order: Row) -> None:
        """The shop corrects how much was ordered, and what it charged."""
        item = next(row for row in self.known["order_items"].values() if row["order_id"] == order["order_id"])
        item["quantity"] = str(int(item["quantity"]) + 2)
        more = 2 * price(item["product_id"], _moment(order["created_at"]).date())
        for column in ("order_cost", "order_total"):
            order[column] = str(Decimal(order[column]) + more)

    def _delete(self, order: Row) -> None:
        del self.known["orders"][order["order_id"],]
        for key in [key for key in self.known["order_items"] if key[0] == order["order_id"]]:
            del self.known["order_items"][key]

    def _placed_on(self, day: date) -> list[Row]:
        return [row for row in self.known["orders"].values() if _moment(row["created_at"]).date() == day]

    def _visit(self, session: str, at: datetime, order: str | None, known_on: date, user: str | None = None) -> None:
        user = user or self.random.choice(self.users)
        steps = ["page_view", "add_to_cart", *(["checkout"] if order else [])]
        for number, step in enumerate(steps):
            row = {
                "event_id": f"{session}-{number}",
                "session_id": session,
                "user_id": user,
                "created_at": _text(at - timedelta(seconds=60 * (len(steps) - number))),
                "event_type": step,
                **({"order_id": order or ""} if step == "checkout" else {"product_id": "fern"}),
            }
            self._know_on(known_on, "events", row)

    def _user(self, user: str, at: datetime) -> None:
        self.users.append(user)
        self._know("users", user_id=user, created_at=_text(at), updated_at=_text(at), address_id="home")

    def _moment(self) -> datetime:
        """Of the day, between eight and eight: what is a minute before it is on that day as well."""
        return datetime.combine(self.day, time(8), UTC) + timedelta(seconds=self.random.randrange(12 * 3600))

    def _know_on(self, day: date, table: str, row: Row) -> None:
        if day <= self.day:
            self._know(table, **row)
        else:
            self.coming[day].append((table, row))

    def _know(self, table: str, **row: str) -> None:
        self.known[table][tuple(row[column] for column in TABLES[table].key)] = row


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(moment: datetime) -> str:
    return moment.isoformat(sep=" ")


def folders(parent: Path) -> Iterable[tuple[date, Path]]:
    """Each day of the four weeks with its folder."""
    shop = SmallShop()
    for number in range(DAYS):
        folder = parent / f"day-{number:02}"
        yield shop.write(folder), folder
