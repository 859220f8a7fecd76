"""What every dbt task leaves in `ops` just before it ends: its results, and the first failing rows of failed tests."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import node_results
from include.results.nodes import NodeResult
from include.warehouse import connect

log = logging.getLogger(__name__)


def record(run_id: str, task_id: str, attempt: int, results: list[NodeResult], facts: Manifest) -> None:
    """Keep the results of one dbt invocation for a task, with the first failing rows of each failed test.

    What goes wrong here is logged and not raised, since it would hide dbt's own failure; `publish` does not publish
    what has no result.
    """
    try:
        with connect("greenery results") as connection:
            with_rows = [_with_rows(connection, result, facts) for result in results]
            node_results.record(connection, run_id, task_id, attempt, with_rows)
            connection.commit()  # whatever becomes of what people read only
            node_results.keep_compiled(connection, run_id, results)
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
        return replace(result, failing_rows=failing_rows(connection, result, hidden))
    except Exception as error:  # whatever is wrong with the rows of one test, they are all that it costs
        log.warning("No failing rows for %s: %s", result.name, error)
        with connection.cursor() as cursor:
            cursor.execute("rollback to savepoint failing_rows")
        return result


def failing_rows(
    connection: Connection, result: NodeResult, hidden: frozenset[str], limit: int = 5
) -> list[dict[str, Any]]:
    """The first rows that a failed test found, by the test's own SQL, without the columns in `hidden`.

    Values are text from the database on: it knows moments and numbers that Python has no type for.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select (select json_object_agg(key, value) from json_each_text(row_to_json(failing)))
            from ({result.compiled_sql}
            ) as failing
            limit {limit:d}
            """  # noqa: S608 - dbt's SQL
        )
        return [
            {name: value for name, value in row.items() if name not in hidden} for (row,) in cursor.fetchall() if row
        ]
