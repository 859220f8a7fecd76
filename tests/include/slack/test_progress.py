"""One message that shows how far a run is, and becomes its last word."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include.slack import progress
from include.slack.channels import to_all
from include.slack.message import Message
from include.slack.notices import LAYERS
from include.slack.send import deliver, told
from include.warehouse import connect
from tests.slack_server import DROP, HANG, TAKE_AND_DROP, Slack

pytestmark = [pytest.mark.db, pytest.mark.usefixtures("outbox")]

HEADER = {"type": "header", "text": {"type": "plain_text", "text": "x"}}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "all is well"}}
PUBLISHED = Message("published", "✅ fine", "✅ fine", [HEADER, SECTION])
FAILED = Message("failed", "🔴 broken", "🔴 broken", [HEADER, SECTION])


@pytest.fixture
def bot(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> Slack:
    """A bot speaks in one channel."""
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_BOT", slack.bot())
    monkeypatch.setenv("GREENERY_SLACK_CHANNEL", "C0STATE")
    return slack


def at(*layers: str, run_id: str = "run 1") -> None:
    context: Any = {"dag": SimpleNamespace(dag_id="greenery_daily"), "run_id": run_id}
    for layer in layers:
        progress.at(context, layer)


def end(message: Message, run_id: str = "run 1") -> None:
    with connect() as connection:
        deliver(connection, run_id, to_all(message))


def test_one_message_goes_through_the_layers_and_ends_as_the_last_word(bot: Slack) -> None:
    for number, layer in enumerate(LAYERS, 1):
        at(layer)
        assert bot.said() == [f"⏳ Greenery data: a run is under way, {layer} ({number} of 5)"]
    end(PUBLISHED)
    assert (bot.said(), len(bot.posted)) == (["✅ fine"], 1)
    assert bot.posted[0]["blocks"] == [HEADER, SECTION]
    assert bot.calls.count("chat.postMessage") == 1


def test_a_failure_that_takes_the_place_of_progress_is_heard_in_the_channel(bot: Slack) -> None:
    at(*LAYERS[:2])
    end(FAILED)
    end(FAILED)
    message, reply = bot.posted
    assert bot.said() == ["🔴 broken"]
    assert (reply["thread_ts"], reply["reply_broadcast"], reply["text"]) == (message["ts"], True, "🔴 broken")


def test_a_last_word_that_arrived_unheard_is_not_mistaken_for_what_its_thread_says(
    outbox: Connection, bot: Slack
) -> None:
    at("sources")
    end(FAILED)
    with outbox.cursor() as cursor:  # as if nobody had noted where it stands
        cursor.execute("update ops.messages set waiting = true, ts = null")
        cursor.execute("select count(*) from ops.messages where waiting")
        assert cursor.fetchone() == (1,)
    end(Message("failed", "🔴 broken", "🔴 broken, again", [HEADER, SECTION]))
    with outbox.cursor() as cursor:
        cursor.execute("select ts from ops.messages order by message_id limit 1")
        assert cursor.fetchone() == (bot.posted[0]["ts"],)


def test_a_run_that_shows_progress_has_not_said_its_last_word(bot: Slack) -> None:
    at(LAYERS[0])
    with connect() as connection:
        assert not told(connection, "run 1", "failed")


def test_a_task_that_is_cleared_alone_leaves_the_last_word_alone(bot: Slack) -> None:
    at(*LAYERS)
    end(PUBLISHED)
    at("publish")
    assert bot.said() == ["✅ fine"]


def test_a_run_that_is_cleared_from_its_start_has_a_new_message(bot: Slack) -> None:
    at(*LAYERS[:2])
    end(FAILED)
    at(*LAYERS)
    end(PUBLISHED)
    assert bot.said() == ["🔴 broken", "✅ fine"]


def test_a_first_task_that_is_retried_goes_on_with_its_message(bot: Slack) -> None:
    at("sources", "sources", "models")
    assert len(bot.said()) == 1


@pytest.mark.parametrize("trouble", [500, DROP, HANG, "channel_not_found", "invalid_auth"])
def test_no_trouble_of_slack_s_fails_or_holds_up_a_task(bot: Slack, trouble: int | str) -> None:
    bot.answers[:] = [trouble]
    began = time.monotonic()
    at("sources")
    assert time.monotonic() - began < 8  # of the second that Slack has, and what a busy machine adds
    assert bot.said() == []
    at("models")
    end(PUBLISHED)
    assert bot.said() == ["✅ fine"]


def test_progress_that_arrived_unheard_is_gone_on_with(bot: Slack) -> None:
    bot.answers[:] = [TAKE_AND_DROP]
    at("sources", "models")
    end(PUBLISHED)
    assert bot.said() == ["✅ fine"]


def test_where_somebody_deleted_the_message_the_last_word_comes_all_the_same(bot: Slack) -> None:
    at("sources")
    bot.posted.clear()
    end(PUBLISHED)
    assert bot.said() == ["✅ fine"]


def test_engineers_see_the_progress_and_stakeholders_the_end(bot: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENERY_SLACK_ENGINEERS_CHANNEL", "C0ENGINEERS")
    at("sources")
    assert (len(bot.said("C0ENGINEERS")), bot.said()) == (1, [])
    end(PUBLISHED)
    assert (bot.said("C0ENGINEERS"), bot.said()) == (["✅ fine"], ["✅ fine"])


def test_with_a_webhook_there_is_one_message_at_the_end(
    outbox: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", slack.connection())
    monkeypatch.setenv("GREENERY_SLACK_CHANNEL", "C0STATE")  # without its bot
    at(*LAYERS)
    end(PUBLISHED)
    assert [one["text"] for one in slack.accepted] == ["✅ fine"]
    with outbox.cursor() as cursor:
        cursor.execute("select kind from ops.messages")
        assert cursor.fetchall() == [("published",)]


def test_a_warehouse_that_is_down_fails_no_task(bot: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_PORT", "1")
    at("sources")
    assert bot.calls == []
