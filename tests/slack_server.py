"""Slack's side, played on localhost: incoming webhooks and the Web API, which take and refuse what Slack does.

Limits as documented by Slack: 50 blocks a message, 3,000 characters a section, 150 a header, 40,000 in all. A channel
goes by its id, except where a message is posted; metadata is shown to who asks for it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
from slack_sdk.http_retry.handler import default_interval_calculator

from tests import http_server

PATH = "/services/T000/B000/secret"
ENGINEERS_PATH = "/services/T000/B001/secret"
TOKEN = "xoxb-played"
# By id, and the name by which a message may be posted as well.
CHANNELS = {"C0STATE": "#greenery", "C0ENGINEERS": "#greenery-engineers"}
PAGE = 2

# Trouble that is no answer at all; what is taken first arrives, and its sender does not hear of it.
HANG, DROP, TAKE_AND_HANG, TAKE_AND_DROP = "hang", "drop", "take and hang", "take and drop"


@dataclass
class Slack:
    """What arrived, and what to answer: each entry of `answers` is used up by one request, then Slack is well again.

    An answer is an HTTP status, one of the troubles above, an error word of the Web API, or None for Slack as it is.
    `answers_to` has one for the next call of a method of the Web API, whatever is asked before.
    `accepted` and `engineers` are what the two webhooks took, `posted` what the bot posted, as it reads now, and
    `calls` what it asked for.
    """

    url: str = ""
    accepted: list[dict[str, Any]] = field(default_factory=list)
    engineers: list[dict[str, Any]] = field(default_factory=list)
    posted: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    answers: list[int | str | None] = field(default_factory=list)
    answers_to: dict[str, int | str] = field(default_factory=dict)
    taken: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connection(self, path: str = PATH) -> str:
        """An Airflow connection to it, as AIRFLOW_CONN_SLACK_DEFAULT takes it."""
        return json.dumps({"conn_type": "slackwebhook", "host": self.url, "password": path.removeprefix("/services/")})

    def bot(self, token: str = TOKEN) -> str:
        """An Airflow connection to its Web API, as AIRFLOW_CONN_SLACK_BOT takes it."""
        extra = {"base_url": self.url.removesuffix("services") + "api/"}
        return json.dumps({"conn_type": "slack", "password": token, "extra": extra})

    def said(self, channel: str = "C0STATE") -> list[str]:
        """The texts that stand in a channel, threads aside."""
        return [one["text"] for one in self.posted if one["channel"] == channel and "thread_ts" not in one]

    def replied(self, channel: str = "C0STATE") -> list[str]:
        """The texts that stand in the threads of a channel."""
        return [one["text"] for one in self.posted if one["channel"] == channel and "thread_ts" in one]


@contextmanager
def slack_server() -> Iterator[Slack]:
    """Serve for the time of the block."""
    slack = Slack()

    class Handler(http_server.Handler):
        def do_POST(self) -> None:  # noqa: N802 - as http.server calls it
            body = self.body().decode()
            with slack.lock:
                answer = slack.answers_to.pop(self.path.removeprefix("/api/"), None)
                if answer is None and slack.answers:
                    answer = slack.answers.pop(0)
                status, text = self._planned(answer) or self._handled(body)
            if answer in (HANG, TAKE_AND_HANG):
                slack.closing.wait()
            if answer not in (HANG, DROP, TAKE_AND_HANG, TAKE_AND_DROP):
                self.answer(status, text, {"Retry-After": "1"} if status == 429 else {})

        def _planned(self, answer: int | str | None) -> tuple[int, str] | None:
            if answer in (None, TAKE_AND_HANG, TAKE_AND_DROP):
                return None
            if isinstance(answer, int):
                return answer, "not now"
            return 200, json.dumps({"ok": False, "error": answer})

        def _handled(self, body: str) -> tuple[int, str]:
            if self.path.startswith("/api/"):
                asked = json.loads(body) if "json" in self.headers["Content-Type"] else dict(parse_qsl(body))
                method = self.path.removeprefix("/api/")
                slack.calls.append(method)
                reply = _call(slack, method, asked, self.headers.get("Authorization", ""))
                if not reply["ok"]:
                    slack.refused.append(reply["error"])
                return 200, json.dumps(reply)
            if self.path not in (PATH, ENGINEERS_PATH):
                return 404, "no_service"
            message = json.loads(body)
            if problem := _problem(message):
                slack.refused.append(problem)
                return 400, problem
            (slack.accepted if self.path == PATH else slack.engineers).append(message)
            slack.taken.set()
            return 200, "ok"

    with http_server.served(Handler) as address, pytest.MonkeyPatch.context() as who_tries_again:
        slack.url = f"{address}/services"
        # It is well again at once, so that nobody need leave it seconds.
        who_tries_again.setattr(default_interval_calculator, "calculate_sleep_duration", lambda _: 0.02)
        try:
            yield slack
        finally:
            slack.closing.set()


def _call(slack: Slack, method: str, asked: dict[str, Any], authorization: str) -> dict[str, Any]:
    """A call of the Web API: its answer."""
    if not authorization:
        return _no("not_authed")
    if authorization != f"Bearer {TOKEN}":
        return _no("invalid_auth")
    channel = asked.get("channel")
    if method == "chat.postMessage":
        channel = next((one for one, name in CHANNELS.items() if channel in (one, name)), channel)
    if channel not in CHANNELS:
        return _no("channel_not_found")
    here = [one for one in slack.posted if one["channel"] == channel]
    if method in ("chat.postMessage", "chat.update"):
        if problem := _problem(asked) or _bad_metadata(asked.get("metadata")):
            return _no(problem.split(":")[0])
        if method == "chat.update":
            replaced = next((one for one in here if one["ts"] == asked["ts"]), None)
            if replaced is None:
                return _no("message_not_found")
            replaced |= {**asked, "channel": channel}
            return {"ok": True, "channel": channel, "ts": asked["ts"]}
        if "thread_ts" in asked and asked["thread_ts"] not in [one["ts"] for one in here]:
            return _no("thread_not_found")
        # After any clock's now, so that a test need not wait for a second to pass.
        ts = f"{4_000_000_000 + len(slack.posted)}.000100"
        slack.posted.append({**asked, "channel": channel, "ts": ts})
        slack.taken.set()
        return {"ok": True, "channel": channel, "ts": ts}
    if method == "conversations.history":
        return _page([one for one in reversed(here) if "thread_ts" not in one or one.get("reply_broadcast")], asked)
    if method == "conversations.replies":
        return _page([one for one in here if asked["ts"] in (one["ts"], one.get("thread_ts"))], asked)
    return _no("unknown_method")


def _page(messages: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
    """A page of messages: fewer than asked for, as Slack may give, and the cursor to the rest."""
    start = int(asked.get("cursor", 0))
    shown = [one for one in messages if float(one["ts"]) > float(asked.get("oldest", 0))]
    page = [dict(one) for one in shown[start : start + PAGE]]
    if str(asked.get("include_all_metadata")).lower() not in ("1", "true"):
        for one in page:
            one.pop("metadata", None)
    more = str(start + PAGE) if len(shown) > start + PAGE else ""
    return {"ok": True, "messages": page, "response_metadata": {"next_cursor": more}}


def _no(word: str) -> dict[str, Any]:
    return {"ok": False, "error": word}


def _bad_metadata(metadata: dict[str, Any] | None) -> str | None:
    if metadata is None:
        return None
    payload = metadata.get("event_payload")
    fine = bool(metadata.get("event_type")) and isinstance(payload, dict)
    return None if fine and all(isinstance(one, str | int) for one in payload.values()) else "invalid_metadata_format"


def _problem(message: dict[str, Any]) -> str | None:
    blocks = message.get("blocks", [])
    if not message.get("text"):
        return "no_text"
    if len(blocks) > 50:
        return "invalid_blocks: more than 50"
    for block in blocks:
        text = block.get("text", {}).get("text", "")
        kind = block["type"]
        if kind not in ("header", "section", "context", "divider"):
            return f"invalid_blocks: {kind}"
        if kind in ("header", "section") and not 1 <= len(text) <= {"header": 150, "section": 3000}[kind]:
            return f"invalid_blocks: {kind} of {len(text)} characters"
        if kind == "header" and block["text"]["type"] != "plain_text":
            return "invalid_blocks: header text must be plain_text"
        if kind == "context" and not 1 <= len(block["elements"]) <= 10:
            return "invalid_blocks: context elements"
    return "msg_too_long" if len(json.dumps(message)) > 40_000 else None
