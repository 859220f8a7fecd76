"""Whole days on a real scheduler: what is published, what people read, and what a fault leaves alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.daily import DAG_ID
from include.local.airflow_api import AirflowApiError
from tests.deployment import Day, Deployment

pytestmark = [pytest.mark.db, pytest.mark.stack]


def test_two_days_are_published_and_the_second_message_tells_what_changed(first_day: Day, second_day: Day) -> None:
    [first], [second] = first_day.runs, second_day.runs
    assert first.state == second.state == "success"
    assert set(second.task_states.values()) == {"success"}
    assert ["No order changed status" in message for message in first.messages] == [True]
    assert "went from preparing to shipped" in second.messages[0]
    assert "\n    Orders: " in second.messages[0], "a figure of the day, that its metric in dbt says to tell"
    assert [text[0] for text in first_day.told] == ["✅"]
    assert first_day.refused == second_day.refused == []
    marts = second_day.published
    assert all(marts[name] for name in ("dim_users", "fact_orders", "fact_product_sessions_daily", "daily_metrics"))
    assert marts != first_day.published


def test_a_run_observes_what_it_publishes(deployment: Deployment, second_day: Day) -> None:
    [run] = second_day.runs
    assert "could not be looked at" not in run.messages[0]
    deployment.come_to("second_day")
    observed = {
        measure
        for (measure,) in deployment.query(
            f"select distinct measure from ops.observations where run_id = '{run.run_id}'"
        )
    }
    assert observed >= {"rows", "hours", "midday", "loaded", "nulls", "distinct", "mean", "seconds"}
    assert deployment.query(
        "select value from ops.observations where unique_id = 'model.greenery.fact_orders' and measure = 'rows'"
        " order by day desc limit 1"
    ) == deployment.query("select count(*) from raw.orders")


def test_no_task_of_a_run_parses_or_loads_the_dbt_project(deployment: Deployment, second_day: Day) -> None:
    [run] = second_day.runs
    logs = deployment.task_logs(run.run_id)
    assert logs.keys() == run.task_states.keys()
    for task_id, log in logs.items():
        for sign in ("Loading release", "parsed anew", "partial parsing"):
            assert sign not in log, task_id


def models_of(tasks: Iterable[str]) -> list[str]:
    """The tasks of the models that are built ahead."""
    return sorted(task for task in tasks if task.startswith("transform."))


def test_a_model_that_was_built_ahead_needs_no_process_and_has_its_log_times_and_sql(
    deployment: Deployment, second_day: Day
) -> None:
    [run] = second_day.runs
    models, logs = models_of(run.task_states), deployment.task_logs(run.run_id)
    assert len(models) > 20
    told = {task: deployment.task(run.run_id, task) for task in models}
    # A worker's own, and not a fork's; on a busy machine one or the other waits in a fork.
    assert len({one["pid"] for one in told.values()}) < len(models) / 2
    for task, one in told.items():
        name = task.rsplit(".", 1)[-1].removesuffix("_model_build")
        assert "Built by the task build_ahead" in logs[task]
        assert f"model.greenery.{name}: success" in logs[task]
        assert one["rendered_fields"]["compiled_sql"].startswith(f"-- {name}\n"), "cut, where it is long"
        assert (one["state"], one["try_number"]) == ("success", 1)
        assert one["start_date"] < one["end_date"]


def test_a_model_that_failed_ahead_is_built_and_tried_again_by_its_own_task(
    deployment: Deployment, failed_day: Day
) -> None:
    [run] = failed_day.runs
    logs = deployment.task_logs(run.run_id)
    failed = sorted(task for task in models_of(logs) if run.task_states[task] == "failed")
    assert {task.rsplit(".", 1)[-1] for task in failed} == {"int_orders_model_build", "int_product_kinds_model_build"}
    by_itself = [task for task in models_of(logs) if "Built by the task build_ahead" not in logs[task]]
    assert by_itself == failed
    assert {deployment.task(run.run_id, task)["try_number"] for task in failed} == {2}
    assert run.task_states["build_ahead"] == "success"
    deployment.come_to("failed_day")
    tried = "select attempt from ops.node_results where run_id = '{}' and task_id = '{}' and resource_type = 'model'"
    for task in failed:
        assert deployment.query(tried.format(run.run_id, task) + " order by 1") == [(1,), (2,)]


def test_a_bot_shows_how_far_a_run_is_in_the_message_that_its_last_word_replaces(second_day: Day) -> None:
    assert second_day.said == ["✅ Greenery data is up to date"]
    assert second_day.replied == []
    assert second_day.told == [], "the webhook was told as well"
    assert second_day.calls.count("chat.postMessage") == 1
    assert second_day.calls.count("chat.update") >= 3


def test_failing_models_stop_what_is_downstream_keep_history_and_are_told(
    deployment: Deployment, first_day: Day, failed_day: Day
) -> None:
    [run] = failed_day.runs
    states = {task_id.rsplit(".", 1)[-1]: state for task_id, state in run.task_states.items()}
    assert run.state == "failed"
    assert states["int_orders_model_build"] == states["int_product_kinds_model_build"] == "failed"
    assert states["fact_orders_model_build"] == "upstream_failed"
    assert states["int_user_sessions_model_build"] == "success"
    assert states["snapshot"] == "success"
    assert states["cross_model_tests"] == "upstream_failed"
    assert states["publish"] == "upstream_failed"
    assert states["report"] == "success"
    assert failed_day.published == first_day.published
    deployment.come_to("failed_day")
    seen = "select order_id, status from snapshots.orders_snapshot where dbt_valid_to is null"
    assert deployment.query(f"select order_id, status from raw.orders except {seen}") == []


def test_a_failed_run_is_told_with_each_cause_and_its_sql(deployment: Deployment, failed_day: Day) -> None:
    [run] = failed_day.runs
    [message] = run.messages
    assert "Stakeholders still see the data as of" in message
    assert "went from preparing to shipped" in message, "the report did not wait for the snapshot"
    assert "int_orders_total_is_cost_plus_shipping_less_discount" in message
    assert "model int_product_kinds" in message
    assert "int_product_kinds can not be written" in message
    assert failed_day.told == [message.splitlines()[0]]
    [task_id] = (task_id for task_id in run.task_states if task_id.endswith(".int_orders_model_build"))
    sql = deployment.rendered_sql(run.run_id, task_id)
    assert "-- int_orders\n" in sql
    assert "-- int_orders_total_is_cost_plus_shipping_less_discount\n" in sql


def test_each_mart_says_how_far_it_can_be_trusted(deployment: Deployment, second_day: Day, failed_day: Day) -> None:
    assert second_day.published.keys() == failed_day.published.keys()
    deployment.come_to("second_day")
    said = deployment.query(
        "select mart, tests_passed > 0, tests_let_through, complete_to = as_of::date - 1, held_since"
        " from analytics.trust order by mart"
    )
    assert said == [(mart, True, 0, True, None) for mart in sorted(second_day.published)]
    deployment.come_to("failed_day")
    [(why, still)] = deployment.query("select distinct held_why, held_since > published_at from analytics.trust")
    assert why.startswith(("failed: model ", "failed: test "))
    assert still


def test_the_tasks_of_a_run_are_all_told_where_airflow_tells_of_a_few_at_a_time(
    deployment: Deployment, first_day: Day
) -> None:
    """It gives a hundred at most, which a project of a hundred models exceeds."""
    [run] = first_day.runs
    by_tens = replace(deployment.api, page=10)
    assert 10 < len(run.task_states) < deployment.api.page
    assert by_tens.task_states(DAG_ID, run.run_id).keys() == run.task_states.keys()


def test_a_dag_that_was_read_before_is_waited_for_until_its_file_is_read_again(
    deployment: Deployment, second_day: Day
) -> None:
    """`make bench` puts another project's DAG of the same name there."""
    now = datetime.now(UTC)
    deployment.api.wait_for_dag(DAG_ID, limit_seconds=0, since=now - timedelta(days=1))
    with pytest.raises(AirflowApiError, match=f"has not read {DAG_ID}"):
        deployment.api.wait_for_dag(DAG_ID, limit_seconds=0, since=now + timedelta(days=1))
