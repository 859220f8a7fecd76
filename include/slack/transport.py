"""What the ways into Slack have in common: a message's label and place, what can go wrong, what is retried.

Trouble is one of two kinds. Slack can be out of reach for now (UnavailableError): the same may work in a minute. Or it
says no (RefusedError): somebody has to mend a webhook, a token or a channel first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from typing import Protocol
from urllib.error import URLError

from slack_sdk.http_retry import RetryHandler
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)

from include.slack.message import Message

RETRIES = 3
# How a connection is lost: refused, reset, out of time, or cut within an answer. Slack's clients raise these.
LOST = (OSError, HTTPException)


class UnavailableError(Exception):
    """Slack can't be reached or asks for patience; the message may have arrived all the same."""


class RefusedError(Exception):
    """Slack won't take the message; the text is Slack's word for why, and what to do."""


@dataclass(frozen=True)
class Label:
    """Which message it is: unique, so that it can be found again."""

    run_id: str
    audience: str
    number: int


@dataclass(frozen=True)
class Place:
    """Where a message stands: the id of a channel, and Slack's `ts` in it."""

    channel: str
    ts: str


class Channel(Protocol):
    """A way to one channel of Slack's."""

    name: str

    def send(
        self, message: Message, label: Label, *, place: Place | None = None, since: datetime | None = None
    ) -> Place | None:
        """Post a message, or replace what stands at `place`; returns where it stands, if that can be known.

        `since` is when a former try began, of which nobody knows whether it arrived. Raises UnavailableError or
        RefusedError.
        """


def limited() -> RetryHandler:
    """Retries what Slack has not done, since it asks for patience: as late as it says."""
    return RateLimitErrorRetryHandler(max_retry_count=RETRIES)


def all_trouble() -> list[RetryHandler]:
    """Retries with back-off whatever may pass: limits, failures of Slack's, connections lost or out of time."""
    return [
        limited(),
        ServerErrorRetryHandler(max_retry_count=RETRIES),
        ConnectionErrorRetryHandler(max_retry_count=RETRIES, error_types=[URLError, *LOST]),
    ]
