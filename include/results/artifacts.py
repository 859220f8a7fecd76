"""dbt's artifacts (run_results.json, sources.json) as dataclasses of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.dbt_project.manifest import Manifest


@dataclass(frozen=True)
class NodeResult:
    """What became of one node of the dbt project in one invocation.

    `status` is dbt's: success, pass, warn, fail, error or skipped. `failures` counts a test's failing rows,
    `rows_affected` a model's written ones; `seconds` is execution time. `compiled_sql` is what a test ran.
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


def read(target: Path, manifest: Manifest) -> list[NodeResult]:
    """The results in a target folder: those of `dbt source freshness` or else of build/test; [] where dbt left none."""
    freshness, results = target / "sources.json", target / "run_results.json"
    if freshness.exists():
        return [_freshness(entry) for entry in json.loads(freshness.read_bytes())["results"]]
    if results.exists():
        return [_node(entry, manifest) for entry in json.loads(results.read_bytes())["results"]]
    return []


def _node(entry: dict[str, Any], manifest: Manifest) -> NodeResult:
    unique_id = entry["unique_id"]
    node = manifest.nodes.get(unique_id, {})
    resource_type = unique_id.split(".", 1)[0]
    rows = (entry.get("adapter_response") or {}).get("rows_affected")
    return NodeResult(
        unique_id=unique_id,
        resource_type=resource_type,
        name=node.get("name", unique_id.split(".")[-1]),
        status=entry["status"],
        severity=node["config"]["severity"].lower() if resource_type == "test" and node else None,
        failures=entry.get("failures"),
        message=entry.get("message"),
        seconds=entry.get("execution_time") or 0.0,
        rows_affected=rows if isinstance(rows, int) and rows >= 0 and resource_type != "test" else None,
        compiled_sql=entry.get("compiled_code") if resource_type == "test" else None,
    )


def _freshness(entry: dict[str, Any]) -> NodeResult:
    unique_id = entry["unique_id"]
    status = {"runtime error": "error", "error": "fail"}.get(entry["status"], entry["status"])
    if status == "error":
        message = str(entry.get("error"))
    elif entry["max_loaded_at"].startswith("0001"):  # dbt's word for no row at all
        message = "never loaded"
    else:
        message = (
            f"last loaded at {entry['max_loaded_at']}, {entry['max_loaded_at_time_ago_in_s'] / 3600:.1f} hours ago"
        )
    return NodeResult(
        unique_id=f"freshness.{unique_id}",
        resource_type="freshness",
        name=f"of {unique_id.split('.', 2)[-1]}",
        status=status,
        severity="error",
        failures=None,
        message=message,
        seconds=entry.get("execution_time") or 0.0,
        rows_affected=None,
    )
