"""The Cosmos callback with which every dbt task leaves its results in `ops`, just before it ends."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from include.dbt_project import manifest
from include.dbt_project.manifest import Manifest
from include.results import artifacts, store
from include.results.artifacts import NodeResult
from include.warehouse import connect

log = logging.getLogger(__name__)


def record(project_dir: str, context: Any) -> None:
    """Keep what dbt did in `project_dir/target`, with the first failing rows of each failed test.

    Called by Cosmos before it raises dbt's failure. What goes wrong here is logged and not raised, since it would hide
    that failure; `publish` does not publish what has no result.
    """
    try:
        target = Path(project_dir) / "target"
        facts = manifest.read(target / "manifest.json")
        instance = context["ti"]
        with connect("greenery results") as connection:
            results = [_with_rows(connection, result, facts) for result in artifacts.read(target, facts)]
            store.record(connection, context["run_id"], instance.task_id, instance.try_number, results)
    except Exception:
        log.exception("The results of this dbt invocation were not recorded in ops.node_results; publish will refuse.")


def _with_rows(connection: Connection, result: NodeResult, facts: Manifest) -> NodeResult:
    if result.compiled_sql is None or result.status not in ("fail", "warn"):
        return result
    hidden = facts.personal_columns
    if facts.nodes[result.unique_id].get("column_name") in hidden:
        return result  # dbt calls the tested column by another name in the rows
    try:
        with connection.cursor() as cursor:
            cursor.execute("savepoint failing_rows")
            cursor.execute("set local statement_timeout = '10s'")
        return replace(result, failing_rows=store.failing_rows(connection, result, hidden))
    except psycopg2.Error as error:
        log.warning("No failing rows for %s: %s", result.name, error)
        with connection.cursor() as cursor:
            cursor.execute("rollback to savepoint failing_rows")
        return result
