"""`ops` as the report and the gate read it: a run's last word on each node, and what the snapshot saw change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.results import publications, store
from include.results.failures import BROKEN
from include.results.nodes import NodeResult
from include.warehouse import migrate

pytestmark = pytest.mark.db


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops` and one run that began."""
    store.begin(db, "run", "release")
    return db


def result(status: str, unique_id: str = "test.t", resource_type: str = "test") -> NodeResult:
    return NodeResult(unique_id, resource_type, "t", status, "error", 0, "", 0.1, None)


def test_migrating_twice_changes_nothing(ops: Connection) -> None:
    migrate.upgrade()
    assert store.run(ops, "run") is not None


def test_a_retry_has_the_last_word(ops: Connection) -> None:
    store.record(ops, "run", "task", 1, [result("fail")])
    store.record(ops, "run", "task", 2, [result("pass")])
    assert [one.status for one in store.node_results(ops, "run")] == ["pass"]


def test_a_later_task_has_the_last_word(ops: Connection) -> None:
    store.record(ops, "run", "check_sources", 1, [result("pass")])
    store.record(ops, "run", "snapshot", 1, [result("fail")])
    assert [one.status for one in store.node_results(ops, "run")] == ["fail"]


def test_another_runs_results_are_its_own(ops: Connection) -> None:
    store.begin(ops, "other", "release")
    store.record(ops, "other", "task", 1, [result("pass")])
    assert store.node_results(ops, "run") == []


def test_a_run_that_is_cleared_keeps_its_start_and_its_release(ops: Connection) -> None:
    before = store.run(ops, "run")
    assert store.begin(ops, "run", "newer") == "release"
    assert store.run(ops, "run") == before


def test_who_built_a_model_last_is_known_over_all_runs(ops: Connection) -> None:
    store.begin(ops, "later", "release")
    store.record(ops, "run", "task", 1, [result("success", "model.m", "model")])
    store.record(ops, "later", "task", 1, [result("success", "model.m", "model")])
    assert {model: run_id for model, (run_id, _) in store.newest_builds(ops, None).items()} == {"model.m": "later"}
    assert store.newest_builds(ops, datetime.now(UTC)) == {}
    store.record(ops, "run", "task", 2, [result("error", "model.m", "model")])
    assert store.newest_builds(ops, None) == {}, "a model that failed last is nobody's"


@pytest.fixture
def snapshot(ops: Connection) -> Connection:
    """A snapshot in which two orders were shipped and one delivered just now, and one was shipped long ago."""
    with ops.cursor() as cursor:
        cursor.execute("set timezone to 'UTC'")
        cursor.execute(
            """
            create table snapshots.orders_snapshot (
                order_id text, status text, tracking_id text, dbt_valid_from timestamp, dbt_valid_to timestamp
            )
            """
        )
        cursor.execute(
            """
            insert into snapshots.orders_snapshot
            select
                order_id,
                unnest(array[before, after]),
                unnest(array[null, 'track ' || order_id]),
                unnest(array[closed - interval '1 day', closed]),
                unnest(array[closed, null])
            from (
                values
                    ('a', 'preparing', 'shipped', clock_timestamp()::timestamp),
                    ('b', 'preparing', 'shipped', clock_timestamp()::timestamp),
                    ('c', 'shipped', 'delivered', clock_timestamp()::timestamp),
                    ('same status', 'shipped', 'shipped', clock_timestamp()::timestamp),
                    ('long ago', 'preparing', 'shipped', timestamp '2020-01-01')
            ) as changed (order_id, before, after, closed)
            union all
            select 'first seen', 'preparing', null, clock_timestamp()::timestamp, null
            """
        )
    return ops


A, B, C = (store.ChangedOrder(order, f"track {order}") for order in "abc")
CHANGES = [store.OrderChange("preparing", "shipped", 2, (A, B)), store.OrderChange("shipped", "delivered", 1, (C,))]


def test_orders_that_changed_are_counted_by_change(snapshot: Connection) -> None:
    assert store.order_changes(snapshot, "run") == CHANGES


def test_a_change_is_told_by_one_run_however_often_it_is_reported(snapshot: Connection) -> None:
    store.told_changes(snapshot, "run")
    store.begin(snapshot, "next", "release")
    assert store.order_changes(snapshot, "run") == CHANGES
    assert store.order_changes(snapshot, "next") == []


def test_a_change_that_is_dated_ahead_silences_no_later_one(snapshot: Connection) -> None:
    def change(order: str, at: str) -> None:
        with snapshot.cursor() as cursor:
            cursor.execute(
                "insert into snapshots.orders_snapshot select %(order)s, unnest(array['new', 'lost']), null,"
                f" unnest(array['2020-01-01', moment]), unnest(array[moment, null]) from (select {at}) as now (moment)",
                {"order": order},
            )

    change("ahead", "(now() + interval '10 days')::timestamp")
    store.told_changes(snapshot, "run")
    change("later", "clock_timestamp()::timestamp")
    store.begin(snapshot, "next", "release")
    [told] = store.order_changes(snapshot, "next")
    assert [order.order_id for order in told.first] == ["later"]


