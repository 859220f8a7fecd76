"""What people decide themselves: it takes effect at once or is refused in a sentence, and kept with name and reason."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import set_current_context
from psycopg2.extensions import connection as Connection

from include import under_way
from include.daily import buffers
from include.daily.watchdog import check
from include.dbt_project import release
from include.dbt_project.manifest import read
from include.fast_cosmos.releases import ProjectError
from include.publish import by_hand
from include.publish.__main__ import main
from include.publish.exchange import exchange
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.raw import lease
from include.results import publications, runs
from include.settings import PROJECT_ROOT, Warehouse
from include.slack.channels import to_all
from include.slack.message import Message
from include.slack.send import deliver
from include.warehouse import connect
from include.warehouse.login import at_a_shell
from tests.forks import NO_AIRFLOW, Forks, command
from tests.include.publish.test_publish import BUILT, MANIFEST, PASSED, build, published
from tests.releases import make_release
from tests.slack_server import ENGINEERS_PATH, Slack, slack_server
from tests.waiting import wait_for

pytestmark = pytest.mark.db

FAILED = [BUILT]  # and its test left no result


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """A Slack that the environment's connection leads to."""
    with slack_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", server.connection())
        yield server


@pytest.fixture
def days(db: Connection, slack: Slack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A warehouse in which two days were published, from a release of the dbt project that is kept."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    project = make_release("release", json.dumps({"nodes": MANIFEST.nodes, "sources": {}}))
    for number in (1, 2):
        build(db, f"run {number}", f"day {number}")
        publish_run(f"run {number}", read(project.manifest))
    return db


def test_nothing_is_published_by_a_list_of_tests_that_somebody_changed(days: Connection) -> None:
    release.named("release").manifest.write_text('{"nodes": {}, "sources": {}}')
    with pytest.raises(ProjectError, match="was changed after it was made"):
        by_hand.publish_anyway("run 2", "ada", "it is fine")
    assert published(days) == ["day 2"]


def test_the_former_marts_are_back_and_everybody_is_told(days: Connection, slack: Slack) -> None:
    by_hand.roll_back("ada", "revenue of the 23rd is wrong")
    assert published(days) == ["day 1"]
    live = publications.live(days)
    assert (live.run_id, live.data_as_of < live.published_at) == ("run 1", True)
    [told] = slack.accepted
    assert told["text"] == "✋ Greenery data: rolled back"
    assert "by ada" in json.dumps(told)
    assert "revenue of the 23rd is wrong" in json.dumps(told)


def test_the_next_good_run_goes_forward_again(days: Connection) -> None:
    by_hand.roll_back("ada", "wrong")
    build(days, "run 3", "day 3")
    publish_run("run 3", MANIFEST)
    assert published(days) == ["day 3"]
    by_hand.roll_back("ada", "wrong again")
    assert published(days) == ["day 1"]


def test_clearing_the_publish_of_the_run_that_was_taken_back_does_not_bring_it_back(days: Connection) -> None:
    by_hand.roll_back("ada", "wrong")
    assert publish_run("run 2", MANIFEST) is False
    assert published(days) == ["day 1"]


def leave_word(db: Connection) -> None:
    """The models that were published left word of themselves as they were built."""
    with db.cursor() as cursor:
        cursor.execute("update ops.buffer_models set built_at = now() - interval '1 day' where built_at = '-infinity'")


def begins_to_write(db: Connection, run_id: str, *, writes: bool) -> None:
    """What dbt leaves of a run's first model: a mark before it, and, unless it fails, word of it."""
    runs.begin(db, run_id, "release")
    buffers.begin(db, run_id)
    with db.cursor() as cursor:
        cursor.execute("update ops.buffers set dirty = true where schema_oid = 'analytics_next'::regnamespace")
        if writes:
            cursor.execute(
                "insert into ops.buffer_models (schema_oid, unique_id, rebuilt)"
                " values ('analytics_next'::regnamespace, 'model.m', true)"
                " on conflict (schema_oid, unique_id)"
                " do update set rebuilt = true, written = true, built_at = clock_timestamp()"
            )


def test_once_a_run_has_written_there_is_no_way_back_and_that_is_said(days: Connection) -> None:
    begins_to_write(days, "run 3", writes=True)
    begins_to_write(days, "run 4", writes=False)
    with pytest.raises(NotPublishedError, match=r"A run has written over the marts as of .* no way back"):
        by_hand.roll_back("ada", "wrong")
    assert published(days) == ["day 2"]


def test_a_run_whose_first_model_failed_leaves_the_way_back(days: Connection) -> None:
    leave_word(days)
    begins_to_write(days, "run 3", writes=False)
    by_hand.roll_back("ada", "wrong")
    assert published(days) == ["day 1"]


def test_what_a_run_built_elsewhere_leaves_the_way_back(days: Connection) -> None:
    """The lists of changes come first, and are in staging; their word is with the buffer that they are of."""
    with days.cursor() as cursor:
        cursor.execute(
            "insert into ops.buffer_models (schema_oid, unique_id, identifier, rebuilt) select schema_oid,"
            " 'model.greenery.int_changed', 'int_changed', true from ops.buffers"
        )
    leave_word(days)
    begins_to_write(days, "run 3", writes=False)
    by_hand.roll_back("ada", "wrong")
    assert published(days) == ["day 1"]


def test_where_models_leave_no_word_a_run_that_began_to_write_leaves_no_way_back(days: Connection) -> None:
    """`m` and `n` were noted by publish alone, as those of a folder without our hooks are."""
    with days.cursor() as cursor:
        cursor.execute("update ops.buffers set dirty = true where schema_oid = 'analytics_next'::regnamespace")
    with pytest.raises(NotPublishedError, match="A run has written over"):
        by_hand.roll_back("ada", "wrong")


def test_while_a_run_is_under_way_nothing_is_rolled_back(days: Connection) -> None:
    lease.take(days, "run 3")
    with pytest.raises(NotPublishedError, match="run 3 reads the raw tables"):
        by_hand.roll_back("ada", "wrong")
    lease.release(days, "run 3")
    by_hand.roll_back("ada", "wrong")
    lease.take(days, "run 3")  # what the rollback held is given back


def test_before_the_second_publish_there_is_no_way_back(db: Connection) -> None:
    build(db, "run 1", "day 1")
    publish_run("run 1", MANIFEST)
    with pytest.raises(NotPublishedError, match="Nothing was published before"):
        by_hand.roll_back("ada", "wrong")


def test_a_run_whose_tests_failed_can_be_published_by_hand(days: Connection, slack: Slack) -> None:
    build(days, "run 3", "day 3", *FAILED)
    with pytest.raises(NotPublishedError):
        publish_run("run 3", MANIFEST)
    by_hand.publish_anyway("run 3", "ada", "the test is wrong, not the data")
    assert published(days) == ["day 3"]
    assert publications.live(days).decision.decided_by == "ada"
    assert slack.accepted[-1]["text"] == "✋ Greenery data: published by hand"


def test_a_mix_of_days_can_not_be_published_by_hand_either(days: Connection) -> None:
    build(days, "run 3", "day 3", PASSED)
    with pytest.raises(NotPublishedError, match="mix days"):
        by_hand.publish_anyway("run 3", "ada", "I know better")
    assert published(days) == ["day 2"]
    with days.cursor() as cursor:
        cursor.execute("select count(*) from ops.decisions")
        assert cursor.fetchall() == [(0,)], "what could not be carried out was not decided"


def test_a_run_of_which_a_model_failed_can_not_be_published_by_hand_either(days: Connection) -> None:
    build(days, "run 3", "day 3", replace(BUILT, status="error"))
    with pytest.raises(NotPublishedError, match=r"model\.m"):
        by_hand.publish_anyway("run 3", "ada", "I know better")
    assert published(days) == ["day 2"]


def test_what_was_published_unproven_is_looked_at_as_a_whole_by_the_next_run_on_it(days: Connection) -> None:
    build(days, "run 3", "day 3", *FAILED)
    by_hand.publish_anyway("run 3", "ada", "the test is wrong")
    build(days, "run 4", "day 4")
    publish_run("run 4", MANIFEST)
    build(days, "run 5", "day 5")
    with days.cursor() as cursor:
        cursor.execute("select scan from ops.buffers where schema_oid = 'analytics_next'::regnamespace")
        assert cursor.fetchall() == [(True,)]


def test_a_hold_keeps_good_runs_back_until_it_is_released(days: Connection) -> None:
    by_hand.hold("ada", "the auditors are here")
    build(days, "run 3", "day 3")
    with pytest.raises(NotPublishedError, match=r"ada holds publishing back since .*: the auditors are here"):
        publish_run("run 3", MANIFEST)
    assert published(days) == ["day 2"]
    by_hand.release("ada", "they are gone")
    publish_run("run 3", MANIFEST)
    assert published(days) == ["day 3"]
    with pytest.raises(NotPublishedError, match="Nobody holds publishing back"):
        by_hand.release("ada", "again")


def test_what_was_decided_stands_though_slack_can_not_be_told(days: Connection, slack: Slack) -> None:
    slack.answers[:] = [403]
    by_hand.roll_back("ada", "wrong")
    assert published(days) == ["day 1"]
    with days.cursor() as cursor:
        cursor.execute("select sent_at is null, problem is not null from ops.messages")
        assert cursor.fetchall() == [(True, True)]


def test_the_command_line_says_what_it_did_or_why_not(days: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roll-back", "--by", "ada", "--reason", " "]) == 1
    assert "takes a reason" in capsys.readouterr().err
    assert main(["publish", "--run", "run 2", "--by", "ada", "--reason", "again"]) == 1
    assert "was published before" in capsys.readouterr().err
    assert main(["publish", "--run", "typo", "--by", "ada", "--reason", "again"]) == 1
    assert "There is no run 'typo'" in capsys.readouterr().err
    assert main(["roll-back", "--by", "ada", "--reason", "wrong"]) == 0
    assert published(days) == ["day 1"]


def test_at_a_shell_a_decision_carries_the_logins_and_a_name_is_a_note_beside_them(
    days: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")  # which anybody may set to anything
    with days.cursor() as cursor:
        cursor.execute("create role grace login superuser")
    monkeypatch.setenv("WAREHOUSE_USER", "grace")
    try:
        assert main(["hold", "--by", "Ada", "--reason", "the auditors are here"]) == 0
    finally:
        with days.cursor() as cursor:
            cursor.execute("drop role grace")
    held = publications.hold(days)
    assert re.fullmatch(rf"grace \({pwd.getpwuid(os.getuid()).pw_name} on \S+\)", held.decided_by)
    assert held.name_given == "Ada"
    assert f"{held.decided_by}, who signs as Ada" in slack.accepted[-1]["blocks"][1]["text"]["text"]


def in_airflow(login: str | None, *, attempt: int = 1, **typed: str) -> None:
    """The task of `greenery_by_hand`, in a context as Airflow gives it."""
    context: Any = {
        "params": {"action": "hold", "reason": "the auditors are here", "run_id": None, **typed},
        "dag_run": SimpleNamespace(triggering_user_name=login),
        "ti": SimpleNamespace(try_number=attempt),
    }
    with set_current_context(context):
        by_hand.decide_in_airflow.function()


def test_in_airflow_a_decision_carries_the_login_that_triggered_it_whatever_is_typed(days: Connection) -> None:
    in_airflow("grace", decided_by="ada", name="ada")
    held = publications.hold(days)
    assert (held.decided_by, held.name_given) == ("grace", None)


@pytest.mark.parametrize(
    ("login", "attempt", "said"),
    [(None, 1, "does not say who triggered this run"), ("ada", 2, "This decision was ada's, and somebody cleared it")],
)
def test_in_airflow_nobody_decides_in_anothers_name(
    days: Connection, login: str | None, attempt: int, said: str
) -> None:
    with pytest.raises(AirflowFailException, match=said):
        in_airflow(login, attempt=attempt)
    assert publications.hold(days) is None


def test_a_connection_that_is_lost_once_it_is_done_does_not_say_that_nothing_was(
    days: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(lease, "release", lost)
    assert main(["roll-back", "--by", "ada", "--reason", "wrong"]) == 0
    assert published(days) == ["day 1"]


def test_a_connection_that_is_lost_on_the_way_says_where_to_look(
    days: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*arguments: Any, **options: Any) -> None:
        exchange(*arguments, **options)
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(by_hand, "exchange", lost)
    assert main(["roll-back", "--by", "ada", "--reason", "wrong"]) == 1
    assert "python -m include.under_way lists the newest decisions" in capsys.readouterr().err
    assert published(days) == ["day 1"]
    listed = f"roll back by {at_a_shell(days)}, who signs as ada: wrong"
    assert [line for line in under_way.lines(days) if line.endswith(listed)], "took effect"
    assert slack.accepted[-1]["text"] == "✋ Greenery data: rolled back"


HOLD = ("include.publish", "hold", "--by", "ada", "--reason", "the auditors are here")
HELD = re.compile(r"Done: hold, by postgres \(\S+ on \S+\), who signs as ada\.\n")


def hold_in_a_shell(forks: Forks, *unknown: str) -> str:
    """What the command says on stderr in a shell that lacks some variables and reaches no database of Airflow's."""
    done = forks.run(command(*HOLD), **dict.fromkeys(unknown))
    assert done.code == 0, done.stderr
    assert HELD.fullmatch(done.stdout)
    return done.stderr


def run_says(text: str) -> None:
    """A run of the deployment has said something."""
    with connect() as connection:
        deliver(connection, "run 2", to_all(Message("published", text, text, [])))


def waiting(days: Connection) -> list[tuple]:
    with days.cursor() as cursor:
        cursor.execute("select audience, waiting from ops.messages where run_id like 'decision %' order by audience")
        return cursor.fetchall()


def test_what_is_decided_in_a_shell_that_knows_no_slack_is_told_by_the_watchdog(
    days: Connection, slack: Slack, forks: Forks
) -> None:
    run_says("fine")
    said = hold_in_a_shell(forks, "AIRFLOW_CONN_SLACK_DEFAULT")
    assert "Slack was not told from here: the message waits in ops.messages for greenery_watchdog" in said
    assert waiting(days) == [("engineers", True)]
    for _ in range(2):
        check()
    assert [one["text"] for one in slack.accepted] == ["fine", "✋ Greenery data: publishing is held back"]
    assert waiting(days) == [("engineers", False)]


def test_where_two_channels_are_it_is_told_in_both(
    days: Connection, slack: Slack, forks: Forks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", slack.connection(ENGINEERS_PATH))
    run_says("fine")
    hold_in_a_shell(forks, "AIRFLOW_CONN_SLACK_DEFAULT", "AIRFLOW_CONN_SLACK_ENGINEERS")
    check()
    told = ["fine", "✋ Greenery data: publishing is held back"]
    assert [[one["text"] for one in channel] for channel in (slack.accepted, slack.engineers)] == [told, told]


def test_where_nothing_was_ever_for_slack_nothing_waits_for_it(
    days: Connection, slack: Slack, forks: Forks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as nowhere:
        nowhere.delenv("AIRFLOW_CONN_SLACK_DEFAULT")
        run_says("fine")
    hold_in_a_shell(forks, "AIRFLOW_CONN_SLACK_DEFAULT")
    check()
    assert (slack.accepted, waiting(days)) == ([], [("engineers", False)])


def test_a_shell_that_knows_slack_tells_it_at_once(days: Connection, slack: Slack) -> None:
    started = [sys.executable, "-m", *HOLD]  # as people start it: what it imports may say something as well
    done = subprocess.run(
        started, cwd=PROJECT_ROOT, env=os.environ | NO_AIRFLOW, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, bool(HELD.fullmatch(done.stdout))) == (0, True), done.stderr
    assert "Slack was not told" not in done.stderr
    assert [one["text"] for one in slack.accepted] == ["✋ Greenery data: publishing is held back"]


def test_the_schema_that_is_built_into_comes_back_by_itself_if_somebody_dropped_it(days: Connection) -> None:
    with days.cursor() as cursor:
        cursor.execute("drop schema analytics_next cascade")
    with pytest.raises(NotPublishedError, match="was published before"):
        by_hand.publish_anyway("run 2", "ada", "again")
    with pytest.raises(NotPublishedError, match="so there is no way back"):
        by_hand.roll_back("ada", "wrong")
    buffers.begin(days, "run 3")
    build(days, "run 3", "day 3")
    publish_run("run 3", MANIFEST)
    assert published(days) == ["day 3"]


def test_the_schema_that_people_query_comes_back_by_itself_if_somebody_dropped_it(days: Connection) -> None:
    with days.cursor() as cursor:
        cursor.execute("drop schema analytics cascade")
    by_hand.roll_back("ada", "analytics is gone")
    assert published(days) == ["day 1"]


def test_no_schema_of_somebodys_is_in_the_way_of_the_exchange(days: Connection) -> None:
    with days.cursor() as cursor:
        cursor.execute("create schema analytics_former; create table analytics_former.kept ()")
    by_hand.roll_back("ada", "wrong")
    assert published(days) == ["day 1"]
    with days.cursor() as cursor:
        cursor.execute("select to_regclass('analytics_former.kept')::text")
        assert cursor.fetchone() == ("analytics_former.kept",)


def test_a_decision_that_was_killed_is_in_nobodys_way(days: Connection, warehouse: Warehouse, forks: Forks) -> None:
    def is_held() -> bool:
        with days.cursor() as cursor:
            return lease.held(cursor) is not None

    reader = psycopg2.connect(host=warehouse.host, port=warehouse.port, dbname=warehouse.database, user=warehouse.user)
    with reader.cursor() as cursor:
        cursor.execute("select * from analytics.m")  # so the rollback has to wait
        deciding = forks.start(command("include.publish", "roll-back", "--by", "ada", "--reason", "wrong"))
        try:
            wait_for(is_held, "the lease is held")
        finally:
            deciding.kill()
    reader.close()
    wait_for(lambda: not is_held(), "the lease is free")
    lease.take(days, "run 3")
    assert published(days) == ["day 2"]
