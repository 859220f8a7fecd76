"""What may happen to a shop's rows overnight: each edit changes, moves, adds or takes away something, at random."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from psycopg2.extensions import connection as Connection

from include.raw import load
from include.raw.contract import TABLES
from include.warehouse import transaction

Row = dict[str, str | None]
Tables = dict[str, list[Row]]
Edit = Callable[[Tables, Random], None]


def replica(connection: Connection) -> Tables:
    """The raw tables as rows of text, in the order of their keys."""
    tables: Tables = {}
    for table in TABLES.values():
        columns = ", ".join(f"{column}::text" for column in table.columns)
        with connection.cursor() as cursor:
            cursor.execute(f"select {columns} from raw.{table.name} order by {', '.join(table.key)}")
            tables[table.name] = [dict(zip(table.columns, row, strict=True)) for row in cursor]
    return tables


def deliver(connection: Connection, tables: Tables) -> None:
    """Load them as a shop does that delivers all of its tables each day."""
    rows = {name: load.Rows() for name in tables}
    for name, content in tables.items():
        rows[name].extend(load.line(row.values()) for row in content)
    with transaction(connection) as cursor:
        load.prepare(cursor)
        load.replace(cursor, rows, load.DEMO)


def an_event_changes(tables: Tables, random: Random) -> None:
    """Any of its columns: it may leave its session, product, order, user, kind or day."""
    event, other = random.choice(tables["events"]), random.choice(tables["events"])
    column = random.choice(["session_id", "user_id", "product_id", "order_id", "event_type", "created_at"])
    event[column] = other[column]


def an_event_goes(tables: Tables, random: Random) -> None:
    tables["events"].remove(random.choice(tables["events"]))


def an_event_comes_late(tables: Tables, random: Random) -> None:
    """A copy of another, in the same session, at another time: a second view, checkout or shipping."""
    tables["events"].append(copied_at_another_time(random.choice(tables["events"]), random))


def the_first_view_or_checkout_goes(tables: Tables, random: Random) -> None:
    """Of those that a session had on several days: another day's is the first one now. Or there come to be such."""
    kinds: dict[tuple[str | None, ...], list[Row]] = {}
    for event in tables["events"]:
        kinds.setdefault((event["session_id"], event["event_type"], event["product_id"]), []).append(event)
    ordered = [sorted(events, key=lambda event: str(event["created_at"])) for events in kinds.values()]
    repeated = [events for events in ordered if _day(events[0]) < _day(events[-1])]
    if repeated:
        tables["events"].remove(random.choice(repeated)[0])
    for event in random.choices(tables["events"], k=3):
        at = datetime.fromisoformat(str(event["created_at"])) + timedelta(days=random.choice([-2, -1, 1, 2]))
        tables["events"].append(event | {"event_id": f"also-{random.random()}", "created_at": at.isoformat()})


def a_session_comes_near(tables: Tables, random: Random) -> None:
    """All of a session happened around now, where a day's inventory depends on when it was loaded."""
    session = random.choice(tables["events"])["session_id"]
    now = datetime.now(UTC)
    for event in tables["events"]:
        if event["session_id"] == session:
            event["created_at"] = (now + timedelta(hours=random.randint(-40, 40))).isoformat()


def an_order_comes_near(tables: Tables, random: Random) -> None:
    order = random.choice(tables["orders"])
    order["created_at"] = (datetime.now(UTC) + timedelta(hours=random.randint(-40, 40))).isoformat()


def an_order_is_checked_out_again(tables: Tables, random: Random) -> None:
    """By another session, earlier or later: it may belong to that one now."""
    checkout = random.choice([event for event in tables["events"] if event["event_type"] == "checkout"])
    other = random.choice(tables["events"])
    tables["events"].append(
        checkout
        | {
            "event_id": f"again-{random.random()}",
            "session_id": other["session_id"],
            "created_at": _shifted(checkout, random),
        }
    )


def an_order_changes(tables: Tables, random: Random) -> None:
    order, other = random.choice(tables["orders"]), random.choice(tables["orders"])
    column = random.choice(
        ["user_id", "promo_id", "address_id", "created_at", "order_total", "status", "delivered_at", "tracking_id"]
    )
    order[column] = other[column]


def an_order_uses_a_promo(tables: Tables, random: Random) -> None:
    """Whether or not that promotion is there yet, or any more."""
    random.choice(tables["orders"])["promo_id"] = random.choice(["first-sprout", "late-promo", "gone-promo"])


def an_order_goes(tables: Tables, random: Random) -> None:
    """With its items, and with its events or without."""
    order = random.choice(tables["orders"])
    tables["orders"].remove(order)
    for name in random.choice([("order_items",), ("order_items", "events")]):
        tables[name] = [row for row in tables[name] if row["order_id"] != order["order_id"]]


