"""The DAG with which people decide: it never runs by itself, and its form wants a reason."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from include.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def dag() -> DAG:
    """The DAG."""
    bag = DagBag(dag_folder=str(PROJECT_ROOT / "dags" / "greenery_by_hand.py"))
    assert bag.import_errors == {}
    return bag.dags["greenery_by_hand"]


def test_it_runs_when_somebody_says_so_alone(dag: DAG) -> None:
    assert dag.schedule is None
    assert all(task.retries == 0 for task in dag.tasks)


def test_the_form_takes_no_decision_without_a_reason_and_asks_nobody_who_they_are(dag: DAG) -> None:
    assert dag.params.keys() == {"action", "reason", "run_id", "user_id"}
    assert dag.params.get_param("reason").resolve("revenue is wrong") == "revenue is wrong"
    with pytest.raises(ParamValidationError):
        dag.params.get_param("reason").resolve("")


def test_the_form_offers_what_can_be_decided(dag: DAG) -> None:
    assert dag.params.get_param("action").schema["enum"] == ["roll back", "publish", "hold", "release", "erase"]
