"""`ops.node_results`: what became of each node in each run, and what dbt ran for it.

A run's word on a node is its last one: a retried or cleared task replaces what it said before (`ops.last_words`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from include.results.failures import BROKEN
from include.results.nodes import UNEXPLAINED, NodeResult

# Those of a table of results, or of `ops.last_words`, that make a NodeResult.
COLUMNS = """unique_id, resource_type, name, status, severity, failures, message, seconds, rows_affected,
    null as compiled_sql, failing_rows, error_if"""

# The values of a row. Postgres takes null and what is quoted for text in a list that is selected from.
_ROW = "(%s, %s, %s, %s, %s, %s, %s, %s, %s::bigint, %s, %s, %s::bigint, %s::json, %s)"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pass:
    """That a test passed or warned, and of what it would have failed; `error_if` is None where nobody noted it."""

    at: datetime
    severity: str | None
    error_if: str | None = None
    warned: bool = False


def record(connection: Connection, run_id: str, task_id: str, attempt: int, results: list[NodeResult]) -> None:
    """Keep what one attempt of a task found, and the SQL that it ran; saying it twice changes nothing.

    Nothing is kept of an attempt that was given up, where a later one has spoken: frozen, and awake again, it tells of
    what was taken from it.
    """
    rows = [
        (
            run_id,
            task_id,
            attempt,
            result.unique_id,
            result.resource_type,
            result.name,
            result.status,
            result.severity,
            result.failures,
            result.message,
            result.seconds,
            result.rows_affected,
            Json(result.failing_rows),
            result.error_if,
        )
        for result in results
    ]
    with connection.cursor() as cursor:
        kept = execute_values(
            cursor,
            """
            insert into ops.node_results (
                run_id, task_id, attempt, unique_id, resource_type, name, status, severity,
                failures, message, seconds, rows_affected, failing_rows, error_if
            )
            select *
            from (values %s) as said (run_id, task_id, attempt)
            where said.attempt = 0 or not exists (
                select from ops.node_results as later
                where later.run_id = said.run_id and later.task_id = said.task_id and later.attempt > said.attempt
            )
            on conflict (run_id, task_id, attempt, unique_id) do update set
                status = excluded.status, severity = excluded.severity, error_if = excluded.error_if,
                failures = excluded.failures, message = excluded.message,
                seconds = excluded.seconds, rows_affected = excluded.rows_affected,
                failing_rows = excluded.failing_rows, recorded_at = clock_timestamp()
            returning unique_id
            """,
            rows,
            template=_ROW,
            fetch=True,
        )
    if rows and not kept:
        log.warning("Attempt %d of %s is not kept: a later one has spoken.", attempt, task_id)


def keep_compiled(connection: Connection, run_id: str, results: list[NodeResult]) -> None:
    """Keep what dbt ran for each node last; a day like the one before writes nothing, so that nothing is locked."""
    ran = {one.unique_id: one.compiled_sql for one in results if one.compiled_sql and one.status != "skipped"}
    if not ran:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.compiled_sql (unique_id, run_id, sql)
            select ran.unique_id, %(run)s, ran.sql
            from unnest(%(nodes)s::text[], %(sql)s::text[]) as ran (unique_id, sql)
            where not exists (
                select from ops.compiled_sql as kept where kept.unique_id = ran.unique_id and kept.sql = ran.sql
            )
            -- Tasks run side by side: always in this order, or two could wait for each other.
            order by ran.unique_id
            on conflict (unique_id) do update set
                run_id = excluded.run_id, sql = excluded.sql, recorded_at = clock_timestamp()
            where compiled_sql.sql is distinct from excluded.sql
            """,
            {"run": run_id, "nodes": list(ran), "sql": list(ran.values())},
        )


def record_task(connection: Connection, run_id: str, task_id: str, attempt: int, message: str) -> None:
    """Keep why a task failed where dbt has left no result that says so."""
    record(connection, run_id, task_id, attempt, [_task_result(task_id, "error", message)])