def the_first_order_of_a_product_goes(tables: Tables, random: Random) -> None:
    """Of a user who ordered it several times, so that another order is the first one now; or there come to be such."""
    orders = {order["order_id"]: order for order in tables["orders"]}
    bought: dict[tuple[str | None, ...], list[Row]] = {}
    for item in tables["order_items"]:
        if order := orders.get(item["order_id"]):
            bought.setdefault((order["user_id"], item["product_id"]), []).append(order)
    repeated = [sorted(held, key=lambda order: str(order["created_at"])) for held in bought.values() if len(held) > 1]
    if repeated:
        first = random.choice(repeated)[0]
        tables["order_items"] = [item for item in tables["order_items"] if item["order_id"] != first["order_id"]]
    user_id = random.choice(tables["users"])["user_id"]
    for order in random.choices(tables["orders"], k=8):
        order["user_id"] = user_id


def an_item_changes(tables: Tables, random: Random) -> None:
    random.choice(tables["order_items"])["quantity"] = str(random.randint(1, 9))


def an_item_moves(tables: Tables, random: Random) -> None:
    """To another product, or to another order, if that doesn't hold it yet."""
    item, other = random.choice(tables["order_items"]), random.choice(tables["order_items"])
    column = random.choice(["product_id", "order_id"])
    moved = item | {column: other[column]}
    if not any(
        (row["order_id"], row["product_id"]) == (moved["order_id"], moved["product_id"])
        for row in tables["order_items"]
    ):
        item.update(moved)


def an_item_goes(tables: Tables, random: Random) -> None:
    tables["order_items"].remove(random.choice(tables["order_items"]))


def an_address_changes(tables: Tables, random: Random) -> None:
    random.choice(tables["addresses"])["address"] = f"{random.randint(1, 999)} New Street"


def an_address_goes_or_comes(tables: Tables, random: Random) -> None:
    """One that an order is shipped to, and where somebody may live."""
    address_id = random.choice(tables["orders"])["address_id"]
    if not any(row["address_id"] == address_id for row in tables["addresses"]):
        tables["addresses"].append(tables["addresses"][0] | {"address_id": address_id})
    else:
        tables["addresses"] = [row for row in tables["addresses"] if row["address_id"] != address_id]


def a_user_changes(tables: Tables, random: Random) -> None:
    user, other = random.choice(tables["users"]), random.choice(tables["users"])
    column = random.choice(["phone_number", "address_id", "updated_at"])
    user[column] = other[column]


def a_user_goes(tables: Tables, random: Random) -> None:
    tables["users"].remove(random.choice(tables["users"]))


def a_promo_changes(tables: Tables, random: Random) -> None:
    """Its discount, which shows in its orders, or its status, which doesn't."""
    promo = random.choice(tables["promos"])
    promo.update(random.choice([{"discount": str(random.randint(1, 9))}, {"status": "inactive"}, {"status": "active"}]))


def a_promo_goes_or_comes(tables: Tables, random: Random) -> None:
    promo_id = random.choice(["first-sprout", "late-promo"])
    if any(row["promo_id"] == promo_id for row in tables["promos"]):
        tables["promos"] = [row for row in tables["promos"] if row["promo_id"] != promo_id]
    else:
        tables["promos"].append({"promo_id": promo_id, "discount": str(random.randint(1, 9)), "status": "active"})


def a_price_changes(tables: Tables, random: Random) -> None:
    product = random.choice(tables["products"])
    product["price"] = str(random.randint(5, 50))
    product["inventory"] = str(random.randint(0, 50))


def a_product_goes(tables: Tables, random: Random) -> None:
    """The snapshot knows its price still."""
    tables["products"].remove(random.choice(tables["products"]))


EDITS: tuple[Edit, ...] = (
    an_event_changes,
    an_event_goes,
    an_event_comes_late,
    the_first_view_or_checkout_goes,
    a_session_comes_near,
    an_order_comes_near,
    an_order_is_checked_out_again,
    an_order_changes,
    an_order_uses_a_promo,
    an_order_goes,
    the_first_order_of_a_product_goes,
    an_item_changes,
    an_item_moves,
    an_item_goes,
    an_address_changes,
    an_address_goes_or_comes,
    a_user_changes,
    a_user_goes,
    a_promo_changes,
    a_promo_goes_or_comes,
    a_price_changes,
    a_product_goes,
)


def copied_at_another_time(event: Row, random: Random) -> Row:
    """A second, a minute, or a day and an hour earlier or later."""
    return event | {"event_id": f"late-{random.random()}", "created_at": _shifted(event, random)}


def _shifted(event: Row, random: Random) -> str:
    at = datetime.fromisoformat(event["created_at"] or "")
    return (at + timedelta(seconds=random.choice([-90_000, -60, -1, 1, 60, 90_000]))).isoformat()


def _day(event: Row) -> str:
    return str(event["created_at"])[:10]
