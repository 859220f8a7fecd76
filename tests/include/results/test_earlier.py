"""What is known since when, what is well again, and how long there was no publish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.results import earlier, node_results, publications, runs
from include.results.failures import BROKEN
from include.results.nodes import NodeResult
from tests.include.results.test_node_results import result

pytestmark = pytest.mark.db


def begin(ops: Connection, run_id: str, days_ago: int, *results: NodeResult) -> None:
    """A run that began so many days ago."""
    runs.begin(ops, run_id, "release")
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.runs set started_at = now() - make_interval(days => %s) where run_id = %s", (days_ago, run_id)
        )
    node_results.record(ops, run_id, "task", 1, list(results))
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.node_results set recorded_at = now() - make_interval(days => %s) where run_id = %s",
            (days_ago, run_id),
        )


def ages(ops: Connection, *unique_ids: str, bad: tuple[str, ...] = BROKEN) -> dict[str, int]:
    """Days since, by unique id, as the run `run` of today sees it."""
    return {
        unique_id: round((datetime.now(UTC) - at).total_seconds() / 86_400)
        for unique_id, at in earlier.since(ops, "run", unique_ids, bad=bad).items()
    }


def test_what_passed_last_or_was_never_seen_is_new(ops: Connection) -> None:
    begin(ops, "day 3", 3, result("fail"))
    begin(ops, "day 2", 2, result("pass"))
    begin(ops, "day 1", 1, result("skipped"))
    assert ages(ops, "test.t", "test.never") == {}


def test_what_failed_before_is_known_since_it_last_passed(ops: Connection) -> None:
    begin(ops, "day 5", 5, result("fail"))
    begin(ops, "day 4", 4, result("pass"))
    begin(ops, "day 3", 3, result("error"))
    begin(ops, "day 2", 2, result("skipped"))
    begin(ops, "day 1", 1)
    assert ages(ops, "test.t") == {"test.t": 3}


def test_a_runs_last_word_decides_whether_it_passed(ops: Connection) -> None:
    begin(ops, "day 1", 1, result("fail"))
    node_results.record(ops, "day 1", "task", 2, [result("pass")])
    assert ages(ops, "test.t") == {}


def test_a_warning_is_no_failure_and_a_failure_is_as_bad_as_a_warning(ops: Connection) -> None:
    begin(ops, "day 2", 2, result("fail"))
    begin(ops, "day 1", 1, result("warn"))
    assert ages(ops, "test.t") == {}
    assert ages(ops, "test.t", bad=("warn", *BROKEN)) == {"test.t": 2}


def test_a_task_that_left_no_result_did_its_work(ops: Connection) -> None:
    begin(ops, "day 3", 3, result("error", "task.snapshot", "task"))
    begin(ops, "day 2", 2)
    assert ages(ops, "task.snapshot") == {}
    begin(ops, "day 1", 1, result("error", "task.snapshot", "task"))
    assert ages(ops, "task.snapshot") == {"task.snapshot": 1}


def test_what_a_later_run_found_is_no_history(ops: Connection) -> None:
    begin(ops, "tomorrow", -1, result("fail"))
    assert ages(ops, "test.t") == {}


def test_what_failed_last_and_passes_now_is_fixed(ops: Connection) -> None:
    begin(ops, "day 2", 2, result("fail"), result("fail", "test.again"), result("pass", "test.fine"))
    begin(ops, "day 1", 1, result("skipped"))
    node_results.record(
        ops, "run", "task", 1, [result("pass"), result("fail", "test.again"), result("pass", "test.fine")]
    )
    assert [one.unique_id for one in earlier.fixed(ops, "run")] == ["test.t"]


def publish(ops: Connection, run_id: str, days_ago: int) -> None:
    with ops.cursor() as cursor:
        publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
        cursor.execute(
            "update ops.publications set published_at = now() - make_interval(days => %(days)s),"
            " data_as_of = now() - make_interval(days => %(days)s) where run_id = %(run)s",
            {"days": days_ago, "run": run_id},
        )


def test_a_publish_after_failed_runs_says_how_long_there_was_none_and_why(ops: Connection) -> None:
    begin(ops, "day 5", 5, result("fail", "test.long_ago"))
    begin(ops, "day 3", 3)
    publish(ops, "day 3", 3)
    begin(ops, "day 2", 2, result("fail"), result("pass", "test.fine"))
    begin(ops, "day 1", 1, result("error", "model.m", "model"))
    publish(ops, "run", 0)
    recovery = earlier.recovery(ops, "run")
    assert recovery is not None
    assert round(recovery.after.total_seconds() / 86_400) == 2
    assert [one.unique_id for one in recovery.failed] == ["test.t", "model.m"]


def test_a_publish_after_a_publish_ended_nothing(ops: Connection) -> None:
    begin(ops, "day 2", 2, result("fail"))
    begin(ops, "day 1", 1)
    publish(ops, "day 1", 1)
    publish(ops, "run", 0)
    assert earlier.recovery(ops, "run") is None


def test_a_run_that_had_said_that_it_failed_ends_its_own_failure(ops: Connection) -> None:
    node_results.record(ops, "run", "task", 1, [result("fail")])
    node_results.record(ops, "run", "task", 2, [result("pass")])
    publish(ops, "run", 0)
    assert earlier.recovery(ops, "run") is None, "a retry is no recovery: nobody was told that it had failed"
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.messages (run_id, kind, headline, body, blocks) values ('run', 'failed', '', '', '[]')"
        )
    recovery = earlier.recovery(ops, "run")
    assert recovery is not None
    assert [one.unique_id for one in recovery.failed] == ["test.t"]


def said(ops: Connection, kind: str) -> None:
    """The run `run` has told what became of it."""
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.messages (run_id, kind, headline, body, blocks, number, created_at)"
            " select 'run', %s, '', '', '[]', count(*) + 1, clock_timestamp() from ops.messages",
            (kind,),
        )


def test_a_run_that_was_published_by_hand_and_is_mended_ends_no_days_without_and_what_failed_is_fixed(
    ops: Connection,
) -> None:
    node_results.record(ops, "run", "task", 1, [result("fail")])
    said(ops, "failed")
    publish(ops, "run", 0)
    node_results.record(ops, "run", "task", 2, [result("pass")])
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
    for _ in range(2):
        assert earlier.recovery(ops, "run") is None
        assert [one.unique_id for one in earlier.fixed(ops, "run")] == ["test.t"]
        said(ops, "published")  # and again, as where its report is tried again


def test_a_retry_that_passes_has_fixed_nothing_that_was_told(ops: Connection) -> None:
    node_results.record(ops, "run", "task", 1, [result("fail")])
    node_results.record(ops, "run", "task", 2, [result("pass")])
    said(ops, "published")
    node_results.record(ops, "run", "task", 3, [result("pass")])
    assert earlier.fixed(ops, "run") == []


def test_a_published_run_that_failed_when_it_was_cleared_is_ended_by_the_next(ops: Connection) -> None:
    begin(ops, "day 3", 3)
    publish(ops, "day 3", 2)
    runs.note_begun(ops, "day 3", datetime.now(UTC) - timedelta(days=1))
    node_results.record(ops, "day 3", "task", 2, [result("fail")])
    publish(ops, "run", 0)
    recovery = earlier.recovery(ops, "run")
    assert recovery is not None
    assert round(recovery.after.total_seconds() / 86_400) == 2, "since when there was nothing new"
    assert [one.unique_id for one in recovery.failed] == ["test.t"]


def test_a_task_of_a_published_run_that_is_cleared_alone_and_does_well_began_no_days_without(ops: Connection) -> None:
    begin(ops, "day 3", 3, result("fail"))  # somebody published it by hand
    publish(ops, "day 3", 2)
    runs.note_begun(ops, "day 3", datetime.now(UTC) - timedelta(days=1))
    node_results.record(ops, "day 3", "task", 2, [result("pass")])
    publish(ops, "run", 0)
    assert earlier.recovery(ops, "run") is None
