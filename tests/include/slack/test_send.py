"""The outbox: one delivered message a run, kind and audience, whatever Slack answers and whoever crashes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.slack import outbox as store_of
from include.slack.channels import Audience, to_all
from include.slack.message import Message
from include.slack.outbox import newest
from include.slack.send import deliver, send_waiting, told
from include.slack.transport import Place, UnavailableError
from include.warehouse import connect
from tests.forks import Forks
from tests.slack_server import DROP, ENGINEERS_PATH, HANG, TAKE_AND_DROP, TAKE_AND_HANG, Slack

pytestmark = pytest.mark.db

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "all is well"}}
MESSAGE = Message("published", "✅ fine", "✅ fine\n\nall is well", [SECTION])
FAILED = Message("failed", "🔴 one test", "🔴 one test", [SECTION])
SHORT = Message("failed", "🔴 not published", "🔴 not published", [SECTION])

# What a process does that is killed before it can note that Slack took its message.
SENDER = """
from include.slack.channels import to_all
from include.slack.message import Message
from include.slack.send import deliver
from include.warehouse import connect
with connect() as connection:
    deliver(connection, "run 1", to_all(Message("published", "✅ fine", "✅ fine", [])))
"""


@pytest.fixture
def webhook(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> Slack:
    """One webhook leads to Slack."""
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", slack.connection())
    return slack


@pytest.fixture
def bot(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> Slack:
    """A bot speaks in one channel."""
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_BOT", slack.bot())
    monkeypatch.setenv("GREENERY_SLACK_CHANNEL", "C0STATE")
    return slack


@pytest.fixture(params=["webhook", "bot"])
def either(request: pytest.FixtureRequest) -> Slack:
    """A Slack reached in the one way and in the other."""
    return request.getfixturevalue(request.param)


def send(message: Message = MESSAGE, run_id: str = "run 1") -> None:
    with connect() as connection:
        deliver(connection, run_id, to_all(message))


def heard(slack: Slack) -> list[str]:
    """The texts that stand in the channel."""
    return [one["text"] for one in slack.accepted] or slack.said()


def kept(outbox: Connection) -> list[tuple]:
    with outbox.cursor() as cursor:
        cursor.execute("select run_id, kind, sent_at is not null, problem from ops.messages order by message_id")
        return cursor.fetchall()


def crash(slack: Slack, forks: Forks) -> None:
    """A sender that is killed once Slack has its message, before it hears so."""
    slack.answers[:] = [TAKE_AND_HANG]
    sender = forks.start(SENDER)
    try:
        assert slack.taken.wait(60)
    finally:
        sender.kill()


def test_without_a_connection_the_message_is_kept(outbox: Connection) -> None:
    send()
    assert kept(outbox) == [("run 1", "published", False, None)]


def test_what_was_kept_without_a_connection_is_no_news_when_there_is_one(
    outbox: Connection, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(run_id="run 1")
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", slack.connection())
    send(FAILED, run_id="run 2")
    assert heard(slack) == ["🔴 one test"]


def test_where_slack_was_told_lately_a_connection_that_is_not_found_is_waited_for(
    outbox: Connection, webhook: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(run_id="run 1")
    with monkeypatch.context() as stumbling:
        stumbling.delenv("AIRFLOW_CONN_SLACK_DEFAULT")
        send(FAILED, run_id="run 2")
    send_waiting(outbox)
    assert heard(webhook) == ["✅ fine", "🔴 one test"]


def test_a_progress_message_is_nobody_s_last_word(
    outbox: Connection, bot: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot shows how far a run is to engineers alone; what is decided meanwhile waits for both."""
    monkeypatch.setenv("GREENERY_SLACK_ENGINEERS_CHANNEL", "C0ENGINEERS")
    send(run_id="run 1")
    with outbox.cursor() as cursor:
        cursor.execute(
            "insert into ops.messages (run_id, audience, number, kind, headline, body, blocks, waiting, tried_at)"
            " values ('run 2', 'engineers', 1, 'progress', '', '', '[]', false, now())"
        )
    with monkeypatch.context() as shell:
        shell.delenv("AIRFLOW_CONN_SLACK_BOT")
        send(FAILED, run_id="decision 1")
    with outbox.cursor() as cursor:
        cursor.execute("select audience from ops.messages where run_id = 'decision 1' order by 1")
        assert cursor.fetchall() == [("engineers",), ("stakeholders",)]


