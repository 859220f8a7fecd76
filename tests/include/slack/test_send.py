"""The outbox: one delivered message a run and kind, whatever Slack answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection as Connection

from include.slack.render import Message
from include.slack.send import deliver, told
from include.warehouse import connect, migrate
from tests.slack_server import Slack, slack_server

pytestmark = pytest.mark.db

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "all is well"}}
MESSAGE = Message("published", "✅ fine", "✅ fine\n\nall is well", [SECTION])


@pytest.fixture
def outbox(db: Connection) -> Connection:
    """A warehouse with `ops`."""
    migrate.upgrade()
    return db


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """A Slack that the environment's connection leads to."""
    with slack_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", server.connection())
        yield server


def send(message: Message = MESSAGE, run_id: str = "run 1") -> None:
    with connect() as connection:
        deliver(connection, run_id, message)


def kept(outbox: Connection) -> list[tuple]:
    with outbox.cursor() as cursor:
        cursor.execute("select run_id, kind, sent_at is not null, problem from ops.messages order by run_id, kind")
        return cursor.fetchall()


def test_without_a_connection_the_message_is_kept(outbox: Connection) -> None:
    send()
    assert kept(outbox) == [("run 1", "published", False, None)]


def test_a_message_arrives_with_its_blocks_and_a_text_for_notifications(outbox: Connection, slack: Slack) -> None:
    send()
    assert [(one["text"], one["blocks"]) for one in slack.accepted] == [("✅ fine", [SECTION])]
    assert kept(outbox) == [("run 1", "published", True, None)]


def test_a_repeated_report_sends_nothing_twice(outbox: Connection, slack: Slack) -> None:
    send()
    send()
    assert len(slack.accepted) == 1


def test_each_run_has_its_own_message(outbox: Connection, slack: Slack) -> None:
    send()
    send(run_id="run 2")
    assert len(slack.accepted) == 2


def test_a_run_that_is_cleared_and_ends_otherwise_says_so(outbox: Connection, slack: Slack) -> None:
    send(Message("failed", "🔴 one test", "🔴 one test", [SECTION]))
    send(Message("failed", "🔴 another test", "🔴 another test", [SECTION]))
    send()
    assert [one["text"] for one in slack.accepted] == ["🔴 one test", "🔴 another test", "✅ fine"]


def test_the_backstop_knows_what_was_told(outbox: Connection, slack: Slack) -> None:
    with connect() as connection:
        assert not told(connection, "run 1", "failed")
        send()
        assert not told(connection, "run 1", "failed")
        send(Message("failed", "🔴", "🔴", [SECTION]))
        assert told(connection, "run 1", "failed")


@pytest.mark.parametrize("answers", [[500], [429], [500, 500]])
def test_a_passing_trouble_is_retried(outbox: Connection, slack: Slack, answers: list[int]) -> None:
    slack.answers = answers
    send()
    assert len(slack.accepted) == 1


def test_a_refused_message_is_kept_with_the_reason_and_sent_later(outbox: Connection, slack: Slack) -> None:
    slack.answers = [404]
    with pytest.raises(Exception, match=r"not now|404"):
        send()
    [(_, _, sent, problem)] = kept(outbox)
    assert not sent
    assert problem
    send()
    assert kept(outbox) == [("run 1", "published", True, None)]


def test_the_played_slack_refuses_what_slack_refuses(outbox: Connection, slack: Slack) -> None:
    with pytest.raises(Exception, match="invalid_blocks"):
        send(Message("published", "x", "x", [SECTION] * 51))
    assert slack.accepted == []
