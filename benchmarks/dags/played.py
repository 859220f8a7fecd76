"""Runs by the thousand: as many tasks as the daily DAG has, without a worker, and tasks on workers that do nothing."""

from __future__ import annotations

import os

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, cross_downstream, task

AT_ONCE = 16
WIDE, LONG = map(int, os.environ["BENCH_TASKS"].split())

with DAG(dag_id="without_workers", schedule=None, max_active_runs=AT_ONCE):
    before: list[EmptyOperator] = []
    for layer in range(LONG):
        now = [EmptyOperator(task_id=f"layer_{layer}_{number}") for number in range(WIDE)]
        if before:
            cross_downstream(before, now)
        before = now

with DAG(dag_id="on_workers", schedule=None, max_active_runs=AT_ONCE):

    @task
    def nothing() -> None:
        """Only what Airflow does for a task."""

    for number in range(WIDE):
        nothing.override(task_id=f"nothing_{number}")()
