"""The last word of a run: its one Slack message, whatever became of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.sdk import task

from include import settings
from include.dbt_project import release
from include.dbt_project.manifest import read
from include.results import report as run_report
from include.results import store
from include.slack import render, send
from include.warehouse import connect


@task(task_id="report", retries=3, retry_delay=10)
def report() -> None:
    """Sum the run up, keep the message and send it. A teardown of the DAG: it runs always and colours nothing."""
    from airflow.sdk import get_current_context

    context = get_current_context()
    run_id, dag_id = context["run_id"], context["dag"].dag_id
    states = context["ti"].get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
    _send(dag_id, run_id, states)


def report_backstop(context: Any) -> None:
    """The DAG's on_failure_callback: says that the run failed where `report` itself could not."""
    run_id, dag_id = context["run_id"], context["dag"].dag_id
    with connect("greenery report") as connection, connection.cursor() as cursor:
        # Without a problem it was sent, or there is no Slack to send it to.
        cursor.execute("select 1 from ops.messages where run_id = %s and problem is null", (run_id,))
        if cursor.fetchone():
            return
    _send(dag_id, run_id, {})


def _send(dag_id: str, run_id: str, states: dict[str, str | None]) -> None:
    url = f"{settings.airflow_url()}/dags/{dag_id}/runs/{quote(run_id, safe='')}"
    project, problem = release.current(), release.problem()
    notes = ("the dbt project as it is now does not parse; this run used the last release that did",) if problem else ()
    with connect("greenery report") as connection:
        if store.run(connection, run_id) is None:  # it broke before check_sources could begin
            store.begin(connection, run_id, project.stamp if project else "")
        tests = frozenset(test.unique_id for test in read(project.manifest).data_tests) if project else frozenset()
        summary = run_report.gather(connection, run_id, url, states, tests, notes)
        store.put_metrics(connection, run_id, {"repeat_rate": summary.repeat_rate})
        connection.commit()
        send.deliver(connection, run_id, render.render(summary))
