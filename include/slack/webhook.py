"""An incoming webhook: takes a message and can't be asked about it.

So a message whose answer got lost (a time-out, a crash of ours before it was noted) is posted again: the one window in
which it can come twice. With a bot token there is none.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

from include import settings
from include.slack import transport
from include.slack.message import Message, escape
from include.slack.transport import Label, Place, RefusedError, UnavailableError

# Slack's words for a message that it can't draw.
BAD_CONTENT = ("invalid_blocks", "invalid_payload", "msg_blocks_too_long", "msg_too_long")
LONGEST_TEXT = 4000


class Webhook:
    """The webhook of an Airflow connection. Raises AirflowNotFoundException where there is no such connection."""

    def __init__(self, connection_id: str) -> None:
        self.name = f"webhook {connection_id}"
        self._client = SlackWebhookHook(
            slack_webhook_conn_id=connection_id,
            timeout=settings.slack_timeout(),
            retry_handlers=transport.all_trouble(),
        ).client

    def send(
        self,
        message: Message,
        label: Label,  # noqa: ARG002 what only a bot can use
        *,
        place: Place | None = None,  # noqa: ARG002
        since: datetime | None = None,  # noqa: ARG002
    ) -> None:
        """Post it; where it then stands nobody knows. See `transport.Channel`."""
        try:
            self._post(message.headline, message.blocks)
        except RefusedError as refusal:
            if not str(refusal).startswith(BAD_CONTENT):
                raise
            self._post(plain(message), None)

    def _post(self, text: str, blocks: list[dict] | None) -> None:
        try:
            answer = self._client.send(text=text, blocks=blocks)
        except transport.LOST as error:
            raise UnavailableError(f"{self.name}: {error}") from error
        if answer.status_code == 429 or answer.status_code >= 500:
            raise UnavailableError(f"{self.name}: Slack answers {answer.status_code} {answer.body}")
        if answer.status_code != 200:
            raise RefusedError(f"{answer.body} ({answer.status_code}, {self.name})")


def plain(message: Message) -> str:
    """A message as text alone, for a Slack that won't draw its blocks."""
    return escape(message.body)[:LONGEST_TEXT]
