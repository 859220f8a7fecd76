"""The last word of a run: its one Slack message, whatever became of it."""

from __future__ import annotations

import logging
from typing import Any

import psycopg2
from airflow.sdk import get_current_context, task

from include import settings
from include.dbt_project import release
from include.dbt_project.manifest import read
from include.dbt_project.runs import let_go, release_of
from include.results import report as run_report
from include.results import store
from include.slack import render, send
from include.slack.channels import Audience
from include.slack.message import Message
from include.slack.transport import UnavailableError
from include.warehouse import connect

log = logging.getLogger(__name__)


@task(task_id="report", retries=3, retry_delay=10)
def report() -> None:
    """Sum the run up, keep the message and send it. A teardown of the DAG: it runs always and colours nothing."""
    context = get_current_context()
    run_id, dag_id, instance = context["run_id"], context["dag"].dag_id, context["ti"]
    states = instance.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
    try:
        _tell(dag_id, run_id, states, run_failed=states.get("publish") not in ("success", "skipped"))
    except Exception as error:
        if instance.try_number <= instance.max_tries:
            raise
        if isinstance(error, UnavailableError):
            log.exception("The message is kept: the next run's report or the watchdog sends it.")
            return
        send.post(run_id, _last_words(run_id, settings.run_url(dag_id, run_id), error))
        raise


def report_backstop(context: Any) -> None:
    """The DAG's on_failure_callback: says that the run failed where `report` itself could not."""
    run_id, dag_id = context["run_id"], context["dag"].dag_id
    with connect("greenery report") as connection:
        told = send.told(connection, run_id, "failed")
    if not told:
        _tell(dag_id, run_id, {}, run_failed=True)


def _last_words(run_id: str, run_url: str, error: Exception) -> dict[Audience, Message]:
    """What is said where the report itself can't be made. What the error says is for engineers: it names servers."""
    unreachable = isinstance(error, psycopg2.OperationalError) and error.pgcode is None
    say = render.unreachable if unreachable else render.unreported
    return {
        Audience.ENGINEERS: say(run_id, run_url, f"{type(error).__name__}: {error}"),
        Audience.STAKEHOLDERS: say(run_id, run_url, None),
    }


def _tell(dag_id: str, run_id: str, states: dict[str, str | None], *, run_failed: bool) -> None:
    let_go(run_id)  # first of all: what comes now reads no raw table
    project, problem = release_of(run_id), release.problem()
    notes = (render.unparsed(problem.message),) if problem else ()
    with connect("greenery report") as connection:
        store.settle_tasks(connection, run_id, {task: state for task, state in states.items() if task != "report"})
        connection.commit()
        summary = run_report.gather(
            connection,
            run_id,
            settings.run_url(dag_id, run_id),
            run_failed=run_failed,
            facts=read(project.manifest),
            notes=notes,
            health_url=settings.health_url("runs", run_id),
        )
        if summary.published:
            store.put_metrics(connection, run_id, summary.figures.metrics)
        store.forget_results(connection, settings.results_kept_for())
        if summary.order_changes is not None:
            store.told_changes(connection, run_id)  # for what is kept in the outbox arrives
        send.deliver(
            connection,
            run_id,
            {Audience.ENGINEERS: render.render(summary), Audience.STAKEHOLDERS: render.render_state(summary)},
        )
