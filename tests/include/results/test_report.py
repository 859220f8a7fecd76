"""A run summed up: what is told is what happened to it as it is now, and nothing is silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg2.extensions import connection as Connection

from include.results import publications, store
from include.results.nodes import NodeResult
from include.results.report import Report, gather
from include.warehouse import migrate

pytestmark = pytest.mark.db

PASSED = NodeResult("test.t", "test", "t", "pass", "error", 0, "", 0.1, None)
FAILED = replace(PASSED, unique_id="test.f", name="f", status="fail", message="Got 1 result", failing_rows=[{"k": "a"}])


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops` and one run that began."""
    migrate.upgrade()
    store.begin(db, "run", "release")
    return db


def summed_up(ops: Connection, *results: NodeResult, failed: bool = False, states: dict | None = None) -> Report:
    store.record(ops, "run", "task", 1, list(results))
    expected = frozenset({"test.t", "test.f", "test.never"})
    store.settle_tasks(ops, "run", states or {})
    return gather(ops, "run", "url", run_failed=failed, expected_tests=expected)


def test_tests_are_counted_and_those_that_never_ran_are_skipped(ops: Connection) -> None:
    report = summed_up(ops, PASSED, FAILED, failed=True)
    assert (report.passed, report.warned, report.failed, report.skipped) == (1, 0, 1, 1)


def test_a_failure_is_told_with_its_rows(ops: Connection) -> None:
    [failure] = summed_up(ops, FAILED, failed=True).failures
    assert (failure.name, failure.message, failure.rows) == ("f", "Got 1 result", ({"k": "a"},))


def test_a_stale_table_counts_as_a_test(ops: Connection) -> None:
    stale = replace(PASSED, unique_id="freshness.s", resource_type="freshness", status="warn", message="30 hours ago")
    report = summed_up(ops, stale)
    assert (report.warned, len(report.warnings)) == (1, 1)


def test_a_task_that_died_without_a_word_from_dbt_is_told(ops: Connection) -> None:
    report = summed_up(ops, PASSED, failed=True, states={"snapshot": "failed"})
    assert [(one.kind, one.name) for one in report.failures] == [("task", "snapshot")]


def test_a_task_whose_failure_dbt_explained_is_not_told_twice(ops: Connection) -> None:
    report = summed_up(ops, FAILED, failed=True, states={"task": "failed"})
    assert [one.kind for one in report.failures] == ["test"]


def test_a_publish_that_refused_is_told(ops: Connection) -> None:
    report = summed_up(ops, PASSED, failed=True, states={"publish": "failed"})
    assert [one.name for one in report.failures] == ["publish"]


def test_a_published_run_that_is_cleared_and_fails_is_no_success(ops: Connection) -> None:
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
    assert summed_up(ops, PASSED).published
    assert not summed_up(ops, FAILED, failed=True).published


def test_a_run_that_others_have_overtaken_does_not_say_that_its_data_is_what_people_see(ops: Connection) -> None:
    store.begin(ops, "later", "release")
    with ops.cursor() as cursor:
        for run_id in ("run", "later"):
            publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
    report = summed_up(ops, PASSED)
    assert (report.published, report.overtaken, report.kind) == (False, True, "overtaken")


def test_without_a_snapshot_nothing_is_said_of_changes(ops: Connection) -> None:
    assert summed_up(ops, PASSED).order_changes is None


def test_before_the_first_publish_there_is_no_repeat_rate(ops: Connection) -> None:
    assert summed_up(ops, PASSED).repeat_rate is None


def test_the_repeat_rate_is_that_of_what_people_query(ops: Connection) -> None:
    with ops.cursor() as cursor:
        cursor.execute("create table analytics.dim_users as select unnest(array[0, 1, 2, 3, 2]) as orders")
    report = summed_up(ops, PASSED)
    assert (report.repeat_buyers, report.buyers, report.repeat_rate) == (3, 4, 0.75)
