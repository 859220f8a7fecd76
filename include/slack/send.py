"""Sending: the outbox in `ops.messages`, and Slack's incoming webhook where there is a connection for one.

A message is kept before it is sent and marked once Slack took it, so a retried or repeated report sends nothing twice.
(A crash between the two can: a webhook can't be asked what it has received.)
"""

from __future__ import annotations

import logging

from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from airflow.sdk.exceptions import AirflowNotFoundException
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)

from include.slack.render import Message

CONNECTION = "slack_default"

log = logging.getLogger(__name__)


def deliver(connection: Connection, run_id: str, message: Message) -> None:
    """Keep the message of a run and send it, unless this kind of message was sent for this run before.

    Without a Slack connection it stays in `ops.messages`, which is no failure. Raises what the webhook raises; the
    message is kept then, with the reason.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.messages (run_id, kind, headline, body, blocks) values (%s, %s, %s, %s, %s)
            on conflict (run_id, kind) do update set
                headline = excluded.headline, body = excluded.body, blocks = excluded.blocks
            where messages.sent_at is null
            returning sent_at
            """,
            (run_id, message.kind, message.headline, message.body, Json(message.blocks)),
        )
        waiting = cursor.fetchone() is not None
        connection.commit()
        if not waiting:
            log.info("The %s message of this run was sent before; it is not sent again.", message.kind)
            return
        try:
            sent = _post(message)
        except Exception as error:
            cursor.execute(
                "update ops.messages set problem = %s where run_id = %s and kind = %s",
                (str(error), run_id, message.kind),
            )
            connection.commit()
            raise
        if sent:
            cursor.execute(
                "update ops.messages set sent_at = clock_timestamp(), problem = null where run_id = %s and kind = %s",
                (run_id, message.kind),
            )


def _post(message: Message) -> bool:
    """Post to the webhook; False where there is none."""
    try:
        hook = SlackWebhookHook(
            slack_webhook_conn_id=CONNECTION,
            timeout=10,
            retry_handlers=[
                RateLimitErrorRetryHandler(max_retry_count=3),
                ServerErrorRetryHandler(max_retry_count=3),
                ConnectionErrorRetryHandler(max_retry_count=3),
            ],
        )
        hook.send(text=message.headline, blocks=message.blocks)
    except AirflowNotFoundException:
        log.info("There is no connection %s: the message stays in ops.messages.\n%s", CONNECTION, message.body)
        return False
    return True
