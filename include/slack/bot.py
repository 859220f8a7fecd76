"""A bot token: posts a message, replaces what it posted, keeps long details in the thread, and finds its own again.

Each message carries its label as Slack message metadata. Where an answer got lost the channel's history is asked for
the label before anything is posted again, so nothing comes twice. That takes the scopes `chat:write` and
`channels:history` (`groups:history` for a private channel), the bot in the channel, and the channel by its id.

What is replaced makes no sound in Slack: a failure that takes the place of a run's progress is told in its thread too,
and from there to the channel.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.slack.hooks.slack import SlackHook
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.handler import default_interval_calculator

from include import settings
from include.slack import transport
from include.slack.message import Message
from include.slack.transport import Label, Place, RefusedError, UnavailableError
from include.slack.webhook import BAD_CONTENT, plain

CONNECTION = "slack_bot"
EVENT = "greenery_message"
FAILED = "failed"
# What a phone shows without much scrolling; the rest goes to the thread.
LONGEST_MESSAGE = 2500
IMPATIENT_SECONDS = 3
# Slack's clock and the warehouse's may differ.
CLOCKS = timedelta(minutes=10)
# Slack's words for trouble that passes.
PASSING = ("ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout")
# What was posted can't be replaced any more: it is gone, or its channel is, or it is too old.
GONE = (
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "is_archived",
    "channel_not_found",
    "not_in_channel",
)

log = logging.getLogger(__name__)


class Bot:
    """One channel, as the bot of the Airflow connection `slack_bot`.

    `patient` is one that retries and waits. Raises AirflowNotFoundException where there is no such connection.
    """

    def __init__(self, channel: str, *, patient: bool = True) -> None:
        self.name = f"channel {channel}"
        self._channel = channel
        self._attempts = 1 + transport.RETRIES if patient else 1
        self._timeout = settings.slack_timeout() if patient else min(settings.slack_timeout(), IMPATIENT_SECONDS)
        # To post is retried here only where Slack says that it was not done; to ask or to replace, whatever happens.
        self._once = self._connect([transport.limited()] if patient else [])
        self._repeatable = self._connect(transport.all_trouble() if patient else [])

    def send(
        self, message: Message, label: Label, *, place: Place | None = None, since: datetime | None = None
    ) -> Place:
        """Post or replace it, with what is long in its thread. See `transport.Channel`."""
        if not self._channel:
            raise RefusedError("GREENERY_SLACK_CHANNEL is not set, so the bot of slack_bot has no channel to speak in")
        shown, rest = split(message.blocks)
        aloud = bool(place) and message.kind == FAILED
        if aloud:
            rest = rest or shown[:1]
        place = place or (self._find(label, since) if since else None)
        replaced = place and self._say("chat.update", message, shown, label, place=place)
        place = replaced or self._post(message, shown, label)
        if rest:
            details = self._find(label, since, thread=place) if since or replaced else None
            if details:
                self._say("chat.update", message, rest, label, place=details)
            else:
                self._post(message, rest, label, thread=place, aloud=aloud)
        return place

    def _post(
        self, message: Message, blocks: list[dict], label: Label, *, thread: Place | None = None, aloud: bool = False
    ) -> Place:
        """Post, and before posting again look whether it arrived although its answer got lost."""
        started = datetime.now().astimezone()
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(default_interval_calculator.calculate_sleep_duration(attempt))
                if found := self._find(label, started, thread=thread):
                    return found
            try:
                return self._say("chat.postMessage", message, blocks, label, thread=thread, aloud=aloud)
            except UnavailableError as error:
                trouble = error
        raise trouble

    def _say(
        self,
        method: str,
        message: Message,
        blocks: list[dict],
        label: Label,
        *,
        place: Place | None = None,
        thread: Place | None = None,
        aloud: bool = False,
    ) -> Place | None:
        """One call that writes; None where what is to be replaced is gone."""
        at = {"channel": place.channel, "ts": place.ts} if place else {"channel": self._channel}
        body = {
            **at,
            **({"thread_ts": thread.ts, "reply_broadcast": aloud} if thread else {}),
            "text": message.headline,
            "blocks": blocks,
            "metadata": {"event_type": EVENT, "event_payload": vars(label)},
            "unfurl_links": False,
        }
        client = self._repeatable if place else self._once
        try:
            answer = self._call(client, method, json=body)
        except RefusedError as refusal:
            word = str(refusal)
            if place and word.startswith(GONE):
                return None
            if not word.startswith(BAD_CONTENT):
                raise
            answer = self._call(client, method, json=body | {"text": plain(message), "blocks": []})
        return Place(answer["channel"], answer["ts"])

    def _find(self, label: Label, since: datetime | None, *, thread: Place | None = None) -> Place | None:
        """Where the message with this label stands; None where there is none, or where the bot may not look."""
        params: dict[str, Any] = {"channel": self._channel, "include_all_metadata": True, "limit": 200}
        if since:
            params["oldest"] = str((since - CLOCKS).timestamp())
        method = "conversations.history"
        if thread:
            method, params = "conversations.replies", params | {"channel": thread.channel, "ts": thread.ts}
        cursor = None
        try:
            while cursor is None or cursor:
                page = self._call(self._repeatable, method, params=params | ({"cursor": cursor} if cursor else {}))
                for one in page["messages"]:
                    metadata = one.get("metadata", {})
                    # A thread begins with what it is about, and a channel shows replies that are heard in it.
                    reply = one.get("thread_ts", one["ts"]) != one["ts"]
                    if reply != bool(thread):
                        continue
                    if metadata.get("event_type") == EVENT and metadata["event_payload"] == vars(label):
                        return Place(params["channel"], one["ts"])
                cursor = page.get("response_metadata", {}).get("next_cursor", "")
        except RefusedError as refusal:
            log.warning("Can't look whether a message arrived, so it may come twice: %s", refusal)
        return None

    def _connect(self, retried: list) -> Any:
        return SlackHook(slack_conn_id=CONNECTION, timeout=self._timeout, retry_handlers=retried).client

    def _call(self, client: Any, method: str, **arguments: Any) -> Any:
        try:
            return client.api_call(method, **arguments)
        except SlackApiError as error:
            status, word = error.response.status_code, str(error.response.get("error"))
            if status == 429 or status >= 500 or word in PASSING:
                raise UnavailableError(f"{self.name}: Slack answers {status} {word}") from error
            raise RefusedError(f"{word} ({method}, {self.name})") from error
        except transport.LOST as error:
            raise UnavailableError(f"{self.name}: {error}") from error


def split(blocks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What of a message stands in the channel, and what in its thread: whole blocks, and the last one stays below."""
    *parts, last = blocks or [{}]
    shown, used = [], 0
    for place, block in enumerate(parts):
        used += len(block.get("text", {}).get("text", ""))
        if used > LONGEST_MESSAGE and place > 1:  # a headline and one part in any case
            return [*shown, last], parts[place:]
        shown.append(block)
    return blocks, []
