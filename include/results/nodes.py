"""What became of dbt's nodes: the results of an invocation as dataclasses of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# What is kept of a task of which nothing is known but that it failed.
UNEXPLAINED = (
    "ended without a result: it was killed, or could not start. Its log says why; clear it then, with all after it"
)


@dataclass(frozen=True)
class NodeResult:
    """What became of one node of the dbt project in one invocation.

    `status` is dbt's: success, pass, warn, fail, error or skipped. `failures` counts a test's failing rows,
    `rows_affected` a model's written ones; `seconds` is execution time. `compiled_sql` is what dbt ran. `severity` and
    `error_if` are a test's as it ran, whatever the manifest says.
    """

    unique_id: str
    resource_type: str
    name: str
    status: str
    severity: str | None
    failures: int | None
    message: str | None
    seconds: float
    rows_affected: int | None
    compiled_sql: str | None = None
    failing_rows: list[dict[str, Any]] = field(default_factory=list)
    error_if: str | None = None


def from_dbt(results: Iterable[Any]) -> list[NodeResult]:
    """The same of each of dbt's own results, of `build`, `test` or `source freshness`."""
    return [
        _freshness(one) if one.node.resource_type == "source" else of_node(one.node, one, one.failures)
        for one in results
    ]


def of_node(node: Any, result: Any, failures: int | None) -> NodeResult:
    """The same of one node; `result` is dbt's own, or what its event of the node's end holds of it."""
    is_test = node.resource_type == "test"
    rows = dict(result.adapter_response or {}).get("rows_affected")  # in an event a float
    return NodeResult(
        unique_id=node.unique_id,
        resource_type=str(node.resource_type),
        name=node.name,
        status="error" if str(result.status) == "partial success" else str(result.status),  # some batches failed
        severity=node.config.severity.lower() if is_test else None,
        failures=failures,
        message=result.message or None,
        seconds=result.execution_time or 0.0,
        rows_affected=int(rows) if isinstance(rows, int | float) and rows >= 0 and not is_test else None,
        compiled_sql=getattr(node, "compiled_code", None),
        error_if=node.config.error_if if is_test else None,
    )


def _freshness(result: Any) -> NodeResult:
    status = {"runtime error": "error", "error": "fail"}.get(str(result.status), str(result.status))
    if status == "error":
        message = str(result.message)
    elif result.max_loaded_at.year == 1:  # dbt's word for no row at all
        message = "never loaded"
    else:
        message = f"last loaded at {result.max_loaded_at:%Y-%m-%dT%H:%M:%SZ}, {result.age / 3600:.1f} hours ago"
    return NodeResult(
        unique_id=f"freshness.{result.node.unique_id}",
        resource_type="freshness",
        name=f"of {result.node.unique_id.split('.', 2)[-1]}",
        status=status,
        severity="error",
        failures=None,
        message=message,
        seconds=result.execution_time or 0.0,
        rows_affected=None,
    )
