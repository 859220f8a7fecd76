"""What the real CSVs say, counted in Python from the files and from nothing that dbt built."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from math import sqrt
from pathlib import Path

Row = dict[str, str]


def moment(text: str) -> datetime | None:
    """A moment in UTC, as the warehouse tells it; None where the field is empty."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None) if text else None


@dataclass(frozen=True)
class Returns:
    """Of the buyers with one value of an indicator: how many, how many of them had time, and came back in it."""

    total: int
    counted: int
    repeat: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval in its textbook form."""
        n, z = self.counted, 1.96
        p = self.repeat / n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return centre - half, centre + half


class RealFigures:
    """The seven CSVs of one folder, and the figures that follow from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, table: str) -> list[Row]:
        """The rows of a CSV."""
        with (self.folder / f"{table}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @cached_property
    def orders(self) -> list[Row]:
        """Orders, earliest first."""
        return sorted(self.rows("orders"), key=lambda row: (row["created_at"], row["order_id"]))

    @cached_property
    def orders_of(self) -> dict[str, list[Row]]:
        """Orders by user, earliest first."""
        found = defaultdict(list)
        for order in self.orders:
            found[order["user_id"]].append(order)
        return found

    @cached_property
    def items_of(self) -> dict[str, list[Row]]:
        """Items by order."""
        found = defaultdict(list)
        for item in self.rows("order_items"):
            found[item["order_id"]].append(item)
        return found

    @cached_property
    def sessions(self) -> dict[str, list[Row]]:
        """Events by session, without the packages, which are shipped when the visitor has gone."""
        found = defaultdict(list)
        for event in self.rows("events"):
            if event["event_type"] != "package_shipped":
                found[event["session_id"]].append(event)
        return found

    @cached_property
    def products(self) -> dict[str, Row]:
        """Products by id."""
        return {row["product_id"]: row for row in self.rows("products")}

    @cached_property
    def observed_until(self) -> datetime:
        """The last order or visit."""
        visits = (event["created_at"] for events in self.sessions.values() for event in events)
        return moment(max(*visits, *(order["created_at"] for order in self.orders)))

    def returns(self, first_orders: Iterable[Row], days: int) -> Returns:
        """Of buyers, given by their first orders: those with the time to come back after the order, and who did."""
        time, total, counted, repeat = timedelta(days=days), 0, 0, 0
        for order in first_orders:
            total += 1
            began = moment(order["created_at"])
            if self.observed_until - began >= time:
                counted += 1
                later = [moment(other["created_at"]) for other in self.orders_of[order["user_id"]][1:]]
                repeat += any(at - began <= time for at in later)
        return Returns(total, counted, repeat)

    @property
    def first_orders(self) -> list[Row]:
        """The first order of each buyer."""
        return [orders[0] for orders in self.orders_of.values()]

    def indicators(self, days: int) -> dict[tuple[str, str], Returns]:
        """What each value of the indicators that are told by the first order comes to."""
        found = defaultdict(list)
        for order in self.first_orders:
            items = self.items_of[order["order_id"]]
            names = {self.products[item["product_id"]]["name"] for item in items}
            total = float(order["order_total"])
            found["all buyers", "all buyers"].append(order)
            found["promotion", order["promo_id"] or "no promotion"].append(order)
            found["number of products", str(len(items)) if len(items) < 4 else "4 or more"].append(order)
            found["weekday", f"{moment(order['created_at']):%A}"].append(order)
            bounds = {100: "under 100 dollars", 200: "100 to 200 dollars", 400: "200 to 400 dollars"}
            value = next((name for bound, name in bounds.items() if total < bound), "400 dollars or more")
            found["order value", value].append(order)
            for name in names:
                found["product", name].append(order)
            for kind in {name.split()[-1].lower() for name in names} & {"fern", "palm", "plant", "tree"}:
                found["product kind", kind].append(order)
            minutes = self.minutes_browsed(order)
            bounds = {3: "under 3 minutes", 5: "3 to 5 minutes", 10: "5 to 10 minutes"}
            value = next((name for bound, name in bounds.items() if minutes < bound), "10 minutes or more")
            found["browsing time", value].append(order)
        return {key: self.returns(orders, days) for key, orders in found.items()}

    def minutes_browsed(self, order: Row) -> float:
        """Minutes that a buyer was on the website up to an order."""
        until, seconds = moment(order["created_at"]), 0.0
        for events in self.sessions.values():
            times = [moment(event["created_at"]) for event in events]
            if events[0]["user_id"] == order["user_id"] and min(times) <= until:
                seconds += (min(max(times), until) - min(times)).total_seconds()
        return seconds / 60

    def daily(self, day: date) -> dict[str, float | None]:
        """Every metric of a day."""

        def on_day(text: str) -> bool:
            return bool(text) and moment(text).date() == day

        def by_then(text: str) -> bool:
            return moment(text).date() <= day

        users = self.rows("users")
        orders = [order for order in self.orders if on_day(order["created_at"])]
        items = [item for order in orders for item in self.items_of[order["order_id"]]]
        delivered = [order for order in self.orders if on_day(order["delivered_at"])]
        promised = [order for order in delivered if order["estimated_delivery_at"]]
        late = [order for order in promised if order["delivered_at"] > order["estimated_delivery_at"]]
        hours = [
            (moment(order["delivered_at"]) - moment(order["created_at"])).total_seconds() / 3600 for order in delivered
        ]
        sessions = [
            {event["event_type"] for event in events}
            for events in self.sessions.values()
            if on_day(min(event["created_at"] for event in events))
        ]
        so_far = [order for order in self.orders if by_then(order["created_at"])]
        bought = Counter(order["user_id"] for order in so_far)
        sold = Counter()
        for order in so_far:
            for item in self.items_of[order["order_id"]]:
                sold[item["product_id"]] += int(item["quantity"])
        return {
            "users": sum(by_then(user["created_at"]) for user in users),
            "new_users": sum(on_day(user["created_at"]) for user in users),
            "orders": len(orders),
            "revenue": sum(
                int(item["quantity"]) * Decimal(self.products[item["product_id"]]["price"]) for item in items
            ),
            "paid": sum(Decimal(order["order_total"]) for order in orders),
            "units": sum(int(item["quantity"]) for item in items),
            "sessions": len(sessions),
            "conversion": _rate(sum("checkout" in events for events in sessions), len(sessions)),
            "repeat_rate": _rate(sum(count > 1 for count in bought.values()), len(bought)),
            "late_rate": _rate(len(late), len(promised)),
            "mean_delivery_hours": _rate(sum(hours), len(hours)),
            "oversold_products": sum(
                units > int(self.products[product]["inventory"]) for product, units in sold.items()
            ),
        }

    def funnel(self) -> dict[tuple[str, date], tuple[int, int, int]]:
        """By product and day on which a session began: sessions that viewed it, added it, and bought it."""
        steps = {"page_view": 0, "add_to_cart": 1, "checkout": 2}
        found: dict[tuple[str, date], list[int]] = defaultdict(lambda: [0, 0, 0])
        for events in self.sessions.values():
            day = moment(min(event["created_at"] for event in events)).date()
            taken = set()
            for event in events:
                if event["event_type"] == "checkout":
                    taken |= {(item["product_id"], 2) for item in self.items_of[event["order_id"]]}
                elif event["product_id"]:
                    taken.add((event["product_id"], steps[event["event_type"]]))
            for product, step in taken:
                found[product, day][step] += 1
        return {key: tuple(counts) for key, counts in found.items()}


def _rate(numerator: float, denominator: int) -> float | None:
    return numerator / denominator if denominator else None
