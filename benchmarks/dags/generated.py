"""A generated dbt project of `BENCH_PROJECT`'s size as `greenery_daily` draws and runs its models."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, get_current_context, task

from include.daily import DAG_ID, admission, ahead, buffers, task_groups
from include.warehouse import connect

with DAG(dag_id=DAG_ID, schedule=None, default_args={"retries": 0}, params={"ahead": True}):

    @task
    def begin() -> None:
        """What `check_sources` does before anything is built. Without `ahead` each task builds for itself."""
        context: Any = get_current_context()
        admission.admit(context, builds=False)
        with connect("greenery bench") as connection:
            buffers.begin(connection, context["run_id"])
        if not context["params"]["ahead"]:
            with ahead.building(context["run_id"]):
                pass  # as if that was tried and ended early

    project = admission.current_release()
    begun = begin()
    begun >> task_groups.transform(project)
    # A run fails where one of its last tasks does.
    begun >> task_groups.build_ahead(project) >> EmptyOperator(task_id="end", trigger_rule="all_done")
