"""Whole days on a real scheduler: what is published, what people read, and what a fault leaves alone."""

from __future__ import annotations

import time

import pytest

from tests.deployment import Deployment

pytestmark = [pytest.mark.db, pytest.mark.stack]


def test_two_days_are_published_and_the_second_message_tells_what_changed(deployment: Deployment) -> None:
    deployment.play_day()
    first = deployment.run()
    deployment.play_day()
    second = deployment.run()

    assert [first.state, second.state] == ["success", "success"]
    assert set(second.task_states.values()) == {"success"}
    assert "No order changed status" in first.messages[0]
    assert "went from preparing to shipped" in second.messages[0]
    assert [message["text"][0] for message in deployment.slack.accepted] == ["✅", "✅"]
    assert deployment.slack.refused == []
    marts = deployment.published()
    assert all(marts[name] for name in ("dim_users", "fact_orders", "fact_product_sessions_daily", "daily_metrics"))


def test_no_task_of_a_run_parses_or_loads_the_dbt_project(deployment: Deployment) -> None:
    deployment.play_day()
    outcome = deployment.run()
    logs = deployment.task_logs(outcome.run_id)
    assert logs.keys() == outcome.task_states.keys()
    for task_id, log in logs.items():
        for sign in ("Loading release", "parsed anew", "partial parsing"):
            assert sign not in log, task_id


def test_a_bot_shows_how_far_a_run_is_in_the_message_that_its_last_word_replaces(deployment: Deployment) -> None:
    deployment.play_day()
    with deployment.bot():
        outcome = deployment.run()
    assert outcome.state == "success"
    assert deployment.slack.said() == ["✅ Greenery data is up to date"]
    assert deployment.slack.accepted == [], "the webhook was told as well"
    assert deployment.slack.calls.count("chat.postMessage") == 1
    assert deployment.slack.calls.count("chat.update") >= 3


def test_a_failing_model_stops_what_is_downstream_keeps_history_and_is_told(deployment: Deployment) -> None:
    deployment.play_day()
    deployment.query(
        "update raw.orders set order_total = order_total + 1 where order_id = (select min(order_id) from raw.orders)"
    )
    outcome = deployment.run()

    states = {task_id.rsplit(".", 1)[-1]: state for task_id, state in outcome.task_states.items()}
    assert outcome.state == "failed"
    assert states["int_orders_model_build"] == "failed"
    assert states["fact_orders_model_build"] == "upstream_failed"
    assert states["int_user_sessions_model_build"] == "success"
    assert states["snapshot"] == "success"
    assert states["cross_model_tests"] == "upstream_failed"
    assert states["publish"] == "upstream_failed"
    assert states["report"] == "success"
    assert deployment.query("select count(*) = (select count(*) from raw.orders) from snapshots.orders_snapshot") == [
        (True,)
    ]
    [message] = outcome.messages
    assert "Nothing has been published yet." in message
    assert "No order changed status since the last run." in message, "the report did not wait for the snapshot"
    assert "int_orders_total_is_cost_plus_shipping_less_discount" in message
    assert [one["text"] for one in deployment.slack.accepted] == [message.splitlines()[0]]
    [task_id] = (task_id for task_id in outcome.task_states if task_id.endswith(".int_orders_model_build"))
    sql = deployment.rendered_sql(outcome.run_id, task_id)
    assert "-- int_orders\n" in sql
    assert "-- int_orders_total_is_cost_plus_shipping_less_discount\n" in sql


def test_a_new_model_shows_up_without_a_restart(deployment: Deployment) -> None:
    model = deployment.dbt_project / "models/marts/core/orders_by_day.sql"
    model.write_text(
        "{{ config(contract={'enforced': false}) }}\n"
        "select ordered_at, count(*) as orders from {{ ref('fact_orders') }} group by 1"
    )
    try:
        wait_until_drawn(deployment, "orders_by_day", drawn=True)
    finally:
        model.unlink()
    wait_until_drawn(deployment, "orders_by_day", drawn=False)


def wait_until_drawn(deployment: Deployment, model: str, *, drawn: bool) -> None:
    """Wait until a new model of core is a task, or one that is gone is none any more."""
    end = time.monotonic() + 60
    task_id = f"transform.models.marts.core.{model}_model_build"
    while (task_id in deployment.api.tasks("greenery_daily")) is not drawn:
        assert time.monotonic() < end, f"{model} was not {'drawn' if drawn else 'taken away'} within a minute"
        time.sleep(1)