def settle_tasks(connection: Connection, run_id: str, states: Mapping[str, str | None]) -> None:
    """Fill in, from Airflow's states, what tasks could not say themselves, because they were killed.

    A later attempt that got on, to an end or to results of dbt's, takes back what an earlier one said of its task.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select task_id, unique_id, status, recorded_at from ops.last_words where run_id = %s", (run_id,)
        )
        said = cursor.fetchall()
    explained = {task_id for task_id, _, status, _ in said if status in BROKEN}
    reasons = {task_id: at for task_id, node, status, at in said if node == f"task.{task_id}" and status in BROKEN}
    got_on = {task_id for task_id, _, _, at in said if task_id in reasons and at > reasons[task_id]}
    for task_id, state in states.items():
        if state == "failed" and task_id not in explained:
            record_task(connection, run_id, task_id, 0, UNEXPLAINED)
        elif task_id in reasons and (state in ("success", "skipped") or task_id in got_on):
            record(connection, run_id, task_id, 0, [_task_result(task_id, "success", None)])


def _task_result(task_id: str, status: str, message: str | None) -> NodeResult:
    return NodeResult(f"task.{task_id}", "task", task_id, status, None, None, message, 0.0, None)


def of_run(connection: Connection, run_id: str) -> list[NodeResult]:
    """The last result of each node in a run, in the order in which they came."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {COLUMNS}
            from ops.last_words
            where run_id = %s
            order by recorded_at, unique_id
            """,  # noqa: S608 - a constant
            (run_id,),
        )
        return [NodeResult(*row) for row in cursor.fetchall()]


def tasks(connection: Connection, run_id: str) -> dict[str, str]:
    """Which task of a run had the last word on each node, by unique id."""
    with connection.cursor() as cursor:
        cursor.execute("select unique_id, task_id from ops.last_words where run_id = %s", (run_id,))
        return dict(cursor.fetchall())


def passed_tests(connection: Connection, run_id: str, since: datetime | None) -> dict[str, Pass]:
    """How and when each test of a run passed, by unique id; those whose last word was another are left out.

    So are those that have passed before a moment: the run has begun again since, and they say nothing of what it built.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select unique_id, recorded_at, severity, error_if, status = 'warn'
            from ops.last_words
            where run_id = %s and resource_type = 'test' and status in ('pass', 'warn')
                and recorded_at > coalesce(%s, '-infinity'::timestamptz)
            """,
            (run_id, since),
        )
        return {unique_id: Pass(*passed) for unique_id, *passed in cursor.fetchall()}


def newest_builds(connection: Connection, since: datetime | None) -> dict[str, tuple[str, datetime]]:
    """Who built each model last, over all runs: run id and time by the model's unique id; none where that build failed.

    Only what was built after a moment counts, all of it where that is None.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select unique_id, run_id, recorded_at
            from (
                select distinct on (unique_id) unique_id, run_id, recorded_at, status
                from ops.node_results
                where resource_type in ('model', 'seed')
                    and status <> 'skipped'
                    and recorded_at > coalesce(%s, '-infinity'::timestamptz)
                order by unique_id, recorded_at desc
            ) as newest
            where status = 'success'
            """,
            (since,),
        )
        return {unique_id: (run_id, at) for unique_id, run_id, at in cursor.fetchall()}


def forget(connection: Connection, older_than: timedelta, samples_older_than: timedelta) -> int:
    """Delete results of nodes from before then; returns how many. Runs, metrics and decisions stay.

    So do the results of what people query, and of what a rollback would bring back, however long nothing was published:
    receipts of their figures tell which tests warned. The failing rows of tests, which may tell of people, go sooner.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.node_results set failing_rows = '[]'"
            " where recorded_at < now() - %s and failing_rows::text <> '[]'",
            (samples_older_than,),
        )
        cursor.execute(
            """
            delete from ops.node_results
            where recorded_at < now() - %s
                and run_id not in (select run_id from ops.publications order by publication_id desc limit 2)
            """,
            (older_than,),
        )
        return cursor.rowcount
