"""A small dbt project as the page reads it: a raw table, a view on it, a mart, a snapshot, and their tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import node_results, runs
from include.results.nodes import NodeResult
from tests.include.results import project

ORDERS, STAGED, MART, SNAPSHOT = "source.p.shop.orders", "model.p.stg_orders", "model.p.fact_orders", "snapshot.p.seen"
UNIQUE, EMAIL, ADDS_UP = "test.p.fact_unique.1a", "test.p.dim_email.2b", "test.p.adds_up"


def _model(name: str, folder: str, schema: str, *parents: str, **more: Any) -> dict[str, Any]:
    return {
        **project.model(*parents),
        "name": name,
        "schema": schema,
        "fqn": ["p", *folder.split("/"), name],
        "raw_code": "select 1 as {{ one }}",
        **more,
    }


def _column(description: str = "", data_type: str | None = None, **meta: Any) -> dict[str, Any]:
    return {"description": description, "data_type": data_type, "meta": meta}


def _test(name: str, *arguments: Any, **more: Any) -> dict[str, Any]:
    return {**project.generic(*arguments), "name": name, "raw_code": "{{ test }}", **more}


FACTS = Manifest(
    nodes={
        STAGED: _model("stg_orders", "staging/shop", "staging", ORDERS, description="One row per order."),
        MART: _model(
            "fact_orders",
            "marts/core",
            "analytics_next",
            STAGED,
            description="One row per order & `order_id`. More of it.",
            columns={
                "order_id": _column("Key of the order.", "text"),
                "email": _column("Of the buyer.", "text", personal=True),
            },
        ),
        SNAPSHOT: {**_model("seen", "seen", "snapshots", ORDERS), "resource_type": "snapshot"},
        UNIQUE: _test("fact_unique", "unique", MART, "order_id"),
        EMAIL: _test("dim_email", "unique", MART, "email"),
        ADDS_UP: {
            **project.NODES["test.p.adds_up"],
            "name": "adds_up",
            "raw_code": "select 1",
            "depends_on": {"nodes": [STAGED, MART]},
        },
    },
    sources={
        ORDERS: {
            **project.source("orders"),
            "resource_type": "source",
            "identifier": "orders",
            "description": "One row per order, as it is now.",
        }
    },
    groups=project.FACTS.groups,
    exposures={"exposure.p.sales": {"name": "sales", "label": "Sales", "depends_on": {"nodes": [MART]}}},
)


def run(ops: Connection, run_id: str, days_ago: int, *results: NodeResult) -> None:
    """A run that began so many days ago, with these results."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    runs.begin(ops, run_id, "release")
    node_results.record(ops, run_id, "transform.fact_orders_model_build", 1, list(results))
    node_results.keep_compiled(ops, run_id, list(results))
    with ops.cursor() as cursor:
        cursor.execute("update ops.runs set started_at = %s where run_id = %s", (at, run_id))
        cursor.execute("update ops.node_results set recorded_at = %s where run_id = %s", (at, run_id))


def of_test(status: str, test: str = UNIQUE, **more: Any) -> NodeResult:
    """A test's result."""
    found = {"pass": 0, "fail": 3, "warn": 1}.get(status)
    message = "Database Error in test\n  division by zero" if status == "error" else None
    return NodeResult(test, "test", test.split(".")[2], status, "error", found, message, 0.25, None, **more)


def built(status: str = "success", model: str = MART, **more: Any) -> NodeResult:
    """A model's result."""
    return NodeResult(model, "model", model.split(".")[-1], status, None, None, None, 1.5, 1234, **more)
