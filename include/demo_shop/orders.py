"""What becomes of an order of the demo shop: preparing, then shipped, then delivered, late at times.

An order's whole fate follows from its id, so that a later day can tell it again from the order as it stands in raw.
"""

from __future__ import annotations

from typing import NamedTuple

from include.demo_shop.calendar import DAY, HOUR, stamp
from include.demo_shop.catalogue import PAGE, PRODUCTS
from include.demo_shop.ids import dice, sibling_id
from include.raw.load import NULL, line

# In percent.
_SERVICES = ("ups",) * 50 + ("fedex",) * 28 + ("usps",) * 18 + ("dhl",) * 4
_PROMISED_DAYS = (2, 2, 3, 3, 3, 4, 4, 5)


class Order(NamedTuple):
    """An order as it was placed: times in seconds since 1970, money as dollars in text, cents included."""

    order_id: str
    user_id: str
    promo_id: str | None
    address_id: str
    created_at: int
    order_cost: str
    shipping_cost: str
    order_total: str


class Fate(NamedTuple):
    """What becomes of an order, and when (seconds since 1970); `estimated_at` is None where nobody promised a day."""

    shipped_at: int
    service: str
    estimated_at: int | None
    delivered_at: int
    shipping_told_late: bool
    viewed_late: bool

    def status(self, now: int) -> str:
        """The order's status at a time."""
        if now < self.shipped_at:
            return "preparing"
        return "shipped" if now < self.delivered_at else "delivered"


def fate(order: Order) -> Fate:
    """The fate of an order."""
    roll = dice(order.order_id)

    def below(limit: int) -> int:
        nonlocal roll
        roll, value = divmod(roll, limit)
        return value

    # Most parcels leave within hours; a few wait for a plant that has to grow first.
    wait = HOUR + below(5 * HOUR) if below(100) < 93 else 12 * HOUR + below(48 * HOUR)
    promised = _PROMISED_DAYS[below(len(_PROMISED_DAYS))]
    # One in five is late.
    days = promised + 1 + below(3) if below(100) < 20 else max(1, promised - below(2))
    shipped_at = order.created_at + wait
    # A parcel that arrives on the promised day comes before the promised hour, and none on the day it left.
    drift = below(2 * HOUR)
    return Fate(
        shipped_at=shipped_at,
        service=_SERVICES[below(100)],
        estimated_at=None if below(100) < 6 else shipped_at + promised * DAY,
        delivered_at=shipped_at + days * DAY + (drift if days == 1 else -drift),
        shipping_told_late=below(100) < 2,
        viewed_late=below(100) < 2,
    )


def order_line(order: Order, fated: Fate, now: int) -> str:
    """The order's row in raw at a time."""
    status = fated.status(now)
    shipped = status != "preparing"
    return line(
        (
            order.order_id,
            order.user_id,
            order.promo_id,
            order.address_id,
            stamp(order.created_at),
            order.order_cost,
            order.shipping_cost,
            order.order_total,
            sibling_id(order.order_id, "parcel") if shipped else None,
            fated.service if shipped else None,
            stamp(fated.estimated_at) if shipped and fated.estimated_at else None,
            stamp(fated.delivered_at) if status == "delivered" else None,
            status,
        )
    )


def session_of(order_id: str) -> str:
    """The session in which an order was placed: told by the order, so that its later events can join it."""
    return sibling_id(order_id, "session")


def later_events(order: Order, fated: Fate, start: int) -> list[str]:
    """The order's events that reach the shop on a day, given by its start, without anybody being there.

    That is its shipping, and what came late: a few shippings are told a day late, and a few times the phone of a
    customer remembers on the next day what it showed just before the checkout.
    """
    lines = []
    if start <= fated.shipped_at + (DAY if fated.shipping_told_late else 0) < start + DAY:
        lines.append(
            f"{sibling_id(order.order_id, 'shipping')}\t{session_of(order.order_id)}\t{order.user_id}\t"
            f"{PAGE}/shipping/{order.order_id}\t{stamp(fated.shipped_at)}\tpackage_shipped\t{order.order_id}\t{NULL}\n"
        )
    if fated.viewed_late and start <= order.created_at + DAY < start + DAY:
        product_id = PRODUCTS[dice(order.order_id) % len(PRODUCTS)].product_id
        lines.append(
            f"{sibling_id(order.order_id, 'late view')}\t{session_of(order.order_id)}\t{order.user_id}\t"
            f"{PAGE}/product/{product_id}\t{stamp(order.created_at - 10)}\tpage_view\t{NULL}\t{product_id}\n"
        )
    return lines