def test_a_slack_that_was_given_up_is_waited_for_no_more(
    outbox: Connection, webhook: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(run_id="run 1")
    with outbox.cursor() as cursor:
        cursor.execute("update ops.messages set sent_at = sent_at - interval '32 days'")
    with monkeypatch.context() as without:
        without.delenv("AIRFLOW_CONN_SLACK_DEFAULT")
        send(FAILED, run_id="run 2")
    send_waiting(outbox)
    assert heard(webhook) == ["✅ fine"]


def test_a_message_arrives_with_its_blocks_and_a_text_for_notifications(outbox: Connection, either: Slack) -> None:
    send()
    assert [(one["text"], one["blocks"]) for one in either.accepted + either.posted] == [("✅ fine", [SECTION])]
    assert kept(outbox) == [("run 1", "published", True, None)]


def test_a_repeated_report_sends_nothing_twice(outbox: Connection, either: Slack) -> None:
    send()
    send()
    assert heard(either) == ["✅ fine"]


def test_each_run_has_its_own_message(outbox: Connection, either: Slack) -> None:
    send()
    send(run_id="run 2")
    assert heard(either) == ["✅ fine"] * 2


def test_a_run_that_is_cleared_and_ends_otherwise_says_so(outbox: Connection, either: Slack) -> None:
    send(FAILED)
    send(Message("failed", "🔴 another test", "🔴 another test", [SECTION]))
    send()
    assert heard(either) == ["🔴 one test", "🔴 another test", "✅ fine"]


def test_the_backstop_knows_what_was_told(outbox: Connection, webhook: Slack) -> None:
    with connect() as connection:
        assert not told(connection, "run 1", "failed")
        send()
        assert not told(connection, "run 1", "failed")
        send(FAILED)
        assert told(connection, "run 1", "failed")
        webhook.answers[:] = [404]
        send(SHORT)
        assert not told(connection, "run 1", "failed")


def test_senders_at_once_send_one_message(outbox: Connection, either: Slack) -> None:
    with ThreadPoolExecutor(6) as senders:
        list(senders.map(lambda _: send(), range(6)))
    assert heard(either) == ["✅ fine"]
    assert kept(outbox) == [("run 1", "published", True, None)]


@pytest.mark.parametrize("answers", [[429], [500, 500], [DROP], [HANG]])
def test_a_passing_trouble_is_retried(outbox: Connection, either: Slack, answers: list[int | str | None]) -> None:
    either.answers[:] = answers
    send()
    assert heard(either) == ["✅ fine"]
    assert kept(outbox) == [("run 1", "published", True, None)]


def test_a_lasting_trouble_is_for_airflow_to_retry_and_the_message_waits(outbox: Connection, either: Slack) -> None:
    either.answers[:] = [500] * 50
    with pytest.raises(UnavailableError):
        send()
    [(_, _, sent, problem)] = kept(outbox)
    assert not sent
    assert problem
    either.answers.clear()
    send()
    assert heard(either) == ["✅ fine"]


@pytest.mark.parametrize("trouble", [TAKE_AND_HANG, TAKE_AND_DROP])
def test_with_a_bot_what_arrived_unheard_is_found_and_not_posted_again(
    outbox: Connection, bot: Slack, trouble: str
) -> None:
    for number in range(3):  # so that history has pages
        send(run_id=f"run before {number}")
    bot.answers[:] = [trouble]
    send()
    assert heard(bot) == ["✅ fine"] * 4
    assert kept(outbox)[-1] == ("run 1", "published", True, None)


def test_with_a_bot_a_crash_between_sending_and_noting_it_doubles_nothing(
    outbox: Connection, bot: Slack, forks: Forks
) -> None:
    crash(bot, forks)
    assert kept(outbox) == [("run 1", "published", False, None)]
    # People talk meanwhile, so that it is not on the history's first page any more.
    bot.posted += [{"channel": "C0STATE", "ts": f"4100000000.{number}", "text": "hm"} for number in range(3)]
    send(Message("published", "✅ fine", "✅ fine", []))
    assert heard(bot) == ["✅ fine", "hm", "hm", "hm"]
    assert kept(outbox) == [("run 1", "published", True, None)]


@pytest.mark.torture
def test_a_sender_that_is_frozen_while_it_asks_slack_keeps_nobody_silent(
    outbox: Connection, bot: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = store_of.LONGEST_SILENCE
    monkeypatch.setattr(store_of, "LONGEST_SILENCE", "200ms")

    def another_sends() -> None:
        monkeypatch.setattr(store_of, "LONGEST_SILENCE", longest)  # it may be slow
        send(FAILED, run_id="run 2")

    with pytest.raises(psycopg2.OperationalError), connect() as frozen, store_of.sending(frozen):
        another_sends()
    assert heard(bot) == ["🔴 one test"]


def test_after_a_crash_the_next_run_sends_what_waits(outbox: Connection, bot: Slack, forks: Forks) -> None:
    crash(bot, forks)
    send(FAILED, run_id="run 2")
    assert heard(bot) == ["✅ fine", "🔴 one test"]
    assert kept(outbox) == [("run 1", "published", True, None), ("run 2", "failed", True, None)]


def test_with_a_webhook_a_crash_between_the_two_is_the_one_window_for_a_double(
    outbox: Connection, webhook: Slack, forks: Forks
) -> None:
    crash(webhook, forks)
    send(Message("published", "✅ fine", "✅ fine", []))
    assert heard(webhook) == ["✅ fine"] * 2


def test_what_is_reported_anew_before_it_arrived_is_one_message_as_it_is_now(
    outbox: Connection, bot: Slack, forks: Forks
) -> None:
    crash(bot, forks)
    send(Message("published", "✅ fine, in a minute", "✅ fine, in a minute", []))
    assert heard(bot) == ["✅ fine, in a minute"]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [([404], "404"), (["channel_not_found"], "channel_not_found"), (["invalid_auth"], "invalid_auth")],
)
def test_a_refused_message_is_no_failure_and_is_sent_before_the_next_one(
    outbox: Connection,
    request: pytest.FixtureRequest,
    answers: list[int | str],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slack = request.getfixturevalue("webhook" if answers == [404] else "bot")
    slack.answers[:] = answers
    send(FAILED)
    [(_, _, sent, problem)] = kept(outbox)
    assert not sent
    assert reason in problem
    assert reason in caplog.text
    send(run_id="run 2")
    assert heard(slack) == ["🔴 one test", "✅ fine"]
    assert [(sent, problem) for _, _, sent, problem in kept(outbox)] == [(True, None)] * 2


def test_what_waits_is_sent_without_a_new_message_too(outbox: Connection, webhook: Slack) -> None:
    webhook.answers[:] = [403]
    send()
    with connect() as connection:
        send_waiting(connection)
    assert heard(webhook) == ["✅ fine"]


def test_a_wrong_token_and_a_channel_that_is_none_are_refused(
    outbox: Connection, bot: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_SLACK_CHANNEL", "C0TYPO")
    send()
    assert kept(outbox)[-1][3].startswith("channel_not_found")
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_BOT", bot.bot("xoxb-wrong"))
    send()
    assert kept(outbox)[-1][3].startswith("invalid_auth")


def test_a_bot_without_a_channel_says_what_it_lacks(
    outbox: Connection, bot: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GREENERY_SLACK_CHANNEL")
    send()
    assert kept(outbox)[0][3].startswith("GREENERY_SLACK_CHANNEL is not set")
    monkeypatch.setenv("GREENERY_SLACK_CHANNEL", "C0STATE")
    send(FAILED, "run 2")
    assert heard(bot) == ["✅ fine", "🔴 one test"]


def test_what_slack_can_not_draw_arrives_as_text(outbox: Connection, either: Slack) -> None:
    send(Message("published", "✅ fine", "✅ fine & <!channel>", [SECTION] * 51))
    assert [word.split(":")[0] for word in either.refused] == ["invalid_blocks"]
    assert heard(either) == ["✅ fine &amp; &lt;!channel&gt;"]


@pytest.mark.usefixtures("outbox")
class TestRouting:
    """Who hears what."""

    def tell(self) -> None:
        with connect() as connection:
            deliver(connection, "run 1", {Audience.ENGINEERS: FAILED, Audience.STAKEHOLDERS: SHORT})

    def test_two_webhooks_hear_each_their_own(self, webhook: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", webhook.connection(ENGINEERS_PATH))
        self.tell()
        assert [one["text"] for one in webhook.accepted] == ["🔴 not published"]
        assert [one["text"] for one in webhook.engineers] == ["🔴 one test"]

    def test_two_channels_hear_each_their_own(self, bot: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GREENERY_SLACK_ENGINEERS_CHANNEL", "C0ENGINEERS")
        self.tell()
        assert bot.said("C0STATE") == ["🔴 not published"]
        assert bot.said("C0ENGINEERS") == ["🔴 one test"]

    def test_one_alone_hears_the_whole(self, either: Slack) -> None:
        self.tell()
        assert heard(either) == ["🔴 one test"]

    def test_engineers_alone_hear_the_whole(self, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_ENGINEERS", slack.connection(ENGINEERS_PATH))
        self.tell()
        assert [one["text"] for one in slack.engineers] == ["🔴 one test"]

    def test_the_bot_goes_before_the_webhook(self, bot: Slack, webhook: Slack) -> None:
        self.tell()
        assert (bot.said(), webhook.accepted) == (["🔴 one test"], [])

    def test_a_channel_that_refuses_keeps_nothing_from_the_other(
        self, bot: Slack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GREENERY_SLACK_ENGINEERS_CHANNEL", "C0TYPO")
        self.tell()
        assert bot.said() == ["🔴 not published"]
        monkeypatch.setenv("GREENERY_SLACK_ENGINEERS_CHANNEL", "C0ENGINEERS")
        self.tell()
        assert (bot.said(), bot.said("C0ENGINEERS")) == (["🔴 not published"], ["🔴 one test"])


def test_what_is_long_stands_in_the_thread_and_is_not_doubled_there(outbox: Connection, bot: Slack) -> None:
    long = [{"type": "section", "text": {"type": "mrkdwn", "text": str(number) * 900}} for number in range(6)]
    message = Message("failed", "🔴 many", "🔴 many", long)
    bot.answers[:] = [TAKE_AND_DROP, None, TAKE_AND_DROP]  # of the message itself, of looking for it, of its details
    send(message)
    channel, *thread = bot.posted
    assert [len(one) for one in (channel["blocks"], *(one["blocks"] for one in thread))] == [3, 3]
    assert thread[0]["thread_ts"] == channel["ts"]
    assert channel["blocks"][-1] == long[-1]


def test_the_outbox_knows_where_a_message_stands(outbox: Connection, bot: Slack) -> None:
    send()
    with connect() as connection:
        place = newest(connection, "run 1", "engineers").place
    assert (place.channel, place.ts) == ("C0STATE", bot.posted[0]["ts"])
    assert json.loads(json.dumps(bot.posted[0]["metadata"]))["event_payload"]["run_id"] == "run 1"


def test_a_message_whose_channel_is_gone_is_posted_where_people_are_now(
    outbox: Connection, bot: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect() as connection:
        kept_now = store_of.keep(connection, "run 1", "engineers", Message("progress", "…", "…", []), waiting=False)
        store_of.stands(connection, kept_now, Place("C0GONE", "1.0"))
    send()
    assert heard(bot) == ["✅ fine"]


def test_messages_are_forgotten_after_their_time_but_for_what_waits(outbox: Connection) -> None:
    for number, waiting in enumerate((False, True, False)):
        store_of.keep(outbox, f"run {number}", "engineers", MESSAGE, waiting=waiting)
    with outbox.cursor() as cursor:
        cursor.execute("update ops.messages set created_at = now() - interval '401 days' where run_id <> 'run 2'")
    assert store_of.forget(outbox, timedelta(days=400)) == 1
    assert [run_id for run_id, *_ in kept(outbox)] == ["run 1", "run 2"]


def test_what_waited_and_has_new_words_is_read_after_what_came_meanwhile(outbox: Connection, webhook: Slack) -> None:
    for message, run_id in ((FAILED, "run 1"), (MESSAGE, "decision 1"), (SHORT, "run 1")):
        webhook.answers[:] = [404]
        send(message, run_id)
    with connect() as connection:
        send_waiting(connection)
    assert heard(webhook) == ["✅ fine", "🔴 not published"]
