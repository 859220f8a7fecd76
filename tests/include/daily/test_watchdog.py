"""Silence is reported: when something is late, what is said of it, and how often."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include.daily.promise import warnings
from include.daily.watchdog import FINE, TOO_LATE, UNKNOWN, check, known, note_schedule
from include.results import backups
from include.results.backups import Made
from include.settings import PROJECT_ROOT, Warehouse
from include.slack.channels import to_all
from include.slack.message import Message
from include.slack.send import deliver
from include.warehouse import connect, migrate
from tests.forks import NO_AIRFLOW, Forks, command
from tests.include.daily.test_due import HOUR, LONG_AGO, at
from tests.slack_server import Slack, slack_server

pytestmark = pytest.mark.db


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Slack]:
    """A Slack that the environment's connection leads to; what is remembered is this test's own."""
    monkeypatch.setenv("GREENERY_SLACK_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    with slack_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", server.connection())
        yield server


@pytest.fixture
def watched(db: Connection, slack: Slack) -> Connection:
    """A warehouse that has been watched since January, and has published nothing."""
    with db.cursor() as cursor:
        cursor.execute("update ops.watch set since = %s", (LONG_AGO,))
    return db


def publish(db: Connection, when: str, *, as_of: str | None = None) -> None:
    with db.cursor() as cursor:
        cursor.execute("insert into ops.runs (run_id, release, started_at) values (%s, 'x', %s)", (when, at(when)))
        cursor.execute(
            "insert into ops.publications (run_id, published_at, data_as_of, schema_oid)"
            " values (%s, %s, %s, to_regnamespace('analytics')::oid)",
            (when, at(when), at(as_of or when)),
        )


def said(slack: Slack) -> list[str]:
    return [one["text"] for one in slack.accepted]


def test_late_and_back_are_said_once_each(watched: Connection, slack: Slack) -> None:
    publish(watched, "23 06:05")
    assert check(at("24 06:55")).code == FINE
    assert [check(at(f"24 07:{minute}")).code for minute in ("00", "05", "10")] == [TOO_LATE] * 3
    assert said(slack) == ["🔴 Greenery data is late: nothing was published by 24 Nov 2026 07:00 UTC"]
    assert "data as of 23 Nov 2026 06:05 UTC" in str(slack.accepted[0]["blocks"])
    assert "Is the scheduler up" in str(slack.accepted[0]["blocks"])
    publish(watched, "24 09:00")
    assert [check(at(f"24 09:{minute}")).code for minute in ("01", "06")] == [FINE] * 2
    assert said(slack)[1:] == ["✅ Greenery data is published again"]
    assert "came 3 hours later" in str(slack.accepted[1]["blocks"])


def test_what_stays_late_is_said_again_the_next_day(watched: Connection, slack: Slack) -> None:
    for moment in ("24 07:00", "24 23:55", "25 00:05", "25 06:55", "25 07:00"):
        check(at(moment))
    assert [text[-21:] for text in said(slack)] == ["24 Nov 2026 07:00 UTC"[-21:], "25 Nov 2026 07:00 UTC"[-21:]]


def test_what_was_published_while_a_clock_was_ahead_hides_nothing_that_is_late(
    watched: Connection, slack: Slack
) -> None:
    publish(watched, "23 06:05")
    publish(watched, "30 06:05")
    assert check(at("24 07:00")).code == TOO_LATE
    assert check(at("30 07:00")).code == FINE


def test_after_thirty_missed_days_it_is_told_since_when_it_was_late(watched: Connection, slack: Slack) -> None:
    publish(watched, "01 06:05")
    for day in ("02", "03", "29", "30"):
        check(at(f"{day} 07:00"))
    assert len(said(slack)) == 4
    publish(watched, "30 10:00")
    check(at("30 10:01"))
    assert "What was due at 02 Nov 2026 06:00 UTC came 28 days later." in str(slack.accepted[-1]["blocks"])
    publish(watched, "30 11:00")
    with watched.cursor() as cursor:
        cursor.execute("update ops.watch set since = %s", (at("01 00:00"),))
    december = datetime(2026, 12, 1, 7, tzinfo=UTC)
    check(december)
    with watched.cursor() as cursor:
        cursor.execute("update ops.publications set published_at = %(at)s, data_as_of = %(at)s", {"at": december})
    check(december + HOUR)
    assert "What was due at 01 Dec 2026 06:00 UTC came 60 minutes later." in str(slack.accepted[-1]["blocks"])


def test_a_schedule_that_was_changed_makes_nothing_late_that_nobody_had_promised(
    watched: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(watched, "24 06:05")
    note_schedule(at("24 10:55"))
    monkeypatch.setenv("GREENERY_SCHEDULE", "0 9 * * *")
    for minute in ("00", "05"):
        note_schedule(at(f"24 11:{minute}"))
        assert check(at(f"24 11:{minute}")).code == FINE
    with connect() as connection:
        assert [(one.schedule, one.since) for one in known(connection, at("24 11:10")).scheduled] == [
            ("0 6 * * *", LONG_AGO),
            ("0 9 * * *", at("24 11:00")),
        ]
    assert said(slack) == []
    assert check(at("25 10:00")).code == TOO_LATE
    assert said(slack) == ["🔴 Greenery data is late: nothing was published by 25 Nov 2026 10:00 UTC"]


def test_who_asks_beside_airflow_goes_by_the_schedule_of_airflow(
    watched: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(watched, "24 06:05")
    note_schedule(at("24 06:10"))
    monkeypatch.setenv("GREENERY_SCHEDULE", "0 9 * * *")  # whose settings are others
    assert check(at("24 12:00")).code == FINE
    assert check(at("25 07:00")).code == TOO_LATE


def test_a_schedule_that_is_none_is_not_noted(watched: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENERY_SCHEDULE", "0 6 * *")
    with pytest.raises(ValueError, match="Exactly"):
        note_schedule(at("24 06:00"))
    with watched.cursor() as cursor:
        cursor.execute("select from ops.schedules")
        assert cursor.rowcount == 0


def test_a_rollback_is_neither_a_publication_nor_late(watched: Connection, slack: Slack) -> None:
    publish(watched, "24 06:05")
    publish(watched, "24 08:00", as_of="23 06:05")
    assert check(at("24 12:00")).code == FINE
    publish(watched, "25 06:30", as_of="23 06:05")
    assert check(at("25 07:00")).code == TOO_LATE


def test_a_run_that_is_under_way_and_one_that_failed_are_told_apart(watched: Connection, slack: Slack) -> None:
    with watched.cursor() as cursor:
        cursor.execute(
            "insert into ops.runs (run_id, release, started_at) values ('run 1', 'x', %s)", (at("24 06:00"),)
        )
    check(at("24 07:00"))
    assert "Run run 1 has begun and not ended yet." in str(slack.accepted[-1]["blocks"])
    with connect() as connection:
        deliver(connection, "run 1", to_all(Message("failed", "🔴", "🔴", [])))
    with watched.cursor() as cursor:
        cursor.execute("delete from ops.messages where kind = 'late'")
    check(at("24 07:05"))
    assert "Run run 1 failed; its message says of what." in str(slack.accepted[-1]["blocks"])


def test_engineers_alone_hear_once_that_a_promise_is_at_risk_before_everybody_hears_that_it_is_broken(
    watched: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3, 24):
        publish(watched, f"{day:02} 06:05")
    with slack_server() as theirs:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", theirs.connection())
        for minute in ("10", "20", "25", "59"):
            assert check(at(f"24 06:{minute}")).code == FINE
        assert said(theirs) == ["⚠️ Greenery data: the promise of 24 Nov 2026 07:00 UTC is at risk"]
        assert "No run has begun, and one usually begins by 06:05 UTC." in str(theirs.accepted[0]["blocks"])
        assert said(slack) == []
        check(at("24 07:00"))
        assert (
            said(theirs)[1:]
            == said(slack)
            == ["🔴 Greenery data is late: nothing was published by 24 Nov 2026 07:00 UTC"]
        )
    [warned] = warnings(watched)
    assert warned.was_right


def test_what_is_late_is_said_though_nobody_can_tell_what_will_be(watched: Connection, slack: Slack) -> None:
    with watched.cursor() as cursor:
        cursor.execute("alter table ops.risks rename to other")
    assert check(at("24 07:05")).code == TOO_LATE
    assert said(slack) == ["🔴 Greenery data is late: nothing was published by 24 Nov 2026 07:00 UTC"]


def test_who_does_not_speak_gives_no_warning_either(watched: Connection) -> None:
    for day in range(3, 24):
        publish(watched, f"{day:02} 06:05")
    check(at("24 06:20"), speaks=False)
    assert warnings(watched) == []


def back_up(db: Connection, when: str) -> None:
    backups.note(db, Made(when, at(when), ("warehouse", "airflow"), 1))


@pytest.fixture
def saved_daily(watched: Connection, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """The same, of which a backup is due each day since January, and nothing else is."""
    monkeypatch.setenv("GREENERY_SCHEDULE", "")
    monkeypatch.setenv("GREENERY_BACKUP_SCHEDULE", "30 7 * * *")
    with watched.cursor() as cursor:
        cursor.execute("update ops.watch set backups_since = %s", (LONG_AGO,))
    return watched


def test_a_backup_that_is_late_and_one_that_is_made_again_are_said_once_each(
    saved_daily: Connection, slack: Slack
) -> None:
    back_up(saved_daily, "23 07:31")
    for moment in ("24 08:25", "24 08:30", "24 08:35"):
        assert check(at(moment)).code == FINE, "the data is what the verdict is about"
    assert said(slack) == ["🔴 Greenery backups: none was made since 24 Nov 2026 07:30 UTC, when one was due"]
    assert "as of 23 Nov 2026 07:31 UTC" in str(slack.accepted[0]["blocks"])
    check(at("25 08:30"))
    assert said(slack)[1:] == ["🔴 Greenery backups: none was made since 25 Nov 2026 07:30 UTC, when one was due"]
    back_up(saved_daily, "25 09:00")
    for moment in ("25 09:05", "25 09:10"):
        check(at(moment))
    assert said(slack)[2:] == ["✅ Greenery backups are made again"]


def test_a_backup_that_is_named_by_a_time_to_come_hides_none_that_is_late(
    saved_daily: Connection, slack: Slack
) -> None:
    """A clock was ahead once."""
    back_up(saved_daily, "30 07:31")
    check(at("24 08:30"))
    assert said(slack) == ["🔴 Greenery backups: none was made since 24 Nov 2026 07:30 UTC, when one was due"]


def test_a_typo_in_the_schedule_of_backups_keeps_nothing_back_and_one_a_day_is_due(
    saved_daily: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_SCHEDULE", "0 6 * * *")
    monkeypatch.setenv("GREENERY_BACKUP_SCHEDULE", "30 7 * *")
    assert check(at("24 07:05")).code == TOO_LATE
    assert [text.partition(":")[0] for text in said(slack)] == ["🔴 Greenery data is late", "🔴 Greenery backups"]


def test_a_first_backup_that_is_never_made_is_late(saved_daily: Connection, slack: Slack) -> None:
    check(at("24 08:30"))
    assert "There is none at all." in str(slack.accepted[0]["blocks"])


@pytest.mark.parametrize(("schedule", "since"), [("", LONG_AGO), ("30 7 * * *", at("24 07:31"))])
def test_where_backups_are_made_elsewhere_or_only_begin_none_is_late(
    saved_daily: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch, schedule: str, since: datetime
) -> None:
    monkeypatch.setenv("GREENERY_BACKUP_SCHEDULE", schedule)
    with saved_daily.cursor() as cursor:
        cursor.execute("update ops.watch set backups_since = %s", (since,))
    check(at("24 12:00"))
    assert slack.accepted == []


def test_engineers_alone_hear_of_backups(
    saved_daily: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack_server() as theirs:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", theirs.connection())
        check(at("24 12:00"))
        assert (said(slack), len(said(theirs))) == ([], 1)


def test_those_who_look_at_once_say_it_once(watched: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENERY_SCHEDULE", "0 * * * *")
    with ThreadPoolExecutor(4) as lookers:  # one of them about the next tick already
        assert [one.code for one in lookers.map(check, [at("24 07:59"), at("24 08:00")] * 2)] == [TOO_LATE] * 4
    assert len(slack.accepted) == 1


def test_who_holds_publishing_back_is_named(watched: Connection, slack: Slack) -> None:
    with watched.cursor() as cursor:
        cursor.execute("insert into ops.decisions (action, decided_by, reason) values ('hold', 'ada', '<!channel> x')")
    check(at("24 07:00"))
    assert "ada holds publishing back" in str(slack.accepted[0]["blocks"])
    assert "<!channel>" not in str(slack.accepted[0]["blocks"])


def test_a_decision_whose_decider_was_killed_before_telling_it_is_told_once(watched: Connection, slack: Slack) -> None:
    publish(watched, "24 06:05")
    with watched.cursor() as cursor:
        cursor.execute(
            "insert into ops.decisions (decided_at, action, decided_by, reason) values"
            " (%(long_ago)s, 'hold', 'ada', 'long ago'), (%(now)s, 'roll back', 'ada', 'without effect'),"
            " (%(now)s, 'release', 'ada', 'they are gone')",
            {"long_ago": at("22 06:20"), "now": at("24 06:20")},
        )
    check(at("24 06:25"))
    assert said(slack) == [], "whoever decided may be about to say it"
    check(at("24 06:31"))
    check(at("24 06:36"))
    assert said(slack) == ["✋ Greenery data: publishing goes on"]
    assert "they are gone" in str(slack.accepted[0]["blocks"])


def test_on_the_first_day_nothing_is_late(empty_warehouse: Warehouse, slack: Slack) -> None:
    migrate.upgrade()
    verdict = check()
    assert (verdict.code, verdict.says) == (FINE, "Fine: nothing is due yet.")
    assert slack.accepted == []


def test_an_alert_that_slack_does_not_take_is_said_at_the_next_look(watched: Connection, slack: Slack) -> None:
    slack.answers[:] = [403]
    assert check(at("24 07:00")).code == TOO_LATE
    assert slack.accepted == []
    check(at("24 07:05"))
    check(at("24 07:10"))
    assert len(slack.accepted) == 1


def test_a_slack_that_is_down_changes_nothing_in_the_verdict(watched: Connection, slack: Slack) -> None:
    slack.answers[:] = [500] * 50
    assert check(at("24 07:00")).code == TOO_LATE
    slack.answers.clear()
    check(at("24 07:05"))
    assert len(slack.accepted) == 1


def test_each_look_sends_what_waits(watched: Connection, slack: Slack) -> None:
    slack.answers[:] = [403]
    with connect() as connection:
        deliver(connection, "run 1", to_all(Message("failed", "🔴", "🔴", [])))
    publish(watched, "24 06:05")
    check(at("24 07:00"))
    assert said(slack) == ["🔴"]


def test_a_warehouse_that_is_down_is_said_once_and_that_it_is_back_once(
    watched: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(watched, "24 06:05")
    with monkeypatch.context() as down:
        down.setenv("WAREHOUSE_PORT", "1")
        assert check(at("24 08:00")).code == UNKNOWN
        assert slack.accepted == []  # it may be a restart
        slack.answers[:] = [403]
        assert [check(at(f"24 08:{minute}")).code for minute in ("05", "10", "15")] == [UNKNOWN] * 3
        assert said(slack) == ["🔴 Greenery data: the warehouse can't be reached"]
    assert [check(at(f"24 08:{minute}")).code for minute in ("20", "25")] == [FINE] * 2
    assert said(slack)[1:] == ["✅ Greenery data: the warehouse can be reached again"]
    assert "out of reach for 20 minutes" in str(slack.accepted[1]["blocks"])


def test_a_restart_of_the_warehouse_is_not_worth_a_word(
    watched: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(watched, "24 06:05")
    with monkeypatch.context() as down:
        down.setenv("WAREHOUSE_PORT", "1")
        check(at("24 08:00"))
    check(at("24 08:01"))
    with monkeypatch.context() as down:
        down.setenv("WAREHOUSE_PORT", "1")
        check(at("24 09:00"))
    assert slack.accepted == []


def asked(forks: Forks, **environment: str | None) -> tuple[int, str]:
    """The command where no Airflow is up: exit code, and what it says."""
    done = forks.run(command("include.daily.watchdog"), **environment)
    return done.code, done.stdout


def test_the_command_needs_no_airflow_and_says_all_in_its_exit_code(
    watched: Connection, slack: Slack, forks: Forks
) -> None:
    code, words = asked(forks)
    assert (code, words[:5]) == (TOO_LATE, "Late:")
    assert said(slack)[0].startswith("🔴 Greenery data is late")
    with watched.cursor() as cursor:
        cursor.execute("insert into ops.runs (run_id, release) values ('now', 'x')")
        cursor.execute(
            "insert into ops.publications (run_id, published_at, data_as_of, schema_oid)"
            " select 'now', now(), now(), to_regnamespace('analytics')::oid"
        )
    code, words = asked(forks)
    assert (code, words[:5]) == (FINE, "Fine:")
    assert len(said(slack)) == 2
    code, words = asked(forks, GREENERY_SCHEDULE="at six")
    assert (code, "at six" in words or "can't be told" in words) == (UNKNOWN, True)
    code, words = asked(forks, WAREHOUSE_PORT="1")
    assert (code, words[:26]) == (UNKNOWN, "The warehouse can't be rea")
    assert words.count("\n") == 1


def test_a_command_that_knows_no_slack_leaves_the_word_to_the_dag(
    watched: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outside:
        outside.delenv("AIRFLOW_CONN_SLACK_DEFAULT")
        started = [
            sys.executable,
            "-m",
            "include.daily.watchdog",
        ]  # as people start it: what it imports may say something
        done = subprocess.run(
            started, cwd=PROJECT_ROOT, env=os.environ | NO_AIRFLOW, capture_output=True, text=True, timeout=120
        )
    assert (done.returncode, done.stdout[:5], said(slack)) == (TOO_LATE, "Late:", [])
    check()
    assert len(said(slack)) == 1
