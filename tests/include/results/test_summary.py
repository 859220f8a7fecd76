"""A run summed up: what is told is what happened to it as it is now, and nothing is silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import node_results, publications, runs
from include.results.nodes import NodeResult
from include.results.summary import Summary, gather
from tests.include.results.project import FACTS, MODELS

pytestmark = pytest.mark.db

PASSED = NodeResult("test.t", "test", "t", "pass", "error", 0, "", 0.1, None)
FAILED = replace(PASSED, unique_id="test.f", name="f", status="fail", message="Got 1 result", failing_rows=[{"k": "a"}])
DOUBLED = replace(
    FAILED, unique_id="test.p.orders_unique", name="orders_unique", failures=1, failing_rows=[{"unique_field": "a"}]
)


def node(unique_id: str, status: str = "success") -> NodeResult:
    return NodeResult(unique_id, unique_id.split(".")[0], unique_id.split(".")[-1], status, None, None, "", 0.1, 1)


BUILT = [node(model) for model in MODELS]


def summed_up(
    ops: Connection, *results: NodeResult, failed: bool = False, states: dict | None = None, facts: Manifest = FACTS
) -> Summary:
    node_results.record(ops, "run", "check sources", 1, list(results))
    node_results.settle_tasks(ops, "run", states or {})
    return gather(ops, "run", "url", run_failed=failed, facts=facts)


def publish(ops: Connection, run_id: str, days_ago: int = 0) -> None:
    with ops.cursor() as cursor:
        made, _ = publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
        ago = "clock_timestamp() - make_interval(days => %s)"
        cursor.execute(
            f"update ops.publications set published_at = at, data_as_of = at from (select {ago} as at) as moment"
            " where publication_id = %s",
            (days_ago, made),
        )


def earlier(ops: Connection, run_id: str, days_ago: int, *results: NodeResult) -> None:
    """A run that began so many days ago."""
    runs.begin(ops, run_id, "release")
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.runs set started_at = now() - make_interval(days => %s) where run_id = %s", (days_ago, run_id)
        )
    node_results.record(ops, run_id, "task", 1, list(results))


def test_tests_are_counted_and_those_that_never_ran_are_skipped(ops: Connection) -> None:
    tests = {unique_id: one for unique_id, one in FACTS.nodes.items() if one["resource_type"] == "test"}
    three = dict(list(tests.items())[:3])
    passed, failed, _ = (replace(PASSED, unique_id=unique_id) for unique_id in three)
    facts = replace(FACTS, nodes=three)
    report = summed_up(ops, passed, replace(failed, status="fail"), failed=True, facts=facts)
    assert (report.passed, report.warned, report.failed, report.skipped) == (1, 0, 1, 1)


def test_a_failure_is_told_with_its_rows(ops: Connection) -> None:
    [failure] = summed_up(ops, FAILED, failed=True).failures
    assert (failure.name, failure.measured, failure.rows) == ("f", "Got 1 result", ({"k": "a"},))


def test_what_the_run_found_unusual_is_told_though_it_failed(ops: Connection) -> None:
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.unusual"
            " (run_id, unique_id, measure, day, value, expected, least, most, score, since, learned_from)"
            " values ('run', 'source.p.shop.orders', 'rows', '2026-11-23', 12, 40, 31, 48, 2, '2026-11-23', 60)"
        )
    assert [one.title for one in summed_up(ops, FAILED, failed=True).unusual] == ["rows of raw.orders"]
    earlier(ops, "another run", 1, PASSED)
    assert gather(ops, "another run", "url", run_failed=False, facts=FACTS).unusual == ()


def test_a_broken_source_is_told_once_with_all_that_it_held_up(ops: Connection) -> None:
    report = summed_up(ops, DOUBLED, failed=True)
    [root] = report.roots
    assert (root.name, root.not_built) == ("raw.orders", ("stg_orders", "fact_orders", "dim_users"))
    assert report.not_built == ("stg_users",), "it is behind no broken table, and was not built either"
    assert root.log_url == "url/tasks/check%20sources"


def test_a_run_that_built_everything_left_nothing_unbuilt(ops: Connection) -> None:
    assert summed_up(ops, *BUILT, failed=True).not_built == ()


def test_a_failure_of_yesterday_is_known_and_one_of_before_is_fixed(ops: Connection) -> None:
    earlier(ops, "yesterday", 1, DOUBLED, replace(FAILED, unique_id="test.p.dim_unique", resource_type="test"))
    report = summed_up(ops, DOUBLED, replace(PASSED, unique_id="test.p.dim_unique", name="dim_unique"), failed=True)
    [failure] = report.failures
    assert (failure.days, report.roots[0].known) == (1, True)
    assert report.fixed == ("unique on dim_users.user_id",)


def test_a_publish_after_failed_runs_is_a_recovery_and_the_next_is_none(ops: Connection) -> None:
    earlier(ops, "before", 3)
    publish(ops, "before", 3)
    earlier(ops, "yesterday", 1, DOUBLED)
    publish(ops, "run")
    report = summed_up(ops, *BUILT, replace(DOUBLED, status="pass"))
    assert report.resolved is not None
    assert (report.resolved.after.days, report.resolved.failed) == (1, ("unique on raw.orders.order_id",))
    runs.begin(ops, "next", "release")
    publish(ops, "next")
    assert gather(ops, "next", "url", run_failed=False, facts=FACTS).resolved is None


def test_what_somebody_published_by_hand_is_no_recovery(ops: Connection) -> None:
    earlier(ops, "yesterday", 1, DOUBLED)
    decision = publications.decide(ops, publications.PUBLISH, "run", "ada", "it is only a test")
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=decision, notes=[])
    assert summed_up(ops, DOUBLED).resolved is None


def test_it_took_until_its_last_word_however_often_it_is_summed_up(ops: Connection) -> None:
    first = summed_up(ops, PASSED)
    assert first.took is not None
    assert first.took.total_seconds() > 0
    assert gather(ops, "run", "url", run_failed=False, facts=FACTS) == first


def test_a_stale_table_counts_as_a_test(ops: Connection) -> None:
    stale = replace(PASSED, unique_id="freshness.s", resource_type="freshness", status="warn", message="30 hours ago")
    report = summed_up(ops, stale)
    assert (report.warned, len(report.warnings)) == (1, 1)


def test_a_task_that_died_without_a_word_from_dbt_is_told(ops: Connection) -> None:
    report = summed_up(ops, PASSED, failed=True, states={"snapshot": "failed"})
    assert [(one.kind, one.name) for one in report.failures] == [("task", "snapshot")]
    assert report.roots[0].log_url == "url/tasks/snapshot"


def test_a_task_whose_failure_dbt_explained_is_not_told_twice(ops: Connection) -> None:
    report = summed_up(ops, FAILED, failed=True, states={"check sources": "failed"})
    assert [one.kind for one in report.failures] == ["test"]


def test_a_publish_that_refused_is_told(ops: Connection) -> None:
    report = summed_up(ops, PASSED, failed=True, states={"publish": "failed"})
    assert [one.name for one in report.failures] == ["publish"]


def test_a_published_run_that_is_cleared_and_fails_is_no_success(ops: Connection) -> None:
    publish(ops, "run")
    assert summed_up(ops, PASSED).published
    assert not summed_up(ops, FAILED, failed=True).published


def test_a_run_that_others_have_overtaken_does_not_say_that_its_data_is_what_people_see(ops: Connection) -> None:
    runs.begin(ops, "later", "release")
    for run_id in ("run", "later"):
        publish(ops, run_id)
    report = summed_up(ops, PASSED)
    assert (report.published, report.overtaken, report.kind) == (False, True, "overtaken")


def test_without_a_snapshot_nothing_is_said_of_changes(ops: Connection) -> None:
    assert summed_up(ops, PASSED).order_changes is None


def test_orders_that_changed_come_without_their_tracking_number(ops: Connection) -> None:
    with ops.cursor() as cursor:
        cursor.execute(
            """
            create table snapshots.orders_snapshot as
            select
                'a' as order_id,
                unnest(array['preparing', 'shipped']) as status,
                unnest(array[null, 'track a']) as tracking_id,
                unnest(array[moment - interval '1 day', moment]) as dbt_valid_from,
                unnest(array[moment, null]) as dbt_valid_to
            from (select clock_timestamp() at time zone 'UTC' as moment) as now
            """
        )
    changes = summed_up(ops, node("snapshot.p.orders_snapshot")).order_changes
    assert changes is not None
    assert (changes[0].count, changes[0].first) == (1, ("a",))


def test_another_snapshot_of_that_name_tells_of_no_orders(ops: Connection) -> None:
    with ops.cursor() as cursor:
        cursor.execute("create table snapshots.orders_snapshot as select 1 as id, now() as dbt_valid_from")
    assert summed_up(ops, node("snapshot.p.orders_snapshot")).order_changes is None


def test_before_the_first_publish_there_are_no_figures(ops: Connection) -> None:
    assert summed_up(ops, PASSED).figures.stated == ()


def test_what_a_retry_mended_was_never_resolved(ops: Connection) -> None:
    earlier(ops, "before", 3)
    publish(ops, "before", 3)
    earlier(ops, "yesterday", 1, DOUBLED, node("model.p.orders", "error"))
    node_results.record(ops, "yesterday", "task", 2, [node("model.p.orders")])
    publish(ops, "run")
    resolved = summed_up(ops, *BUILT, replace(DOUBLED, status="pass")).resolved
    assert resolved is not None
    assert resolved.failed == ("unique on raw.orders.order_id",)


def test_what_failed_and_warns_now_is_not_fixed(ops: Connection) -> None:
    earlier(ops, "yesterday", 1, DOUBLED)
    report = summed_up(ops, replace(DOUBLED, status="warn"))
    assert report.fixed == ()
