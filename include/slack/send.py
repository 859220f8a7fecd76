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
    """Keep the message of a run and send it, unless it is what this run said last.

    Without a Slack connection it stays in `ops.messages`, which is no failure. Raises what the webhook raises; the
    message is kept then, with the reason, and sent when the run is reported again.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select message_id, body, sent_at is null
            from ops.messages
            where run_id = %s
            order by message_id desc
            limit 1
            """,
            (run_id,),
        )
        message_id, body, waiting = cursor.fetchone() or (None, None, True)
        if body == message.body and not waiting:
            log.info("This run has said the same before; it is not sent again.")
            return
        if body != message.body:
            cursor.execute(
                """
                insert into ops.messages (run_id, kind, headline, body, blocks) values (%s, %s, %s, %s, %s)
                returning message_id
                """,
                (run_id, message.kind, message.headline, message.body, Json(message.blocks)),
            )
            (message_id,) = cursor.fetchone()
        connection.commit()
        try:
            sent = post(message)
        except Exception as error:
            cursor.execute("update ops.messages set problem = %s where message_id = %s", (str(error), message_id))
            connection.commit()
            raise
        if sent:
            cursor.execute(
                "update ops.messages set sent_at = clock_timestamp(), problem = null where message_id = %s",
                (message_id,),
            )
            connection.commit()


def told(connection: Connection, run_id: str, kind: str) -> bool:
    """Whether the last that a run said is of this kind and reached whoever there is to reach."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select kind = %s and problem is null from ops.messages where run_id = %s order by message_id desc limit 1",
            (kind, run_id),
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def post(message: Message) -> bool:
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
