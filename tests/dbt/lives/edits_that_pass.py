"""What may happen to a shop's rows overnight, so that every test of severity error still passes."""

from __future__ import annotations

from random import Random

from tests.dbt.edits import Edit, Tables, an_address_changes, an_event_comes_late


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


EDITS: tuple[Edit, ...] = (
    a_phone_number_changes,
    a_price_changes,
    an_order_is_shipped,
    an_order_goes_with_all_that_is_its,
    an_address_changes,
    an_event_comes_late,
)
