"""What may be wrong with a shop's rows: each fault spoils something, at random, in rows that are new or old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from include.raw.contract import TABLES
from tests.dbt.edits import Edit, Tables

PARENTS = ("users", "products", "promos", "addresses", "orders")
REFERENCES = (
    ("users", "address_id"),
    ("orders", "user_id"),
    ("orders", "promo_id"),
    ("orders", "address_id"),
    ("order_items", "order_id"),
    ("order_items", "product_id"),
    ("events", "user_id"),
    ("events", "order_id"),
    ("events", "product_id"),
)
AMOUNTS = (
    ("products", "price"),
    ("products", "inventory"),
    ("promos", "discount"),
    ("orders", "order_cost"),
    ("orders", "shipping_cost"),
    ("orders", "order_total"),
    ("order_items", "quantity"),
)


def a_row_is_doubled(tables: Tables, random: Random) -> None:
    """As it is, or with something else in it."""
    name = random.choice(list(TABLES))
    row = dict(random.choice(tables[name]))
    if random.random() < 0.5:
        column = random.choice([column for column in row if column not in TABLES[name].key] or list(row))
        row[column] = random.choice(tables[name])[column]
    tables[name].append(row)


def a_value_is_missing(tables: Tables, random: Random) -> None:
    """Of any column, a key's included."""
    name = random.choice(list(TABLES))
    random.choice(tables[name])[random.choice(list(TABLES[name].columns))] = None


def a_key_is_missing(tables: Tables, random: Random) -> None:
    name = random.choice(list(TABLES))
    random.choice(tables[name])[random.choice(TABLES[name].key)] = None


def an_amount_is_negative(tables: Tables, random: Random) -> None:
    name, column = random.choice(AMOUNTS)
    random.choice(tables[name])[column] = "-1"


def a_word_is_unknown(tables: Tables, random: Random) -> None:
    name, column = random.choice([("orders", "status"), ("promos", "status"), ("events", "event_type")])
    random.choice(tables[name])[column] = "swipe"


def a_parent_was_never_there(tables: Tables, random: Random) -> None:
    name, column = random.choice(REFERENCES)
    random.choice(tables[name])[column] = "nobody"


def a_parent_goes(tables: Tables, random: Random) -> None:
    """And its children stay."""
    name = random.choice(PARENTS)
    tables[name].remove(random.choice(tables[name]))


def a_parent_is_called_otherwise(tables: Tables, random: Random) -> None:
    """And its children don't follow."""
    name = random.choice(PARENTS)
    random.choice(tables[name])[TABLES[name].key[0]] = f"formerly-{random.random()}"


def a_total_does_not_add_up(tables: Tables, random: Random) -> None:
    """By itself, or since its promotion is another or is worth more: that shows in old orders by a join alone."""
    spoilt = random.choice(["order", "promo", "discount"])
    if spoilt == "discount":
        random.choice(tables["promos"])["discount"] = "77"
    else:
        column, value = ("order_total", "7777") if spoilt == "order" else ("promo_id", tables["promos"][0]["promo_id"])
        random.choice(tables["orders"])[column] = value


def a_cost_is_not_that_of_the_items(tables: Tables, random: Random) -> None:
    """Which is a warning only: the total still adds up."""
    order = random.choice(tables["orders"])
    for column in ("order_cost", "order_total"):
        order[column] = str(float(order[column] or 0) + 1)


def a_session_has_another_user(tables: Tables, random: Random) -> None:
    """In one of its events."""
    event = random.choice(tables["events"])
    event["user_id"] = random.choice(tables["users"])["user_id"]


def a_delivery_comes_before_the_order(tables: Tables, random: Random) -> None:
    random.choice(tables["orders"])["delivered_at"] = "2001-01-01 00:00:00+00"


def an_order_is_dated_after_its_events(tables: Tables, random: Random) -> None:
    """Which nobody loads again."""
    random.choice(tables["orders"])["created_at"] = _tomorrow()


def a_user_is_dated_after_the_orders(tables: Tables, random: Random) -> None:
    random.choice(tables["users"])["created_at"] = _tomorrow()


def an_event_is_dated_before_everything(tables: Tables, random: Random) -> None:
    random.choice(tables["events"])["created_at"] = "2001-01-01 00:00:00+00"


def a_zip_code_loses_its_zero(tables: Tables, random: Random) -> None:
    random.choice(tables["addresses"])["zipcode"] = "2134"


def two_keys_read_the_same(tables: Tables, random: Random) -> None:
    """Joined by "/", as the models join them, they are one."""
    item = random.choice(tables["order_items"])
    tables["order_items"] += [
        item | {"product_id": "a/b"},
        item | {"order_id": f"{item['order_id']}/a", "product_id": "b"},
    ]


FAULTS: tuple[Edit, ...] = (
    a_row_is_doubled,
    a_value_is_missing,
    a_key_is_missing,
    an_amount_is_negative,
    a_word_is_unknown,
    a_parent_was_never_there,
    a_parent_goes,
    a_parent_is_called_otherwise,
    a_total_does_not_add_up,
    a_cost_is_not_that_of_the_items,
    a_session_has_another_user,
    a_delivery_comes_before_the_order,
    an_order_is_dated_after_its_events,
    a_user_is_dated_after_the_orders,
    an_event_is_dated_before_everything,
    a_zip_code_loses_its_zero,
    two_keys_read_the_same,
)


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()
