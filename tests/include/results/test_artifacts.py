"""Reading dbt's artifacts: the shapes that dbt 1.11 writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from include.dbt_project.manifest import Manifest
from include.results.artifacts import read

TEST = "test.greenery.unique_orders.abc"
MANIFEST = Manifest({TEST: {"name": "unique_orders", "config": {"severity": "ERROR"}, "resource_type": "test"}}, {})


def written(target: Path, name: str, *results: dict[str, Any]) -> Path:
    (target / name).write_text(json.dumps({"results": results}))
    return target


def test_a_failed_test_keeps_severity_count_message_and_sql(tmp_path: Path) -> None:
    entry = {"unique_id": TEST, "status": "fail", "failures": 2, "message": "Got 2 results", "execution_time": 0.5}
    [result] = read(written(tmp_path, "run_results.json", entry | {"compiled_code": "select 1"}), MANIFEST)
    assert (result.name, result.severity, result.status) == ("unique_orders", "error", "fail")
    assert (result.failures, result.message, result.compiled_sql) == (2, "Got 2 results", "select 1")


def test_a_models_rows_are_counted(tmp_path: Path) -> None:
    entry = {"unique_id": "model.greenery.m", "status": "success", "adapter_response": {"rows_affected": 130}}
    [result] = read(written(tmp_path, "run_results.json", entry), MANIFEST)
    assert result.rows_affected == 130


def test_stale_freshness_is_a_failure_that_says_since_when(tmp_path: Path) -> None:
    entry = {
        "unique_id": "source.greenery.raw.orders",
        "status": "error",
        "max_loaded_at": "2026-11-20T00:00:00Z",
        "max_loaded_at_time_ago_in_s": 180_000.0,
        "execution_time": 0.1,
    }
    [result] = read(written(tmp_path, "sources.json", entry), MANIFEST)
    assert (result.status, result.resource_type) == ("fail", "freshness")
    assert result.message == "last loaded at 2026-11-20T00:00:00Z, 50.0 hours ago"


def test_freshness_that_could_not_be_asked_is_an_error(tmp_path: Path) -> None:
    entry = {"unique_id": "source.greenery.raw.orders", "status": "runtime error", "error": "no such table"}
    [result] = read(written(tmp_path, "sources.json", entry), MANIFEST)
    assert (result.status, result.message) == ("error", "no such table")


def test_dbt_that_died_leaves_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, MANIFEST) == []
