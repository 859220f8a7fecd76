"""Reading and writing `ops`: which runs there were and what became of each node in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from include.results.failures import BROKEN
from include.results.nodes import UNEXPLAINED, NodeResult

# How many orders of a change are named.
FEW_ORDERS = 5
_RESULT = """unique_id, resource_type, name, status, severity, failures, message, seconds, rows_affected,
    null as compiled_sql, failing_rows, error_if"""
# A run's word on a node is its last one: a retried or cleared task replaces what it said before.
_LATEST = """
select distinct on (unique_id) *
from ops.node_results
where run_id = %s
order by unique_id, recorded_at desc
"""

# Orders of which the snapshot closed a version whose successor has another status; one seen for the first time is none.
# `changed_at` is when a run saw it, in UTC.
STATUS_CHANGES = """
select
    before.status as status_before,
    after.status as status_after,
    after.order_id,
    to_jsonb(after) ->> 'tracking_id' as tracking_id,
    after.dbt_valid_from as changed_at
from snapshots.orders_snapshot as after
join snapshots.orders_snapshot as before
    on before.order_id = after.order_id
    and before.dbt_valid_to = after.dbt_valid_from
where after.status is distinct from before.status
"""


@dataclass(frozen=True)
class Run:
    """A row of `ops.runs`."""

    run_id: str
    started_at: datetime
    release: str


@dataclass(frozen=True)
class Pass:
    """That a test passed or warned, and of what it would have failed; `error_if` is None where nobody noted it."""

    at: datetime
    severity: str | None
    error_if: str | None = None


@dataclass(frozen=True)
class ChangedOrder:
    """An order by its id, with its tracking number where it has one."""

    order_id: str
    tracking_id: str | None = None


@dataclass(frozen=True)
class OrderChange:
    """Orders that the snapshot of a run saw go from one status to another; `first` holds a few of them, in id order."""

    before: str | None
    after: str | None
    count: int
    first: tuple[ChangedOrder, ...]


@dataclass(frozen=True)
class Recovery:
    """The first publish after days without: how long it took, and the results that had failed, as they failed last."""

    after: timedelta
    failed: tuple[NodeResult, ...]


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
    """Keep what one attempt of a task found, and the SQL that it ran; saying it twice changes nothing."""
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
        execute_values(
            cursor,
            """
            insert into ops.node_results (
                run_id, task_id, attempt, unique_id, resource_type, name, status, severity,
                failures, message, seconds, rows_affected, failing_rows, error_if
            ) values %s
            on conflict (run_id, task_id, attempt, unique_id) do update set
                status = excluded.status, severity = excluded.severity, error_if = excluded.error_if,
                failures = excluded.failures, message = excluded.message,
                seconds = excluded.seconds, rows_affected = excluded.rows_affected,
                failing_rows = excluded.failing_rows, recorded_at = clock_timestamp()
            """,
            rows,
        )


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
            f"select task_id, unique_id, status, recorded_at from ({_LATEST}) as latest",  # noqa: S608 - a constant
            (run_id,),
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


def node_results(connection: Connection, run_id: str) -> list[NodeResult]:
    """The last result of each node in a run, in the order in which they came."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {_RESULT}
            from ({_LATEST}) as latest
            order by recorded_at, unique_id
            """,  # noqa: S608 - a constant
            (run_id,),
        )
        return [NodeResult(*row) for row in cursor.fetchall()]


def tasks(connection: Connection, run_id: str) -> dict[str, str]:
    """Which task of a run had the last word on each node, by unique id."""
    with connection.cursor() as cursor:
        cursor.execute(f"select unique_id, task_id from ({_LATEST}) as latest", (run_id,))  # noqa: S608 - a constant
        return dict(cursor.fetchall())


def last_word_at(connection: Connection, run_id: str) -> datetime | None:
    """When a run left its last result or was published: as good as its end, and the same however often it is asked."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select greatest(
                (select max(recorded_at) from ops.node_results where run_id = %(run_id)s),
                (select max(published_at) from ops.publications
                    where run_id = %(run_id)s and published_at = data_as_of)
            )
            """,
            {"run_id": run_id},
        )
        return cursor.fetchone()[0]


def since(
    connection: Connection, run_id: str, unique_ids: Collection[str], *, bad: Sequence[str]
) -> dict[str, datetime]:
    """The start of the first run that found the same, for what was bad already in the last run that tells.

    Counted from when it was last not `bad`. What was skipped tells nothing; a task that left no result did its work.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with earlier as (
                select run_id, started_at
                from ops.runs
                where started_at < (select started_at from ops.runs where run_id = %(run_id)s)
            ),

            told as (
                select distinct on (results.unique_id, earlier.run_id)
                    results.unique_id, earlier.started_at, results.status = any(%(bad)s) as is_bad
                from ops.node_results as results
                join earlier using (run_id)
                where results.unique_id = any(%(unique_ids)s) and results.status <> 'skipped'
                order by results.unique_id, earlier.run_id, results.recorded_at desc
            ),

            silent as (
                select asked.unique_id, earlier.started_at, false as is_bad
                from unnest(%(unique_ids)s::text[]) as asked (unique_id)
                cross join earlier
                where asked.unique_id like 'task.%%'
                    and not exists (
                        select from ops.node_results as results
                        where results.run_id = earlier.run_id and results.unique_id = asked.unique_id
                    )
            ),

            known as (
                select *, max(started_at) filter (where not is_bad) over (partition by unique_id) as last_good
                from (select * from told union all select * from silent) as both_kinds
            )

            select unique_id, min(started_at)
            from known
            where is_bad and started_at > coalesce(last_good, '-infinity')
            group by unique_id
            """,
            {"run_id": run_id, "unique_ids": list(unique_ids), "bad": list(bad)},
        )
        return dict(cursor.fetchall())


def fixed(connection: Connection, run_id: str) -> list[NodeResult]:
    """What is well in this run and was broken in the last one before it that tells."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {_RESULT}
            from ({_LATEST}) as latest
            where status in ('pass', 'success')
                and (
                    select results.status
                    from ops.node_results as results
                    join ops.runs as others using (run_id)
                    where results.unique_id = latest.unique_id
                        and results.status <> 'skipped'
                        and others.started_at < (select started_at from ops.runs where runs.run_id = latest.run_id)
                    order by results.recorded_at desc
                    limit 1
                ) = any(%s)
            order by recorded_at, unique_id
            """,  # noqa: S608 - constants
            (run_id, list(BROKEN)),
        )
        return [NodeResult(*row) for row in cursor.fetchall()]


def recovery(connection: Connection, run_id: str) -> Recovery | None:
    """What a published run ended: the days without since the publish before it. None where there were none.

    A run that had failed, was mended and cleared, ends its own; of others, their last word on each node counts.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with own as (
                select max(published_at) as published_at
                from ops.publications
                where run_id = %(run_id)s
            )

            select run_id, started_at, (select published_at from own)
            from ops.runs
            where started_at <= (select started_at from ops.runs where run_id = %(run_id)s)
                and started_at > coalesce(
                    (
                        select max(runs.started_at)
                        from ops.publications
                        join ops.runs using (run_id)
                        where run_id <> %(run_id)s
                            and published_at < (select published_at from own)
                    ),
                    '-infinity'
                )
                and (
                    run_id <> %(run_id)s
                    or exists (select from ops.messages where run_id = %(run_id)s and kind = 'failed')
                )
            """,
            {"run_id": run_id},
        )
        runs = cursor.fetchall()
        if not runs:
            return None
        cursor.execute(
            f"""
            select {_RESULT}
            from (
                select distinct on (unique_id) *
                from (
                    select distinct on (run_id, unique_id, case when run_id = %s then attempt end) *
                    from ops.node_results
                    where run_id = any(%s)
                    order by run_id, unique_id, case when run_id = %s then attempt end, recorded_at desc
                ) as last_words
                where status = any(%s)
                order by unique_id, recorded_at desc
            ) as broken
            order by recorded_at, unique_id
            """,  # noqa: S608 - a constant
            (run_id, [one for one, _, _ in runs], run_id, list(BROKEN)),
        )
        after = runs[0][2] - min(started_at for _, started_at, _ in runs)
        return Recovery(after, tuple(NodeResult(*row) for row in cursor.fetchall()))


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


def passed_tests(connection: Connection, run_id: str) -> dict[str, Pass]:
    """How and when each test of a run passed, by unique id; those whose last word was another are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select unique_id, recorded_at, severity, error_if
            from ({_LATEST}) as latest
            where resource_type = 'test' and status in ('pass', 'warn')
            """,  # noqa: S608 - a constant
            (run_id,),
        )
        return {unique_id: Pass(*passed) for unique_id, *passed in cursor.fetchall()}


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
            f"""
            with told as (
                select coalesce(
                    max(changes_told_until) filter (where run_id <> %(run_id)s),
                    min(started_at) filter (where run_id = %(run_id)s)
                ) as until
                from ops.runs
            )

            select
                status_before,
                status_after,
                count(*),
                (array_agg(array[order_id::text, tracking_id] order by order_id))[1:%(few)s]
            from ({STATUS_CHANGES}) as changes
            where changed_at > (select until at time zone 'UTC' from told)
                -- One that a wrong clock dated ahead is told when its time has come.
                and changed_at <= now() at time zone 'UTC'
            group by status_before, status_after
            order by count(*) desc, status_before, status_after
            """,  # noqa: S608 - a constant
            {"run_id": run_id, "few": FEW_ORDERS},
        )
        return [
            OrderChange(before, after, count, tuple(ChangedOrder(*order) for order in first))
            for before, after, count, first in cursor.fetchall()
        ]


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
                (
                    select max(dbt_valid_to) at time zone 'UTC'
                    from snapshots.orders_snapshot
                    where dbt_valid_to <= now() at time zone 'UTC'
                ),
                started_at
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
