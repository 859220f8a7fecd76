"""How long tasks and models take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from include.dbt_project.manifest import BUILDS
from plugins.data_health.reading import Reading

# How many tasks are told apart, and how many models are named.
TASKS, MODELS = 7, 15
OTHER_TASKS = "all others"


@dataclass(frozen=True)
class TaskTime:
    """How many seconds dbt worked in a task of a run, retries included; those beyond the slowest are one."""

    run_id: str
    started_at: datetime
    task: str
    seconds: float


@dataclass(frozen=True)
class ModelTime:
    """How many seconds a model took to build, over the runs that built it; `last` in the last of them."""

    name: str
    builds: int
    mean: float
    longest: float
    last: float


def of_tasks(reading: Reading, since: datetime) -> tuple[TaskTime, ...]:
    """The slowest tasks of the runs that began since then, and the others as one."""
    rows = reading.rows(
        """
        with spent as (
            select results.run_id, results.task_id, sum(results.seconds) as seconds
            from ops.node_results as results
            join ops.runs using (run_id)
            where runs.started_at >= %(since)s
            group by results.run_id, results.task_id
        ),

        slowest as (
            select task_id
            from spent
            group by task_id
            order by sum(seconds) desc, task_id
            limit %(few)s
        )

        select run_id, runs.started_at, slowest.task_id, sum(spent.seconds) as seconds
        from spent
        join ops.runs using (run_id)
        left join slowest using (task_id)
        group by run_id, runs.started_at, slowest.task_id
        order by runs.started_at, run_id, slowest.task_id
        """,
        {"since": since, "few": TASKS},
    )
    return tuple(TaskTime(row.run_id, row.started_at, _short(row.task_id), row.seconds) for row in rows)


def of_models(reading: Reading, since: datetime) -> tuple[ModelTime, ...]:
    """The slowest models of the same runs."""
    rows = reading.rows(
        """
        with slowest as (
            select
                results.unique_id, min(results.name) as name, count(*) as builds, avg(results.seconds) as mean,
                max(results.seconds) as longest
            from ops.node_results as results
            join ops.runs using (run_id)
            where runs.started_at >= %(since)s and results.resource_type = 'model' and results.status = 'success'
            group by results.unique_id
            order by avg(results.seconds) desc, results.unique_id
            limit %(few)s
        )

        select slowest.name, slowest.builds, slowest.mean, slowest.longest, newest.seconds
        from slowest
        cross join lateral (
            select seconds
            from ops.node_results as results
            where results.unique_id = slowest.unique_id and status = 'success'
            order by recorded_at desc
            limit 1
        ) as newest
        order by slowest.mean desc, slowest.unique_id
        """,
        {"since": since, "few": MODELS},
    )
    return tuple(ModelTime(*row) for row in rows)


def _short(task_id: str | None) -> str:
    """A task as people call it: by its model, where it builds one."""
    return BUILDS.sub("", task_id.rsplit(".", 1)[-1]) if task_id else OTHER_TASKS
