"""What may happen to a shop's rows overnight, so that every test of severity error still passes."""

from __future__ import annotations

from random import Random

from tests.dbt.edits import Edit, Tables, an_address_changes, copied_at_another_time


def a_phone_number_changes(tables: Tables, random: Random) -> None:
    random.choice(tables["users"])["phone_number"] = f"555-{random.randint(1000, 9999)}"


def a_price_changes(tables: Tables, random: Random) -> None:
    random.choice(tables["products"])["price"] = str(random.randint(5, 50))


def an_order_is_shipped(tables: Tables, random: Random) -> None:
    preparing = [order for order in tables["orders"] if order["status"] == "preparing"]
    if preparing:
        random.choice(preparing).update(
            status="shipped", tracking_id=f"track-{random.random()}", shipping_service="ups"
        )


def an_order_goes_with_all_that_is_its(tables: Tables, random: Random) -> None:
    order = random.choice(tables["orders"])["order_id"]
    for name in ("orders", "order_items", "events"):
        tables[name] = [row for row in tables[name] if row["order_id"] != order]


def an_event_of_no_order_comes_late(tables: Tables, random: Random) -> None:
    """One of an order would come before it, or after its delivery, now and then."""
    event = random.choice([event for event in tables["events"] if event["order_id"] is None])
    tables["events"].append(copied_at_another_time(event, random))


EDITS: tuple[Edit, ...] = (
    a_phone_number_changes,
    a_price_changes,
    an_order_is_shipped,
    an_order_goes_with_all_that_is_its,
    an_address_changes,
    an_event_of_no_order_comes_late,
)
