"""A dbt project that changes under a running Airflow: what it draws follows."""

from __future__ import annotations

import time

import pytest

from tests.deployment import Deployment

pytestmark = [pytest.mark.db, pytest.mark.stack]


def test_a_new_model_shows_up_without_a_restart(deployment: Deployment) -> None:
    deployment.look_at_files_as_usual()
    model = deployment.dbt_project / "models/marts/core/orders_by_day.sql"
    model.write_text(
        "{{ config(contract={'enforced': false}) }}\n"
        "select ordered_at, count(*) as orders from {{ ref('fact_orders') }} group by 1"
    )
    try:
        wait_until_drawn(deployment, "orders_by_day", drawn=True)
    finally:
        model.unlink()
    deployment.read_again()
    wait_until_drawn(deployment, "orders_by_day", drawn=False)


def wait_until_drawn(deployment: Deployment, model: str, *, drawn: bool) -> None:
    """Wait until a new model of core is a task, or one that is gone is none any more."""
    end = time.monotonic() + 60
    task_id = f"transform.models.marts.core.{model}_model_build"
    while (task_id in deployment.api.tasks("greenery_daily")) is not drawn:
        assert time.monotonic() < end, f"{model} was not {'drawn' if drawn else 'taken away'} within a minute"
        time.sleep(1)
