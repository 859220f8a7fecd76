"""A mart that reads something and follows no change of it is refused, with the words that mend it."""

from __future__ import annotations

from typing import Any

import pytest

from include.dbt_project import follows
from include.dbt_project.manifest import Manifest

ORDERS, RETURNS = "source.shop.shop.orders", "source.shop.shop.returns"
RAW = {
    f"source.shop.shop.{table}": {
        "resource_type": "source",
        "source_name": "shop",
        "name": table,
        "identifier": table,
        "schema": "raw",
        "config": {},
    }
    for table in ("orders", "returns")
}
VIEW, MART, TABLE = "model.shop.stg_orders", "model.shop.int_orders", "model.shop.kinds"
USERS, ADDRESSES, SNAPSHOT = "model.shop.dim_users", "model.shop.dim_addresses", "snapshot.shop.history"
SEED = "seed.shop.states"


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
    return {
        "resource_type": kind,
        "name": name,
        "config": config,
        "depends_on": {"nodes": reads},
        "columns": columns,
        "raw_code": "",
    }


def unique(unique_id: str, column: str) -> dict[str, Any]:
    """A test that a column is the key."""
    return {
        "resource_type": "test",
        "column_name": column,
        "test_metadata": {"name": "unique"},
        "depends_on": {"nodes": [unique_id]},
    }


def said(reads: list[str], code: str = "", raw: tuple[str, ...] = ("id", "line"), **meta: Any) -> list[str]:
    """What is said of a mart that reads these, of a staging view with such code over such columns of raw."""
    nodes = {
        VIEW: node(VIEW, "view", [ORDERS]),
        MART: node(MART, "incremental", [VIEW], key="order_id", follows=[{"of": "stg_orders"}]),
        TABLE: node(TABLE, "table", [VIEW]),
        SEED: node(SEED, "seed", []) | {"depends_on": {"macros": []}},
        SNAPSHOT: node(SNAPSHOT, "snapshot", []),
        USERS: node(USERS, "incremental", [VIEW], key="user_id", follows=[{"of": "stg_orders", "on": "order_id"}]),
        ADDRESSES: node(ADDRESSES, "incremental", [VIEW], key="address_id", follows=[{"of": "stg_orders"}]),
        "test.shop.1": unique(VIEW, "order_id"),
        "test.shop.2": unique(USERS, "user_id"),
        "test.shop.3": unique(ADDRESSES, "address_id"),
        "model.shop.facts": node("model.shop.facts", "incremental", reads, **meta),
    }
    nodes[VIEW]["raw_code"] = code
    sources = RAW | {ORDERS: RAW[ORDERS] | {"columns": {column: {} for column in raw}}}
    return list(follows.problems(Manifest(nodes, sources), "model.shop.facts", "raw"))


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
        ([SEED], {"key": "order_id", "follows": [{"of": "states"}]}, "can't follow states, which is built as a whole"),
        ([VIEW], {"key": "user_id", "follows": [{"of": "stg_orders"}]}, "follows stg_orders by user_id"),
        (
            [RETURNS],
            {"key": "order_id", "follows": [{"of": "shop.returns"}]},
            "nothing says which rows left raw.returns",
        ),
        ([MART], {"key": "order_id", "follows": [{"of": "int_orders", "by": "user_id"}]}, "has ['by'] in `follows`"),
    ],
)
def test_what_does_not_is_refused_with_what_to_write(reads: list[str], meta: dict[str, Any], sentence: str) -> None:
    [problem] = said(reads, **meta)
    assert sentence in problem


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("select order_id, now() as seen_at from {{ source('shop', 'orders') }}", "looks at the clock (now)"),
        ("select id || '/' || line as order_id from orders where not is_test", "leaves rows out (`where`)"),
        ("select distinct id || '/' || line as order_id from orders", "leaves rows out (`distinct`)"),
    ],
)
def test_a_staging_view_that_shows_other_rows_without_a_load_is_refused(code: str, sentence: str) -> None:
    [problem] = said([VIEW], code=code, key="order_id", follows=[{"of": "stg_orders"}])
    assert sentence in problem


def said_of_code(code: str) -> list[str]:
    """What is said of a mart with such code, which follows all that it reads."""
    name = "model.shop.facts"
    facts = node(name, "incremental", [SNAPSHOT], key="order_id", follows=[{"of": "history"}]) | {"raw_code": code}
    nodes = {name: facts, SNAPSHOT: node(SNAPSHOT, "snapshot", [])}
    return list(follows.problems(Manifest(nodes, RAW), name, "raw"))


@pytest.mark.parametrize(
    ("code", "clock"),
    [
        ("select order_id, current_date - day as age from {{ ref('history') }} -- as of now()", "current_date"),
        ("select {{ dbt.datediff('day', 'current_date', 'day') }} as age from {{ ref('history') }}", "current_date"),
        ("{{ config(tags=['daily']) }} select localtimestamp - day as age from {{ ref('history') }}", "localtimestamp"),
    ],
)
def test_a_mart_that_looks_at_the_clock_is_refused(code: str, clock: str) -> None:
    [problem] = said_of_code(code)
    assert f"looks at the clock ({clock})" in problem


@pytest.mark.parametrize(
    "code",
    [
        """{{ config(post_hook="insert into audit.built select '{{ this }}', now()") }} select order_id from history""",
        "{{- config(\n    description='as of current_date',\n) -}}\nselect order_id from history",
        "select current_date_key, localtime_zone, now_playing from history",
    ],
    ids=["a hook", "a description", "names of columns"],
)
def test_a_mart_whose_query_does_not_look_at_the_clock_is_fine(code: str) -> None:
    assert said_of_code(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "select id || '/' || line as order_id, a is distinct from b as c from orders -- where now() is no word\n",
        "select id || '/' || line as order_id from {# limit #} orders /* group by */",
        """{{ config(post_hook="delete from seen where day < now()") }} select id || '/' as order_id from orders""",
    ],
)
def test_a_staging_view_that_shows_all_rows_is_fine(code: str) -> None:
    assert said([VIEW], code=code, key="order_id", follows=[{"of": "stg_orders"}]) == []


def test_a_staging_view_may_leave_rows_out_by_a_key_that_raw_has() -> None:
    code = "select line_id, order_id from orders where not is_test"
    assert said([VIEW], code=code, raw=("order_id",), key="order_id", follows=[{"of": "stg_orders"}]) == []


def test_a_mart_whose_changes_would_have_too_long_a_name_is_refused() -> None:
    name = f"model.shop.{'a' * 55}"
    nodes = {
        VIEW: node(VIEW, "view", [ORDERS]),
        name: node(name, "incremental", [SNAPSHOT], key="order_id", follows=[{"of": "history"}]),
        SNAPSHOT: node(SNAPSHOT, "snapshot", []),
    }
    [problem] = follows.problems(Manifest(nodes, RAW), name, "raw")
    assert "Give it an `alias` of at most 54 letters" in problem
