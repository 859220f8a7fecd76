"""A mart that reads something and follows no change of it is refused, with the words that mend it."""

from __future__ import annotations

from typing import Any

import pytest

from include.dbt_project import follows
from include.dbt_project.manifest import Manifest

RAW = {"source.shop.shop.orders": {"resource_type": "source", "source_name": "shop", "name": "orders", "schema": "raw"}}
VIEW, MART, TABLE, SNAPSHOT = (
    "model.shop.stg_orders",
    "model.shop.int_orders",
    "model.shop.kinds",
    "snapshot.shop.history",
)


def node(unique_id: str, materialized: str, reads: list[str], **meta: Any) -> dict[str, Any]:
    kind, _, name = unique_id.split(".")
    config = {"materialized": materialized, "incremental_strategy": follows.STRATEGY, "meta": meta}
    return {"resource_type": kind, "name": name, "config": config, "depends_on": {"nodes": reads}}


def said(reads: list[str], **meta: Any) -> list[str]:
    """What is said of a mart that reads these."""
    unique = {
        "resource_type": "test",
        "column_name": "order_id",
        "test_metadata": {"name": "unique"},
        "depends_on": {"nodes": [VIEW]},
    }
    nodes = {
        VIEW: node(VIEW, "view", ["source.shop.shop.orders"]),
        MART: node(MART, "incremental", [VIEW], key="order_id", follows=[{"of": "stg_orders"}]),
        TABLE: node(TABLE, "table", [VIEW]),
        SNAPSHOT: node(SNAPSHOT, "snapshot", []),
        "test.shop.unique": unique,
        "model.shop.facts": node("model.shop.facts", "incremental", reads, **meta),
    }
    return list(follows.problems(Manifest(nodes, RAW), "model.shop.facts", "raw"))


@pytest.mark.parametrize(
    ("reads", "meta"),
    [
        ([VIEW], {"key": "order_id", "follows": [{"of": "stg_orders"}]}),
        ([MART], {"key": "user_id", "follows": [{"of": "int_orders"}]}),
        ([MART, VIEW], {"key": "day", "follows": [{"of": "int_orders"}, {"of": "stg_orders", "on": "order_id"}]}),
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
