"""A small dbt project as its manifest has it: two raw tables, four models, their owners and who looks at them."""

from __future__ import annotations

from typing import Any

from include.dbt_project.manifest import Manifest


def model(*parents: str, group: str = "core", **columns: dict[str, Any]) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "config": {"materialized": "table"},
        "depends_on": {"nodes": list(parents)},
        "columns": columns,
        "group": group,
        "original_file_path": "models/core/a_model.sql",
    }


def generic(name: str, on: str, column: str | None = None, *also: str, **arguments: Any) -> dict[str, Any]:
    """A generic test, as dbt attaches it to a model or, by its arguments alone, to a source."""
    relation = f"source('shop', '{on.split('.')[-1]}')" if on.startswith("source") else f"ref('{on.split('.')[-1]}')"
    return {
        "resource_type": "test",
        "config": {"severity": "ERROR", "where": arguments.pop("where", None), "error_if": "!= 0", "warn_if": "!= 0"},
        "depends_on": {"nodes": [*also, on]},
        "attached_node": None if on.startswith("source") else on,
        "column_name": column,
        "test_metadata": {
            "name": name,
            "kwargs": {"model": f"{{{{ get_where_subquery({relation}) }}}}", "column_name": column, **arguments},
        },
    }


def source(name: str) -> dict[str, Any]:
    return {
        "schema": "raw",
        "name": name,
        "columns": {},
        "config": {"meta": {"group": "platform"}},
        "freshness": {"warn_after": {"count": 26, "period": "hour"}, "error_after": {"count": 50, "period": "hour"}},
    }


ORDERS, USERS = "source.p.shop.orders", "source.p.shop.users"
NODES = {
    "model.p.stg_orders": model(ORDERS, group="platform"),
    "model.p.stg_users": model(USERS, group="platform", email={"meta": {"personal": True}}),
    "model.p.fact_orders": model("model.p.stg_orders"),
    "model.p.dim_users": model("model.p.stg_users", "model.p.fact_orders"),
    "test.p.orders_unique": generic("unique", ORDERS, "order_id"),
    "test.p.orders_user": generic("relationships", ORDERS, "user_id", USERS, to="source('shop', 'users')", field="id"),
    "test.p.fact_unique": generic("unique", "model.p.fact_orders", "order_id"),
    "test.p.fact_status": generic("accepted_values", "model.p.fact_orders", "status", values=["new", "shipped"]),
    "test.p.dim_unique": generic("unique", "model.p.dim_users", "user_id"),
    "test.p.dim_email": generic("unique", "model.p.dim_users", "email"),
    "test.p.adds_up": {
        "resource_type": "test",
        "config": {"severity": "ERROR"},
        "depends_on": {"nodes": ["model.p.fact_orders", "model.p.dim_users"]},
        "attached_node": None,
        "test_metadata": None,
        "description": "Orders are the same whichever mart one asks.",
    },
}
FACTS = Manifest(
    nodes={unique_id: {"name": unique_id.split(".")[-1], **node} for unique_id, node in NODES.items()},
    sources={ORDERS: source("orders"), USERS: source("users")},
    groups={
        "group.p.core": {"name": "core", "owner": {"name": "Analytics"}, "config": {"meta": {"slack": "S0ANALYTICS"}}},
        "group.p.platform": {"name": "platform", "owner": {"name": "Data platform"}, "config": {}},
    },
    exposures={
        "exposure.p.sales": {"name": "sales", "label": "Sales", "depends_on": {"nodes": ["model.p.dim_users"]}},
        "exposure.p.raw": {"name": "loads", "label": None, "depends_on": {"nodes": ["model.p.stg_users"]}},
    },
)
MODELS = [unique_id for unique_id in NODES if unique_id.startswith("model.")]
