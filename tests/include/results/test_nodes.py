"""Reading dbt's results: the shapes that dbt returns."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from dbt.artifacts.schemas.freshness import FreshnessStatus
from dbt.artifacts.schemas.results import NodeStatus

from include.results.nodes import from_dbt

RESULT = {"failures": None, "message": None, "execution_time": 0.5, "adapter_response": {}}


def of(resource_type: str, unique_id: str, **result: Any) -> SimpleNamespace:
    """A result of a node, with dbt's names."""
    node = SimpleNamespace(
        unique_id=unique_id,
        resource_type=resource_type,
        name=unique_id.split(".")[2],
        config=SimpleNamespace(severity="ERROR", error_if=">1"),
        compiled_code="select 1",
    )
    return SimpleNamespace(node=node, **RESULT | result)


def test_a_failed_test_keeps_severity_count_message_and_sql() -> None:
    failed = of("test", "test.greenery.unique_orders.abc", status=NodeStatus.Fail, failures=2, message="Got 2 results")
    [result] = from_dbt([failed])
    assert (result.name, result.severity, result.error_if, result.status) == ("unique_orders", "error", ">1", "fail")
    assert (result.failures, result.message, result.compiled_sql) == (2, "Got 2 results", "select 1")


def test_a_models_rows_are_counted() -> None:
    built = of("model", "model.greenery.m", status=NodeStatus.Success, adapter_response={"rows_affected": 130})
    [result] = from_dbt([built])
    assert (result.rows_affected, result.severity) == (130, None)


def test_stale_freshness_is_a_failure_that_says_since_when() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    stale = of("source", "source.greenery.raw.orders", status=FreshnessStatus.Error, max_loaded_at=at, age=180_000.0)
    [result] = from_dbt([stale])
    assert (result.status, result.resource_type) == ("fail", "freshness")
    assert result.message == "last loaded at 2026-11-20T00:00:00Z, 50.0 hours ago"


def test_a_table_without_a_row_was_never_loaded() -> None:
    at = datetime(1, 1, 1, tzinfo=UTC)
    empty = of("source", "source.greenery.raw.orders", status=FreshnessStatus.Error, max_loaded_at=at, age=6e10)
    [result] = from_dbt([empty])
    assert (result.status, result.message) == ("fail", "never loaded")


def test_freshness_that_could_not_be_asked_is_an_error() -> None:
    unknown = of("source", "source.greenery.raw.orders", status=FreshnessStatus.RuntimeErr, message="no such table")
    [result] = from_dbt([unknown])
    assert (result.status, result.message) == ("error", "no such table")
