"""A run's last word on each node, as the report and the gate read it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.results import node_results, publications, runs
from include.results.nodes import NodeResult
from include.warehouse import migrate

pytestmark = pytest.mark.db


def result(status: str, unique_id: str = "test.t", resource_type: str = "test") -> NodeResult:
    return NodeResult(unique_id, resource_type, "t", status, "error", 0, "", 0.1, None)


def test_migrating_twice_changes_nothing(ops: Connection) -> None:
    migrate.upgrade()
    assert runs.find(ops, "run") is not None


def test_a_retry_has_the_last_word(ops: Connection) -> None:
    node_results.record(ops, "run", "task", 1, [result("fail")])
    node_results.record(ops, "run", "task", 2, [result("pass")])
    assert [one.status for one in node_results.of_run(ops, "run")] == ["pass"]
    node_results.record(ops, "run", "task", 1, [result("fail")])  # frozen, given up and awake again
    assert [one.status for one in node_results.of_run(ops, "run")] == ["pass"]


def test_a_later_task_has_the_last_word(ops: Connection) -> None:
    node_results.record(ops, "run", "check_sources", 1, [result("pass")])
    node_results.record(ops, "run", "snapshot", 1, [result("fail")])
    assert [one.status for one in node_results.of_run(ops, "run")] == ["fail"]


def test_another_runs_results_are_its_own(ops: Connection) -> None:
    runs.begin(ops, "other", "release")
    node_results.record(ops, "other", "task", 1, [result("pass")])
    assert node_results.of_run(ops, "run") == []


def test_who_built_a_model_last_is_known_over_all_runs(ops: Connection) -> None:
    runs.begin(ops, "later", "release")
    node_results.record(ops, "run", "task", 1, [result("success", "model.m", "model")])
    node_results.record(ops, "later", "task", 1, [result("success", "model.m", "model")])
    assert {model: run_id for model, (run_id, _) in node_results.newest_builds(ops, None).items()} == {
        "model.m": "later"
    }
    assert node_results.newest_builds(ops, datetime.now(UTC)) == {}
    node_results.record(ops, "run", "task", 2, [result("error", "model.m", "model")])
    assert node_results.newest_builds(ops, None) == {}, "a model that failed last is nobody's"


def test_results_are_forgotten_after_their_time_and_runs_are_not(ops: Connection) -> None:
    node_results.record(ops, "run", "task", 1, [result("pass", "test.old"), result("pass", "test.new")])
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.node_results set recorded_at = now() - interval '401 days' where unique_id = 'test.old'"
        )
    assert node_results.forget(ops, timedelta(days=400), timedelta(days=90)) == 1
    assert [one.unique_id for one in node_results.of_run(ops, "run")] == ["test.new"]
    assert runs.find(ops, "run") is not None


def test_what_people_query_and_a_rollback_keep_their_results_however_long_nothing_was_published(
    ops: Connection,
) -> None:
    published = ("two before", "before", "live")
    for run_id in (*published, "failed"):
        runs.begin(ops, run_id, "release")
        node_results.record(ops, run_id, "task", 1, [result("warn", f"test.{run_id}")])
    with ops.cursor() as cursor:
        for run_id in published:
            publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
        cursor.execute("update ops.node_results set recorded_at = now() - interval '401 days'")
        node_results.forget(ops, timedelta(days=400), timedelta(days=90))
        cursor.execute("select run_id from ops.node_results order by 1")
        assert cursor.fetchall() == [("before",), ("live",)]


def test_sampled_rows_are_forgotten_sooner_than_the_result(ops: Connection) -> None:
    sampled = [replace(result("fail", name), failing_rows=[{"id": "a"}]) for name in ("test.old", "test.new")]
    node_results.record(ops, "run", "task", 1, sampled)
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.node_results set recorded_at = now() - interval '91 days' where unique_id = 'test.old'"
        )
    assert node_results.forget(ops, timedelta(days=400), timedelta(days=90)) == 0
    assert [one.failing_rows for one in node_results.of_run(ops, "run")] == [[], [{"id": "a"}]]


def test_a_reason_is_taken_back_by_a_later_attempt_that_got_to_run_dbt(ops: Connection) -> None:
    node_results.record_task(ops, "run", "build", 1, "the lease was held")
    node_results.record(ops, "run", "build", 2, [result("fail")])
    node_results.settle_tasks(ops, "run", {"build": "failed"})
    words = {one.unique_id: one.status for one in node_results.of_run(ops, "run")}
    assert words == {"task.build": "success", "test.t": "fail"}
