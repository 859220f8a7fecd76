"""A mart that reads something and follows no change of it is refused, with the words that mend it."""

from __future__ import annotations

from typing import Any

import pytest

from include.dbt_project import follows
from include.dbt_project.manifest import Manifest

RAW = {"source.shop.shop.orders": {"resource_type": "source", "source_name": "shop", "name": "orders", "schema": "raw"}}
VIEW, MART, TABLE = "model.shop.stg_orders", "model.shop.int_orders", "model.shop.kinds"
USERS, ADDRESSES, SNAPSHOT = "model.shop.dim_users", "model.shop.dim_addresses", "snapshot.shop.history"


COLUMNS = {
    VIEW: ("order_id", "user_id"),
    MART: ("order_id", "user_id", "day"),
    "model.shop.facts": ("order_id", "user_id", "day", "buyer_id"),
    USERS: ("user_id", "state"),
    ADDRESSES: ("address_id", "street"),
}


def node(unique_id: str, materialized: str, reads: list[str], **meta: Any) -> dict[str, Any]:
    kind, _, name = unique_id.split(".")
    config = {"materialized": materialized, "incremental_strategy": follows.STRATEGY, "meta": meta}
    columns: dict[str, Any] = {column: {} for column in COLUMNS.get(unique_id, ())}
    return {"resource_type": kind, "name": name, "config": config, "depends_on": {"nodes": reads}, "columns": columns}


def unique(unique_id: str, column: str) -> dict[str, Any]:
    """A test that a column is the key."""
    return {
        "resource_type": "test",
        "column_name": column,
        "test_metadata": {"name": "unique"},
        "depends_on": {"nodes": [unique_id]},
    }


def said(reads: list[str], **meta: Any) -> list[str]:
    """What is said of a mart that reads these."""
    nodes = {
        VIEW: node(VIEW, "view", ["source.shop.shop.orders"]),
        MART: node(MART, "incremental", [VIEW], key="order_id", follows=[{"of": "stg_orders"}]),
        TABLE: node(TABLE, "table", [VIEW]),
        SNAPSHOT: node(SNAPSHOT, "snapshot", []),
        USERS: node(USERS, "incremental", [VIEW], key="user_id", follows=[{"of": "stg_orders", "on": "order_id"}]),
        ADDRESSES: node(ADDRESSES, "incremental", [VIEW], key="address_id", follows=[{"of": "stg_orders"}]),
        "test.shop.1": unique(VIEW, "order_id"),
        "test.shop.2": unique(USERS, "user_id"),
        "test.shop.3": unique(ADDRESSES, "address_id"),
        "model.shop.facts": node("model.shop.facts", "incremental", reads, **meta),
    }
    return list(follows.problems(Manifest(nodes, RAW), "model.shop.facts", "raw"))


@pytest.mark.parametrize(
    ("reads", "meta"),
    [
        ([VIEW], {"key": "order_id", "follows": [{"of": "stg_orders"}]}),
        ([MART], {"key": "user_id", "follows": [{"of": "int_orders"}]}),
        ([MART, VIEW], {"key": "day", "follows": [{"of": "int_orders"}, {"of": "stg_orders", "on": "order_id"}]}),
        ([USERS], {"key": "day", "follows": [{"of": "dim_users", "parent_key": "cast(state as date)"}]}),
        ([SNAPSHOT], {"key": "order_id", "follows": [{"of": "history"}, {"rows_where": "price is null"}]}),
        ([VIEW, TABLE], {"key": "order_id", "follows": [{"of": "stg_orders"}], "ignores": {"kinds": "never changes"}}),
        ([MART, TABLE], {}),
    ],
)
def test_what_follows_all_that_it_reads_is_fine(reads: list[str], meta: dict[str, Any]) -> None:
    assert said(reads, **meta) == []


@pytest.mark.parametrize(
    ("reads", "meta", "sentence"),
    [
        ([MART], {"key": "order_id"}, "model facts has `key` in its `meta` and no `follows`"),
        (
            [MART, VIEW],
            {"key": "order_id", "follows": [{"of": "int_orders"}]},
            "reads stg_orders and follows no change of it. Add {'of': 'stg_orders'} to its `follows`",
        ),
        (
            [MART],
            {"key": "order_id", "follows": [{"of": "int_orders"}, {"of": "kinds"}]},
            "follows kinds and does not read it",
        ),
        (
            [MART],
            {"key": "order_id", "follows": [{"of": "int_orders", "on": "order_id", "in": "kinds"}]},
            "follows kinds and does not read it",
        ),
        (
            [MART, USERS],
            {"key": "order_id", "follows": [{"of": "int_orders"}]},
            "Add {'of': 'dim_users', 'on': 'user_id'} to its `follows`",
        ),
        (
            [MART, ADDRESSES],
            {"key": "order_id", "follows": [{"of": "int_orders"}]},
            "Add {'of': 'dim_addresses', 'on': the column that holds it here, 'parent_key': 'address_id'}",
        ),
        ([USERS], {"key": "order_id", "follows": [{"of": "dim_users"}]}, "and dim_users has no column order_id"),
        (
            [USERS],
            {"key": "day", "follows": [{"of": "dim_users", "parent_key": "cast(seen_at as date)"}]},
            "and dim_users has no column seen_at",
        ),
        (
            [USERS],
            {"key": "order_id", "follows": [{"of": "dim_users", "on": "customer_id", "parent_key": "user_id"}]},
            "and facts has no column customer_id",
        ),
        (
            [USERS, MART],
            {
                "key": "buyer_id",
                "follows": [
                    {"of": "int_orders", "parent_key": "user_id"},
                    {"of": "dim_users", "on": "user_id", "in": "int_orders"},
                ],
            },
            "and int_orders has no column buyer_id",
        ),
        ([TABLE], {"key": "order_id", "follows": [{"of": "kinds"}]}, "can't follow kinds, which is built as a whole"),
        ([VIEW], {"key": "user_id", "follows": [{"of": "stg_orders"}]}, "follows stg_orders by user_id"),
        ([MART], {"key": "order_id", "follows": [{"of": "int_orders", "by": "user_id"}]}, "has ['by'] in `follows`"),
    ],
)
def test_what_does_not_is_refused_with_what_to_write(reads: list[str], meta: dict[str, Any], sentence: str) -> None:
    [problem] = said(reads, **meta)
    assert sentence in problem


def test_a_mart_whose_changes_would_have_too_long_a_name_is_refused() -> None:
    name = f"model.shop.{'a' * 55}"
    nodes = {
        VIEW: node(VIEW, "view", ["source.shop.shop.orders"]),
        name: node(name, "incremental", [SNAPSHOT], key="order_id", follows=[{"of": "history"}]),
        SNAPSHOT: node(SNAPSHOT, "snapshot", []),
    }
    [problem] = follows.problems(Manifest(nodes, RAW), name, "raw")
    assert "Give it an `alias` of at most 54 letters" in problem