def test_a_change_that_a_run_could_not_tell_is_told_by_the_next(snapshot: Connection) -> None:
    with snapshot.cursor() as cursor:
        cursor.execute("update ops.runs set changes_told_until = started_at where run_id = 'run'")
    store.begin(snapshot, "next", "release")
    assert store.order_changes(snapshot, "next") == CHANGES


def test_of_many_orders_the_first_are_named_and_all_are_counted(snapshot: Connection) -> None:
    with snapshot.cursor() as cursor:
        cursor.execute(
            """
            insert into snapshots.orders_snapshot
            select 'm' || n, unnest(array['new', 'lost']), null, moment, unnest(array[moment, null])
            from generate_series(1, 30) as n
            cross join (select clock_timestamp()::timestamp as moment) as now
            """
        )
        cursor.execute("update snapshots.orders_snapshot set dbt_valid_from = '2020-01-01' where status = 'new'")
    [many] = [change for change in store.order_changes(snapshot, "run") if change.after == "lost"]
    assert (many.count, [order.order_id for order in many.first]) == (30, ["m1", "m10", "m11", "m12", "m13"])


def test_before_the_first_snapshot_nothing_changed(ops: Connection) -> None:
    assert store.order_changes(ops, "run") == []


def test_failing_rows_are_few_and_hide_personal_columns(ops: Connection) -> None:
    sql = "select n as user_id, 'ada@example.com' as email from generate_series(1, 9) as n order by 1"
    failed = NodeResult("test.t", "test", "t", "fail", "error", 9, "", 0.1, None, compiled_sql=sql)
    rows = store.failing_rows(ops, failed, frozenset({"email"}))
    assert rows == [{"user_id": str(n)} for n in range(1, 6)]


def test_results_are_forgotten_after_their_time_and_runs_are_not(ops: Connection) -> None:
    store.record(ops, "run", "task", 1, [result("pass", "test.old"), result("pass", "test.new")])
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.node_results set recorded_at = now() - interval '401 days' where unique_id = 'test.old'"
        )
    assert store.forget_results(ops, timedelta(days=400)) == 1
    assert [one.unique_id for one in store.node_results(ops, "run")] == ["test.new"]
    assert store.run(ops, "run") is not None


def begin(ops: Connection, run_id: str, days_ago: int, *results: NodeResult) -> None:
    """A run that began so many days ago."""
    store.begin(ops, run_id, "release")
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.runs set started_at = now() - make_interval(days => %s) where run_id = %s", (days_ago, run_id)
        )
    store.record(ops, run_id, "task", 1, list(results))
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.node_results set recorded_at = now() - make_interval(days => %s) where run_id = %s",
            (days_ago, run_id),
        )


def ages(ops: Connection, *unique_ids: str, bad: tuple[str, ...] = BROKEN) -> dict[str, int]:
    """Days since, by unique id, as the run `run` of today sees it."""
    return {
        unique_id: round((datetime.now(UTC) - at).total_seconds() / 86_400)
        for unique_id, at in store.since(ops, "run", unique_ids, bad=bad).items()
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
    store.record(ops, "day 1", "task", 2, [result("pass")])
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
    store.record(ops, "run", "task", 1, [result("pass"), result("fail", "test.again"), result("pass", "test.fine")])
    assert [one.unique_id for one in store.fixed(ops, "run")] == ["test.t"]


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
    recovery = store.recovery(ops, "run")
    assert recovery is not None
    assert round(recovery.after.total_seconds() / 86_400) == 2
    assert [one.unique_id for one in recovery.failed] == ["test.t", "model.m"]


def test_a_publish_after_a_publish_ended_nothing(ops: Connection) -> None:
    begin(ops, "day 2", 2, result("fail"))
    begin(ops, "day 1", 1)
    publish(ops, "day 1", 1)
    publish(ops, "run", 0)
    assert store.recovery(ops, "run") is None


def test_a_run_that_had_said_that_it_failed_ends_its_own_failure(ops: Connection) -> None:
    store.record(ops, "run", "task", 1, [result("fail")])
    store.record(ops, "run", "task", 2, [result("pass")])
    publish(ops, "run", 0)
    assert store.recovery(ops, "run") is None, "a retry is no recovery: nobody was told that it had failed"
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.messages (run_id, kind, headline, body, blocks) values ('run', 'failed', '', '', '[]')"
        )
    recovery = store.recovery(ops, "run")
    assert recovery is not None
    assert [one.unique_id for one in recovery.failed] == ["test.t"]


def test_a_reason_is_taken_back_by_a_later_attempt_that_got_to_run_dbt(ops: Connection) -> None:
    store.record_task(ops, "run", "build", 1, "the lease was held")
    store.record(ops, "run", "build", 2, [result("fail")])
    store.settle_tasks(ops, "run", {"build": "failed"})
    words = {one.unique_id: one.status for one in store.node_results(ops, "run")}
    assert words == {"task.build": "success", "test.t": "fail"}
