"""One run: what its message tells, and what each of its tasks left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from include.dbt_project.counted import nouns
from include.dbt_project.helpers import is_helper
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import Metric
from include.results import failures, publications
from include.results.failures import BROKEN
from include.results.nodes import NodeResult
from include.results.summary import Summary
from plugins.data_health import pages, runs
from plugins.data_health.reading import Reading, facts_of
from plugins.data_health.runs import Run
from plugins.data_health.views.figures import MovesOfPublication, moved_by, named_metrics
from plugins.data_health.views.now import report_of


@dataclass(frozen=True)
class NodeOfTask:
    """What became of a node of dbt's, or of the task itself, in a task: the last result that the task left.

    `status` is dbt's: success, pass, warn, fail, error or skipped. `rows` are those that a model wrote, `failures`
    those that a test found. `message` is without values that a database quotes. `attempt` is 0 for what Airflow said.
    """

    unique_id: str
    kind: str
    name: str
    title: str
    status: str
    seconds: float
    rows: int | None
    failures: int | None
    message: str
    attempt: int
    recorded_at: datetime


@dataclass(frozen=True)
class TaskOfRun:
    """A task: `state` is the worst of its results (failed, warned, success), `seconds` are those that dbt worked.

    What failed or warned is first among `nodes`, which are in the order in which they came otherwise.
    """

    task_id: str
    state: str
    seconds: float
    log_url: str
    nodes: tuple[NodeOfTask, ...]

    @property
    def is_quiet_helper(self) -> bool:
        """Whether it built a helper, and nothing failed or warned."""
        return self.state == "success" and is_helper(self.task_id.rsplit(".", 1)[-1])


@dataclass(frozen=True)
class Stated:
    """A figure that the run's message states, of a UTC day, as a publication told it."""

    metric: str
    day: date
    value: float
    told_on: datetime


@dataclass(frozen=True)
class RunResults:
    """One run: what there is to tell of it, and its tasks in the order in which they left their first result.

    `published_at` is when its marts came before people, if ever. What `report` tells of now is as of now.
    `stated` are the figures of its message, where it is kept of which day they are; `moved` is what it changed of what
    was told before, `metrics` has both by name, and `nouns` what the rows of
    a model are.
    """

    run: Run
    published_at: datetime | None
    report: Summary
    tasks: tuple[TaskOfRun, ...]
    stated: tuple[Stated, ...]
    moved: MovesOfPublication | None
    metrics: dict[str, Metric]
    nouns: dict[str, str]

    @property
    def named(self) -> tuple[TaskOfRun, ...]:
        """The tasks that are not folded away."""
        return tuple(task for task in self.tasks if not task.is_quiet_helper)

    @property
    def helpers(self) -> tuple[TaskOfRun, ...]:
        """Those of helpers that went well, which are shown on a click."""
        return tuple(task for task in self.tasks if task.is_quiet_helper)


_RANK = {**dict.fromkeys(BROKEN, 0), "warn": 1}
_NODES = """
with words as (
    select distinct on (task_id, unique_id) *
    from ops.node_results
    where run_id = %(run_id)s
    order by task_id, unique_id, recorded_at desc
)

select
    task_id, unique_id, resource_type, name, status, seconds, rows_affected, failures, message, attempt, recorded_at
from words
order by min(recorded_at) over (partition by task_id), task_id, recorded_at, unique_id
"""


def read(reading: Reading, run_id: str) -> RunResults:
    """A run by Airflow's id. Raises LookupError for one that `ops` does not know."""
    run = runs.named(reading, run_id)
    own = publications.of_run(reading.connection, run_id)
    rows = reading.rows(_NODES, {"run_id": run_id})
    facts = facts_of(run.release, reading.facts)
    tasks = []
    for task_id, of_task in groupby(rows, lambda row: row.task_id):
        nodes = tuple(sorted((_node(row, facts) for row in of_task), key=lambda node: _RANK.get(node.status, 2)))
        seconds = sum(node.seconds for node in nodes)
        tasks.append(TaskOfRun(task_id, _state(nodes), seconds, pages.task_url(run.url, task_id), nodes))
    stated = _stated(reading, run_id)
    moved = moved_by(reading, own) if own else None
    return RunResults(
        run=run,
        published_at=own.published_at if own else None,
        report=report_of(reading, run),
        tasks=tuple(tasks),
        stated=stated,
        moved=moved,
        metrics=named_metrics(facts, {one.metric for one in (*stated, *(moved.moves if moved else ()))}),
        nouns=nouns(facts),
    )


def _stated(reading: Reading, run_id: str) -> tuple[Stated, ...]:
    rows = reading.rows(
        """
        select metrics.metric, metrics.day, metrics.value, publications.published_at
        from ops.metrics
        join ops.publications using (publication_id)
        where metrics.run_id = %(run)s and metrics.day is not null and metrics.value is not null
        order by metrics.metric
        """,
        {"run": run_id},
    )
    return tuple(Stated(*row) for row in rows)


def _node(row: Any, facts: Manifest) -> NodeOfTask:
    result = NodeResult(row.unique_id, row.resource_type, row.name, row.status, None, None, None, 0.0, None)
    is_ours = row.resource_type == "task"  # the reason is in our words, line breaks and all
    message = row.message or ""
    return NodeOfTask(
        unique_id=row.unique_id,
        kind=row.resource_type,
        name=row.name,
        title=failures.title(result, facts),
        status=row.status,
        seconds=row.seconds,
        rows=row.rows_affected,
        failures=row.failures,
        message=message if is_ours else failures.without_data(message),
        attempt=row.attempt,
        recorded_at=row.recorded_at,
    )


def _state(nodes: tuple[NodeOfTask, ...]) -> str:
    said = {node.status for node in nodes}
    return "failed" if said & set(BROKEN) else "warned" if "warn" in said else "success"
