"""Reading and writing `ops`: which runs there were and what became of each node in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from include.results.nodes import NodeResult

BROKEN = ("fail", "error")
# A run's word on a node is its last one: a retried or cleared task replaces what it said before.
_LATEST = """
select distinct on (unique_id) *
from ops.node_results
where run_id = %s
order by unique_id, recorded_at desc
"""


@dataclass(frozen=True)
class Run:
    """A row of `ops.runs`."""

    run_id: str
    started_at: datetime
    release: str


@dataclass(frozen=True)
class OrderChange:
    """Orders that the snapshot of a run saw go from one status to another; `order_ids` in id order."""

    before: str
    after: str
    order_ids: tuple[str, ...]


def begin(connection: Connection, run_id: str, release: str) -> str:
    """Note that a run started, with the release of the dbt project that it will run to its end; returns that release.

    Any task may come first. A run that has begun keeps its start and its release, through retries and clearing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.runs (run_id, release) values (%s, %s)
            on conflict (run_id) do update set release = runs.release
            returning release
            """,
            (run_id, release),
        )
        return cursor.fetchone()[0]


def run(connection: Connection, run_id: str) -> Run | None:
    """The run, if it got as far as to begin."""
    with connection.cursor() as cursor:
        cursor.execute("select run_id, started_at, release from ops.runs where run_id = %s", (run_id,))
        row = cursor.fetchone()
    return Run(*row) if row else None


def record(connection: Connection, run_id: str, task_id: str, attempt: int, results: list[NodeResult]) -> None:
    """Keep what one attempt of a task found; saying it twice changes nothing."""
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
        )
        for result in results
    ]
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            """
            insert into ops.node_results (
                run_id, task_id, attempt, unique_id, resource_type, name, status, severity,
                failures, message, seconds, rows_affected, failing_rows
            ) values %s
            on conflict (run_id, task_id, attempt, unique_id) do update set
                status = excluded.status, failures = excluded.failures, message = excluded.message,
                seconds = excluded.seconds, rows_affected = excluded.rows_affected,
                failing_rows = excluded.failing_rows, recorded_at = clock_timestamp()
            """,
            rows,
        )


def record_task(connection: Connection, run_id: str, task_id: str, attempt: int, message: str) -> None:
    """Keep why a task failed where dbt has left no result that says so."""
    record(connection, run_id, task_id, attempt, [_task_result(task_id, "error", message)])


def settle_tasks(connection: Connection, run_id: str, states: Mapping[str, str | None]) -> None:
    """Fill in, from Airflow's states, what tasks could not say themselves, because they were killed.

    A later attempt that succeeds takes back what an earlier one said of its task.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"select task_id, unique_id, status from ({_LATEST}) as latest",  # noqa: S608 - a constant
            (run_id,),
        )
        said = cursor.fetchall()
    explained = {task_id for task_id, _, status in said if status in BROKEN}
    taken_back = {task_id for task_id, unique_id, status in said if unique_id == f"task.{task_id}" and status in BROKEN}
    for task_id, state in states.items():
        if state == "failed" and task_id not in explained:
            record_task(connection, run_id, task_id, 0, "ended without a result; its log says why")
        elif state in ("success", "skipped") and task_id in taken_back:
            record(connection, run_id, task_id, 0, [_task_result(task_id, "success", None)])


def _task_result(task_id: str, status: str, message: str | None) -> NodeResult:
    return NodeResult(f"task.{task_id}", "task", task_id, status, None, None, message, 0.0, None)


def node_results(connection: Connection, run_id: str) -> list[NodeResult]:
    """The last result of each node in a run, in the order in which they came."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select unique_id, resource_type, name, status, severity, failures, message, seconds, rows_affected,
                null, failing_rows
            from ({_LATEST}) as latest
            order by recorded_at, unique_id
            """,  # noqa: S608 - a constant
            (run_id,),
        )
        return [NodeResult(*row) for row in cursor.fetchall()]


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
                where resource_type = 'model'
                    and status <> 'skipped'
                    and recorded_at > coalesce(%s, '-infinity'::timestamptz)
                order by unique_id, recorded_at desc
            ) as newest
            where status = 'success'
            """,
            (since,),
        )
        return {unique_id: (run_id, at) for unique_id, run_id, at in cursor.fetchall()}


def passed_tests(connection: Connection, run_id: str) -> dict[str, datetime]:
    """When each test of a run passed, by unique id; those whose last word was another are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select unique_id, recorded_at
            from ({_LATEST}) as latest
            where resource_type = 'test' and status in ('pass', 'warn')
            """,  # noqa: S608 - a constant
            (run_id,),
        )
        return dict(cursor.fetchall())


def order_changes(connection: Connection, run_id: str) -> list[OrderChange]:
    """What the snapshots saw change that no earlier run has told: rows closed, whose successor has another status.

    An order seen for the first time is no change. Most frequent change first; [] before the first snapshot. Where no
    run has told anything yet, the run's own start is where telling begins.
    """
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('snapshots.orders_snapshot')")
        if cursor.fetchone()[0] is None:
            return []
        cursor.execute(
            """
            with told as (
                select coalesce(
                    max(changes_told_until) filter (where run_id <> %(run_id)s),
                    min(started_at) filter (where run_id = %(run_id)s)
                ) as until
                from ops.runs
            )

            select before.status, after.status, array_agg(after.order_id order by after.order_id)
            from snapshots.orders_snapshot as before
            join snapshots.orders_snapshot as after
                on after.order_id = before.order_id
                and after.dbt_valid_from = before.dbt_valid_to
            where before.dbt_valid_to > (select until at time zone 'UTC' from told)
                and after.status is distinct from before.status
            group by before.status, after.status
            order by count(*) desc, before.status, after.status
            """,
            {"run_id": run_id},
        )
        return [OrderChange(before, after, tuple(ids)) for before, after, ids in cursor.fetchall()]


def forget_results(connection: Connection, older_than: timedelta) -> int:
    """Delete results of nodes from before then; returns how many. Runs, metrics, messages and decisions stay."""
    with connection.cursor() as cursor:
        cursor.execute("delete from ops.node_results where recorded_at < now() - %s", (older_than,))
        return cursor.rowcount


def told_changes(connection: Connection, run_id: str) -> None:
    """Note that a run's message has told every change that the snapshots hold now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            update ops.runs
            set changes_told_until = coalesce(
                (select max(dbt_valid_to) at time zone 'UTC' from snapshots.orders_snapshot), started_at
            )
            where run_id = %s
            """,
            (run_id,),
        )


def put_metrics(connection: Connection, run_id: str, metrics: dict[str, float | None]) -> None:
    """Keep the figures that a run's message states, as they were then."""
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            """
            insert into ops.metrics (run_id, metric, value) values %s
            on conflict (run_id, metric) do update set value = excluded.value
            """,
            [(run_id, name, value) for name, value in metrics.items()],
        )


def failing_rows(
    connection: Connection, result: NodeResult, hidden: frozenset[str], limit: int = 5
) -> list[dict[str, Any]]:
    """The first rows that a failed test found, by the test's own SQL, without the columns in `hidden`."""
    with connection.cursor() as cursor:
        cursor.execute(f"select * from ({result.compiled_sql}\n) as failing limit {limit:d}")  # noqa: S608 - dbt's SQL
        names = [column.name for column in cursor.description or ()]
        return [
            {
                name: None if value is None else str(value)
                for name, value in zip(names, row, strict=True)
                if name not in hidden
            }
            for row in cursor.fetchall()
        ]
