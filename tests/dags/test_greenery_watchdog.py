"""The shape of the watchdog: it asks often, once at a time, and makes up for nothing."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def dag() -> DAG:
    """The DAG."""
    bag = DagBag(dag_folder=str(PROJECT_ROOT / "dags" / "greenery_watchdog.py"))
    assert bag.import_errors == {}
    return bag.dags["greenery_watchdog"]


def test_it_asks_every_few_minutes_once_at_a_time(dag: DAG) -> None:
    assert dag.schedule == "*/5 * * * *"
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_it_is_one_task_that_the_next_tick_repeats(dag: DAG) -> None:
    [task] = dag.tasks
    assert (task.task_id, task.retries) == ("watch", 0)


def test_it_hangs_no_longer_than_two_ticks(dag: DAG) -> None:
    assert dag.dagrun_timeout.total_seconds() <= 600
