"""The last word of a run: gathered from its own release's manifest, said, and kept for the next one to compare with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from airflow.sdk.execution_time.context import set_current_context
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily import admission, ahead, report
from include.raw import lease
from include.results import node_results, publications, runs
from include.slack import notices, outbox, send
from include.slack.channels import Audience
from include.slack.transport import UnavailableError
from include.warehouse import connect, roles, sandbox
from tests.include.results.project import FACTS, ORDERS
from tests.include.results.test_summary import BUILT, DOUBLED, PASSED
from tests.releases import make_release
from tests.slack_server import ENGINEERS_PATH, Slack, slack_server

pytestmark = pytest.mark.db


METRICS = """
create table analytics.daily_metrics as
select date '2026-11-23' as day, 'repeat_rate' as metric, 0.5 as value, 1 as numerator, 2 as denominator
"""


@pytest.fixture
def ops(db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A warehouse in which a run of a kept release began."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    make_release("release", json.dumps(asdict(FACTS)))
    runs.begin(db, "run", "release")
    return db


def told(ops: Connection) -> list[tuple[str, str]]:
    """Kind and body of each message that was kept."""
    with ops.cursor() as cursor:
        cursor.execute("select kind, body from ops.messages order by message_id")
        return cursor.fetchall()


def test_a_failed_run_tells_where_it_broke_with_links_that_work(ops: Connection) -> None:
    node_results.record(ops, "run", "check_sources", 1, [DOUBLED])
    report._tell("greenery_daily", "run", {"check_sources": "failed", "report": None}, run_failed=True)
    [(kind, body)] = told(ops)
    assert kind == "failed"
    assert "raw table raw.orders · Data platform" in body
    assert "http://localhost:8080/dags/greenery_daily/runs/run/tasks/check_sources" in body


def test_a_run_that_did_not_get_to_publish_tells_what_is_unusual_of_its_raw_tables_and_observes_nothing(
    ops: Connection,
) -> None:
    """A failed test and an unusual figure may have one cause."""
    orders = {**FACTS.sources[ORDERS], "config": {**FACTS.sources[ORDERS]["config"], "event_time": "created_at"}}
    make_release("dated", json.dumps(asdict(replace(FACTS, sources={ORDERS: orders}))))
    runs.begin(ops, "red run", "dated")
    with ops.cursor() as cursor:
        cursor.execute(
            """
            create table raw.orders as
            select id::text as order_id, timestamptz 'yesterday' + interval '1 hour' as created_at, now() as _loaded_at
            from generate_series(1, 12) as id;
            insert into ops.observations (unique_id, measure, day, value, run_id)
            select 'source.p.shop.orders', 'rows', (now() at time zone 'UTC')::date - 1 - day, 1000 + day % 3, 'run'
            from generate_series(1, 60) as day
            """
        )
        node_results.record(ops, "red run", "check_sources", 1, [DOUBLED])
        states = {"check_sources": "failed", "publish": "upstream_failed", "report": None}
        report._tell("greenery_daily", "red run", states, run_failed=True)
        cursor.execute("select count(*) from ops.observations where run_id = 'red run'")
        assert cursor.fetchone() == (0,)
    [(kind, body)] = told(ops)
    assert kind == "failed"
    assert "Rows of raw.orders: 12 on " in body


def test_a_report_that_is_repeated_says_the_same(ops: Connection) -> None:
    node_results.record(ops, "run", "task", 1, [*BUILT, PASSED])
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
        cursor.execute(METRICS)
    for _ in range(2):
        report._tell("greenery_daily", "run", {"task": "success"}, run_failed=False)
    [(kind, body)] = told(ops)
    assert kind == "published"
    assert "Repeat rate: 50.0 % (1 of 2 buyers" in body
    with ops.cursor() as cursor:
        cursor.execute("select metric, value from ops.metrics")
        assert cursor.fetchall() == [("repeat_rate", 0.5)]


@pytest.fixture
def slack(ops: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """A Slack that takes no time to give up on."""
    monkeypatch.setenv("GREENERY_SLACK_TIMEOUT_SECONDS", "1")
    with slack_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", server.connection())
        yield server


# What tasks of the run pushed, by key.
XCOM: dict[str, Any] = {}


def instance(attempt: int = 1, **states: str) -> SimpleNamespace:
    """A task instance as Airflow gives it to a task, and to the callback of a DAG."""
    return SimpleNamespace(
        try_number=attempt,
        max_tries=3,
        get_task_states=lambda **_: {"run": states or {"check_sources": "failed"}},
        xcom_push=lambda key, value: XCOM.update({key: value}),
        xcom_pull=lambda key, **_: XCOM.get(key),
    )


def callback(begun: datetime | None = None) -> dict[str, Any]:
    """What Airflow tells the callback of a DAG. The run was triggered a minute ago, if nothing else is said."""
    return {
        "run_id": "run",
        "dag": SimpleNamespace(dag_id="greenery_daily"),
        "dag_run": SimpleNamespace(start_date=begun or datetime.now(UTC) - timedelta(minutes=1)),
        "ti": instance(),
    }


def run_report(*, attempt: int, begun: datetime | None = None, **states: str) -> None:
    """The task itself at one of its four attempts, in a context as Airflow gives it."""
    XCOM.clear()  # as Airflow does when a try begins
    context: Any = callback(begun) | {"ti": instance(attempt, **states)}
    with set_current_context(context):
        report.report.function()


def report_without_a_warehouse(attempt: int = 4) -> None:
    """An attempt of the report while the warehouse is down: the last one, if nothing else is said."""
    with pytest.MonkeyPatch.context() as down:
        down.setenv("WAREHOUSE_PORT", "1")
        with pytest.raises(psycopg2.OperationalError):
            run_report(attempt=attempt)


def test_a_refusal_of_slack_s_is_no_failure_of_the_report(ops: Connection, slack: Slack) -> None:
    slack.answers[:] = [404]
    run_report(attempt=1)
    assert slack.accepted == []
    run_report(attempt=1)
    assert len(slack.accepted) == 1


def test_a_slack_that_is_down_has_the_report_retried_and_at_last_left_to_the_next_run(
    ops: Connection, slack: Slack
) -> None:
    slack.answers[:] = [500] * 50
    with pytest.raises(UnavailableError):
        run_report(attempt=1)
    run_report(attempt=4)
    slack.answers.clear()
    with connect() as connection:
        send.send_waiting(connection)
    assert len(slack.accepted) == 1
    assert len(told(ops)) == 1


def test_stakeholders_and_engineers_hear_each_their_own_of_a_run(
    ops: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", slack.connection(ENGINEERS_PATH))
    node_results.record(ops, "run", "check_sources", 1, [DOUBLED])
    run_report(attempt=1)
    [state], [details] = slack.accepted, slack.engineers
    assert state["text"] == "🔴 Greenery data: no new data"
    assert "raw.orders" in details["text"]


def test_after_a_report_the_backstop_has_nothing_to_say(ops: Connection, slack: Slack) -> None:
    run_report(attempt=1)
    report.report_backstop({"run_id": "run", "dag": SimpleNamespace(dag_id="greenery_daily")})
    assert len(slack.accepted) == 1


def test_where_the_report_died_the_backstop_says_it(ops: Connection, slack: Slack) -> None:
    report.report_backstop({"run_id": "run", "dag": SimpleNamespace(dag_id="greenery_daily")})
    assert len(slack.accepted) == 1


def test_a_warehouse_that_is_down_is_said_at_the_last_attempt(ops: Connection, slack: Slack) -> None:
    for attempt in (1, 4):
        report_without_a_warehouse(attempt)
    assert [one["text"] for one in slack.accepted] == ["🔴 Greenery data: the warehouse can't be reached"]


def test_what_was_said_while_the_warehouse_was_down_is_not_said_again_by_the_backstop(
    ops: Connection, slack: Slack
) -> None:
    report_without_a_warehouse()
    report.report_backstop(callback())
    assert len(slack.accepted) == 1
    node_results.record(ops, "run", "check_sources", 2, [DOUBLED])  # the run is cleared, and this time the report dies
    report.report_backstop(callback())
    assert len(slack.accepted) == 2


def published(ops: Connection) -> None:
    """The run has built, and publish has committed."""
    node_results.record(ops, "run", "task", 1, [*BUILT, PASSED])
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
        cursor.execute(METRICS)


def test_a_publish_whose_answer_was_lost_is_told_as_what_it_was(ops: Connection, slack: Slack) -> None:
    published(ops)
    run_report(attempt=1, publish="failed")
    [(kind, body)] = told(ops)
    assert kind == "published"
    assert "its answer was lost" in body
    assert "publish failed" not in body
    report.report_backstop(callback())
    assert len(slack.accepted) == 1


def test_a_red_run_that_somebody_published_before_its_report_came_is_told_as_published_by_hand(ops: Connection) -> None:
    node_results.record_task(ops, "run", "publish", 1, "1 test failed")
    node_results.record(ops, "run", "task", 1, [*BUILT, DOUBLED])
    decision = publications.decide(ops, publications.PUBLISH, "run", "ada", "the double is known")
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=decision, notes=[])
        cursor.execute(METRICS)
    run_report(attempt=1, publish="failed")
    [(kind, body)] = told(ops)
    assert kind == "published"
    assert "by hand" in body
    assert "its answer was lost" not in body


def test_a_dbt_that_was_killed_as_it_built_ahead_is_no_news_of_a_run_whose_tasks_have_built(ops: Connection) -> None:
    published(ops)
    report._tell("greenery_daily", "run", {ahead.TASK: "failed", "publish": "success"}, run_failed=False)
    [(kind, body)] = told(ops)
    assert kind == "published"
    assert ahead.TASK not in body


def test_a_publish_whose_answer_and_whose_report_were_lost_is_told_by_the_backstop(
    ops: Connection, slack: Slack
) -> None:
    published(ops)
    report.report_backstop(callback())
    assert [kind for kind, _ in told(ops)] == ["published"]


def test_a_run_that_was_published_and_failed_when_it_was_cleared_is_told_as_failed(
    ops: Connection, slack: Slack
) -> None:
    published(ops)
    run_report(attempt=1, publish="success")
    cleared = datetime.now(UTC)
    run_report(attempt=1, begun=cleared, check_sources="failed", publish="upstream_failed")
    report.report_backstop(callback(cleared))
    assert [kind for kind, _ in told(ops)] == ["published", "failed"]


def look(*ended: str, then: Callable[[], None] = lambda: None, **states: str) -> None:
    """The watchdog's task looks for runs that have ended; `then` is what happens once Airflow has said that one has.

    `states` are those of tasks; where nothing is said of them the run was published.
    """

    def count(*, run_ids: list[str], **_: object) -> int:
        then()
        return int(run_ids[0] in ended)

    of_any_task = instance(**(states or {"check_sources": "success", "publish": "success"}))
    of_any_task.get_dr_count = count
    report.tell_of_ended({"ti": of_any_task}, datetime.now(UTC))


def test_a_run_whose_report_and_backstop_were_killed_is_told_once_by_the_watchdog(
    ops: Connection, slack: Slack
) -> None:
    XCOM.clear()
    published(ops)
    look()
    assert told(ops) == [], "the report is yet to come"
    slack.answers[:] = [500] * 50
    look("run")
    slack.answers.clear()
    look("run")
    with connect() as connection:
        send.send_waiting(connection)
    assert [kind for kind, _ in told(ops)] == ["published"]
    assert len(slack.accepted) == 1


def test_what_a_report_said_past_the_outbox_the_watchdog_does_not_say_again_but_what_came_since(
    ops: Connection, slack: Slack
) -> None:
    report_without_a_warehouse()
    look("run")
    assert told(ops) == []
    published(ops)  # the run is cleared, and this time the report is killed
    look("run")
    assert [kind for kind, _ in told(ops)] == ["published"]


def test_a_run_that_was_told_as_failed_and_is_published_once_it_is_cleared_is_told_once_by_the_watchdog(
    ops: Connection, slack: Slack
) -> None:
    run_report(attempt=1)
    look("run")
    assert [kind for kind, _ in told(ops)] == ["failed"]
    published(ops)  # and the report is killed at each of its tries
    look()
    assert [kind for kind, _ in told(ops)] == ["failed"], "the report is yet to come"
    for _ in range(2):
        look("run")
    assert [kind for kind, _ in told(ops)] == ["failed", "published"]
    assert len(slack.accepted) == 2


def test_a_failed_run_that_somebody_publishes_by_hand_is_told_as_their_decision_alone(
    ops: Connection, slack: Slack
) -> None:
    run_report(attempt=1)
    publish_by_hand(ops)
    look("run")
    assert [kind for kind, _ in told(ops)] == ["failed"]


def publish_by_hand(ops: Connection) -> None:
    """Somebody publishes what the run built."""
    decision = publications.decide(ops, publications.PUBLISH, "run", "ada", "the double is known")
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=decision, notes=[])


def test_a_backstop_that_fires_once_somebody_has_published_by_hand_adds_nothing(ops: Connection, slack: Slack) -> None:
    run_report(attempt=1)
    publish_by_hand(ops)
    report.report_backstop(callback())
    assert [kind for kind, _ in told(ops)] == ["failed"]


def test_a_backstop_tells_of_a_run_that_was_cleared_and_failed_again_of_something_else(
    ops: Connection, slack: Slack
) -> None:
    run_report(attempt=1)
    cleared = datetime.now(UTC)
    node_results.record(ops, "run", "check_sources", 2, [DOUBLED])
    report.report_backstop(callback(cleared))
    assert [kind for kind, _ in told(ops)] == ["failed", "failed"]


def test_a_run_whose_task_was_cleared_alone_and_did_its_work_is_not_told_again(ops: Connection, slack: Slack) -> None:
    published(ops)
    run_report(attempt=1, publish="success")
    runs.note_begun(ops, "run", datetime.now(UTC))
    node_results.record(ops, "run", "task", 2, [*BUILT, PASSED])
    look("run")
    assert [kind for kind, _ in told(ops)] == ["published"]


def show_progress(ops: Connection) -> None:
    """What a bot shows as a run begins, or begins again."""
    message = notices.progress("run", "sources", url="http://run", health_url="http://health")
    outbox.keep(ops, "run", Audience.ENGINEERS, message, waiting=False)


def test_a_published_run_that_is_cleared_and_fails_does_not_stay_under_way(ops: Connection, slack: Slack) -> None:
    published(ops)
    run_report(attempt=1, publish="success")
    show_progress(ops)
    node_results.record(ops, "run", "check_sources", 2, [DOUBLED])  # and neither report nor backstop gets to speak
    look("run", check_sources="failed", publish="upstream_failed")
    assert [kind for kind, _ in told(ops)] == ["published", "failed"]


def test_what_takes_the_place_of_progress_is_the_last_word_of_the_run(ops: Connection, slack: Slack) -> None:
    show_progress(ops)
    published(ops)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    assert [one.run_id for one in runs.untold(ops, long_ago)] == ["run"]
    run_report(attempt=1, publish="success")
    assert runs.untold(ops, long_ago) == []


def test_a_run_that_is_cleared_as_the_watchdog_tells_of_it_keeps_raw_to_itself(ops: Connection) -> None:
    XCOM.clear()
    published(ops)
    look("run", then=lambda: lease.take(ops, admission.holder_of("run")))
    with ops.cursor() as cursor:
        assert lease.held(cursor).holder == admission.holder_of("run")


def test_a_run_of_which_nothing_can_be_told_is_said_to_be_so_once_and_keeps_no_other_silent(ops: Connection) -> None:
    XCOM.clear()
    published(ops)
    runs.begin(ops, "lost", "a release that is gone")
    with ops.cursor() as cursor:
        cursor.execute("update ops.runs set started_at = now() - interval '1 hour' where run_id = 'lost'")
    for _ in range(2):
        look("run", "lost")
    with ops.cursor() as cursor:
        cursor.execute("select run_id, kind from ops.messages order by message_id")
        assert cursor.fetchall() == [("lost", "failed"), ("run", "published")]


def test_marts_of_another_make_cost_the_figures_and_not_the_message(ops: Connection, slack: Slack) -> None:
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
        cursor.execute("create table analytics.dim_users as select 'two'::text as orders")
    run_report(attempt=1)
    assert len(slack.accepted) == 1


def test_a_run_that_can_not_be_summed_up_is_told_at_the_last_attempt(ops: Connection, slack: Slack) -> None:
    with ops.cursor() as cursor:
        cursor.execute("alter table ops.node_results rename column failures to anything_else")
    for attempt in (1, 4):
        with pytest.raises(psycopg2.ProgrammingError):
            run_report(attempt=attempt)
    assert [one["text"] for one in slack.accepted] == [
        "🔴 Greenery data: a run ended, and what became of it can't be told"
    ]


def test_how_a_server_is_reached_is_for_engineers(
    ops: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", slack.connection(ENGINEERS_PATH))
    report_without_a_warehouse()
    # The tests' server listens on a socket, whose path names it.
    assert settings.warehouse().host in json.dumps(slack.engineers)
    assert settings.warehouse().host not in json.dumps(slack.accepted)


def test_one_audience_that_can_not_be_reached_keeps_nothing_from_the_other(
    ops: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", slack.connection("/services/revoked"))
    report_without_a_warehouse()
    assert len(slack.accepted) == 1


def test_what_a_failed_run_says_is_nothing_to_compare_with(ops: Connection, slack: Slack) -> None:
    runs.begin(ops, "other", "release")
    with ops.cursor() as cursor:
        publications.note(cursor, "other", "analytics", as_of=None, decision=None, notes=[])
        cursor.execute(METRICS)
    node_results.record(ops, "run", "check_sources", 1, [DOUBLED])
    run_report(attempt=1)
    with ops.cursor() as cursor:
        cursor.execute("select count(*) from ops.metrics")
        assert cursor.fetchone() == (0,)


def test_sandboxes_that_nobody_uses_are_dropped_where_a_role_for_them_is_configured(
    ops: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def left() -> int:
        with ops.cursor() as cursor:
            cursor.execute("select count(*) from pg_namespace where nspname = 'branch_ana'")
            return cursor.fetchone()[0]

    roles.ensure(ops, login=True)
    with connect("test", replace(settings.warehouse(), user=roles.DEVELOPER)) as connection:
        made = sandbox.create(connection, "branch_ana", "a test")
    with ops.cursor() as cursor:
        long_ago = datetime.now(UTC) - sandbox.KEPT_FOR - timedelta(hours=1)
        noted = json.dumps({"purpose": "a test", "by": "ana", "last_used": long_ago.isoformat()})
        cursor.execute("comment on schema branch_ana is %s", (noted,))
    report._drop_unused_sandboxes()
    assert left() == 1
    monkeypatch.setenv("WAREHOUSE_DEVELOPER_USER", "nobody_is_called_so")
    report._drop_unused_sandboxes()
    assert "the next run looks again" in caplog.text
    assert left() == 1
    monkeypatch.setenv("WAREHOUSE_DEVELOPER_USER", roles.DEVELOPER)
    report._drop_unused_sandboxes()
    assert left() == 0
    assert f"Sandbox {made.name} was not used for 14 days and is dropped." in caplog.text
