"""What every dbt task leaves behind: its results, failing rows without personal data, and never an error of its own."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include.results import store
from include.results.artifacts import NodeResult
from include.results.record import record
from include.warehouse import migrate

pytestmark = pytest.mark.db

CONTEXT = {"run_id": "run", "ti": SimpleNamespace(task_id="task", try_number=1)}


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops` and one run that began."""
    migrate.upgrade()
    store.begin(db, "run", "release")
    return db


def left_by_dbt(project: Path, sql: str, column: str | None = None, *personal: str) -> str:
    """A target folder after one failed test, whose own SQL is `sql`."""
    test: dict[str, Any] = {
        "resource_type": "test",
        "name": "t",
        "config": {"severity": "ERROR"},
        "column_name": column,
    }
    model = {"resource_type": "model", "columns": {name: {"meta": {"personal": True}} for name in personal}}
    manifest = {"nodes": {"test.p.t": test, "model.p.m": model}, "sources": {}}
    result = {"unique_id": "test.p.t", "status": "fail", "failures": 1, "message": "Got 1 result", "compiled_code": sql}
    (project / "target").mkdir()
    (project / "target" / "manifest.json").write_text(json.dumps(manifest))
    (project / "target" / "run_results.json").write_text(json.dumps({"results": [result]}))
    return str(project)


def kept(ops: Connection) -> list[NodeResult]:
    return store.node_results(ops, "run")


def test_a_failed_test_is_kept_with_its_rows_in_the_order_of_its_columns(ops: Connection, tmp_path: Path) -> None:
    record(left_by_dbt(tmp_path, "select 'o1' as unique_field, 2 as n_records"), CONTEXT)
    [result] = kept(ops)
    assert list(result.failing_rows[0].items()) == [("unique_field", "o1"), ("n_records", "2")]


def test_a_personal_column_is_left_out_of_the_rows(ops: Connection, tmp_path: Path) -> None:
    record(left_by_dbt(tmp_path, "select 'o1' as order_id, 'a@example.com' as email", None, "email"), CONTEXT)
    assert kept(ops)[0].failing_rows == [{"order_id": "o1"}]


def test_a_test_of_a_personal_column_shows_no_rows_whatever_dbt_calls_it(ops: Connection, tmp_path: Path) -> None:
    record(left_by_dbt(tmp_path, "select 'a@example.com' as unique_field", "email", "email"), CONTEXT)
    [result] = kept(ops)
    assert (result.failures, result.failing_rows) == (1, [])


def test_sql_that_does_not_run_again_costs_the_rows_and_not_the_result(ops: Connection, tmp_path: Path) -> None:
    record(left_by_dbt(tmp_path, "select * from gone"), CONTEXT)
    [result] = kept(ops)
    assert (result.status, result.failing_rows) == ("fail", [])


def test_dbt_that_died_hides_nothing_behind_an_error_of_ours(ops: Connection, tmp_path: Path) -> None:
    record(str(tmp_path), CONTEXT)
    assert kept(ops) == []
