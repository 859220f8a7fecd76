"""What every dbt task leaves in `ops` just before it ends: its results, and the first failing rows of failed tests."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import store
from include.results.nodes import NodeResult
from include.warehouse import connect

log = logging.getLogger(__name__)


def record(context: Any, results: list[NodeResult], facts: Manifest) -> None:
    """Keep the results of one dbt invocation of a task, with the first failing rows of each failed test.

    What goes wrong here is logged and not raised, since it would hide dbt's own failure; `publish` does not publish
    what has no result.
    """
    try:
        instance = context["ti"]
        with connect("greenery results") as connection:
            with_rows = [_with_rows(connection, result, facts) for result in results]
            store.record(connection, context["run_id"], instance.task_id, instance.try_number, with_rows)
            connection.commit()  # whatever becomes of what people read only
            store.keep_compiled(connection, context["run_id"], results)
    except Exception:
        log.exception(
            "The results of this dbt invocation were not recorded whole in ops; publish refuses what has none."
        )


def _with_rows(connection: Connection, result: NodeResult, facts: Manifest) -> NodeResult:
    if result.resource_type != "test" or result.compiled_sql is None or result.status not in ("fail", "warn"):
        return result
    hidden = facts.personal_columns
    if facts.tests_personal(result.unique_id):
        return result
    try:
        with connection.cursor() as cursor:
            cursor.execute("savepoint failing_rows")
            cursor.execute("set local statement_timeout = '10s'")
        return replace(result, failing_rows=store.failing_rows(connection, result, hidden))
    except Exception as error:  # whatever is wrong with the rows of one test, they are all that it costs
        log.warning("No failing rows for %s: %s", result.name, error)
        with connection.cursor() as cursor:
            cursor.execute("rollback to savepoint failing_rows")
        return result
