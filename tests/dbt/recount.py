"""What a folder of CSVs says of each metric and day, row by row: counted in Python, and from nothing that dbt built."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from pathlib import Path

Price = Callable[[str, date], Decimal]
# By key, the day on which a row counts and for how much.
Counted = dict[str, tuple[date, Decimal]]

# By metric, what its numerator and its denominator count; the running ones count all days so far.
SIDES = {
    "users": ("new_users", None),
    "new_users": ("new_users", None),
    "orders": ("orders", None),
    "revenue": ("revenue", None),
    "paid": ("paid", None),
    "units": ("units", None),
    "sessions": ("sessions", None),
    "conversion": ("converted_sessions", "sessions"),
    "repeat_rate": ("second_orders", "first_orders"),
    "late_rate": ("late_orders", "orders_with_estimate"),
    "mean_delivery_hours": ("delivery_hours", "deliveries"),
}
RUNNING = frozenset({"users", "repeat_rate"})


@dataclass(frozen=True)
class Value:
    """A metric of a day, month or year: what is divided by what; by nothing where there is no denominator."""

    numerator: Decimal
    denominator: Decimal | None = None

    @property
    def value(self) -> Decimal | None:
        """As the table of metrics rounds it; None where it is divided by zero."""
        if self.denominator is None:
            return self.numerator
        return rounded(self.numerator / self.denominator, "0.0001") if self.denominator else None


@dataclass(frozen=True)
class Recount:
    """The seven CSVs of a folder; `price` is the shop's own list of prices, by product and day."""

    folder: Path
    price: Price

    def of(self, metric: str, first: date, last: date) -> Value:
        """A metric of days from the first to the last; a running one as of the last."""
        return Value(*(side and self._sum(side, metric, first, last) for side in SIDES[metric]))

    def _sum(self, side: str, metric: str, first: date, last: date) -> Decimal:
        a_day, so_far = self._sums[side]
        if metric in RUNNING:
            return so_far.get(last, Decimal(0))
        return sum((a_day.get(day, Decimal(0)) for day in days(first, last)), Decimal(0))

    @cached_property
    def first_day(self) -> date:
        """The first day of which anything is told."""
        return min(day for rows in self.rows.values() for day, _ in rows.values())

    @cached_property
    def last_day(self) -> date:
        """The last one."""
        return max(day for rows in self.rows.values() for day, _ in rows.values())

    @cached_property
    def _sums(self) -> dict[str, tuple[dict[date, Decimal], dict[date, Decimal]]]:
        """By what is counted, each day's own and all up to it."""
        found = {}
        for what, rows in self.rows.items():
            a_day: dict[date, Decimal] = defaultdict(Decimal)
            for day, amount in rows.values():
                a_day[day] += amount
            so_far, total = {}, Decimal(0)
            for day in days(self.first_day, self.last_day):
                total += a_day.get(day, Decimal(0))
                so_far[day] = total
            found[what] = (dict(a_day), so_far)
        return found

    @cached_property
    def rows(self) -> dict[str, Counted]:
        """What is counted, by row."""
        orders = sorted(self._read("orders"), key=lambda row: (row["created_at"], row["order_id"]))
        placed = {row["order_id"]: _day(row["created_at"]) for row in orders}
        delivered = [row for row in orders if row["delivered_at"]]
        units, revenue = defaultdict(Decimal), defaultdict(Decimal)
        for item in self._read("order_items"):
            order, quantity = item["order_id"], Decimal(item["quantity"])
            units[order] += quantity
            revenue[order] += quantity * self.price(item["product_id"], placed[order])
        bought: dict[str, list[date]] = defaultdict(list)
        for row in orders:
            bought[row["user_id"]].append(placed[row["order_id"]])
        began: dict[str, str] = {}
        converted = set()
        for event in self._read("events"):
            session = event["session_id"]
            began[session] = min(event["created_at"], began.get(session, event["created_at"]))
            converted |= {session} if event["event_type"] == "checkout" else set()
        one = Decimal(1)
        return {
            "new_users": {row["user_id"]: (_day(row["created_at"]), one) for row in self._read("users")},
            "orders": {order: (day, one) for order, day in placed.items()},
            "revenue": {order: (day, revenue[order]) for order, day in placed.items()},
            "paid": {row["order_id"]: (placed[row["order_id"]], Decimal(row["order_total"])) for row in orders},
            "units": {order: (day, units[order]) for order, day in placed.items()},
            "sessions": {session: (_day(at), one) for session, at in began.items()},
            "converted_sessions": {
                session: (_day(at), one if session in converted else 0 * one) for session, at in began.items()
            },
            "first_orders": {user: (at[0], one) for user, at in bought.items()},
            "second_orders": {user: (at[1], one) for user, at in bought.items() if len(at) > 1},
            "deliveries": {row["order_id"]: (_day(row["delivered_at"]), one) for row in delivered},
            "delivery_hours": {row["order_id"]: (_day(row["delivered_at"]), _hours(row)) for row in delivered},
            "orders_with_estimate": {
                row["order_id"]: (_day(row["delivered_at"]), Decimal(bool(row["estimated_delivery_at"])))
                for row in delivered
            },
            "late_orders": {row["order_id"]: (_day(row["delivered_at"]), Decimal(_is_late(row))) for row in delivered},
        }

    def _read(self, table: str) -> list[dict[str, str]]:
        with (self.folder / f"{table}.csv").open(newline="") as file:
            return list(csv.DictReader(file))


def days(first: date, last: date) -> Iterator[date]:
    """Each day from the first to the last."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def rounded(number: Decimal, to: str) -> Decimal:
    """As Postgres rounds."""
    return number.quantize(Decimal(to), ROUND_HALF_UP)


def _day(text: str) -> date:
    return datetime.fromisoformat(text).date()


def _hours(order: dict[str, str]) -> Decimal:
    took = datetime.fromisoformat(order["delivered_at"]) - datetime.fromisoformat(order["created_at"])
    return rounded(Decimal(int(took.total_seconds())) / 3600, "0.01")


def _is_late(order: dict[str, str]) -> bool:
    return bool(order["estimated_delivery_at"]) and order["delivered_at"] > order["estimated_delivery_at"]
