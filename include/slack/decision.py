"""What Slack is told of a decision that somebody took by hand: at once, whatever else becomes of it.

Where who decided was killed once it took effect, the watchdog says it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import psycopg2
from psycopg2.extensions import connection as Connection

from include.results import publications
from include.results.publications import Decision
from include.results.summary import Summary
from include.slack import notices, send
from include.slack.channels import to_all
from include.warehouse import connect

# Whoever decided tells it within seconds. What is older than a day is no news.
_TIME_TO_TELL, _NEWS = timedelta(minutes=10), timedelta(days=1)

log = logging.getLogger(__name__)


def tell(decision: Decision, summary: Summary | None = None) -> None:
    """Tell Slack; `summary` is that of the run that was published. What was decided stands, whatever becomes of it."""
    try:
        with connect("greenery by hand") as connection:
            message = notices.decided(decision, publications.live(connection), summary)
            send.deliver(connection, _message_id(decision), to_all(message))
    except Exception:
        log.exception("Done, but Slack could not be told.")


def keep_untold(connection: Connection, now: datetime) -> None:
    """Keep for Slack, and commit, what took effect and nobody has told: whoever decided was killed before that."""
    for decision in publications.took_effect(connection, now - _NEWS, now - _TIME_TO_TELL):
        if not send.said(connection, _message_id(decision), decision.action):
            message = notices.decided(decision, publications.live(connection))
            send.keep(connection, _message_id(decision), to_all(message))


def unheard(decision: Decision) -> str | None:
    """What to say to who decided where Slack has not heard of it yet; None where it has, or there is no Slack."""
    try:
        with connect("greenery by hand") as connection:
            if send.told(connection, _message_id(decision), decision.action):
                return None
            waits = send.said(connection, _message_id(decision), decision.action)
    except psycopg2.Error:
        waits = False
    if waits:
        return "Slack was not told from here: the message waits in ops.messages for greenery_watchdog to send it."
    return "Slack was not told, and no message is kept, as the log says: tell people yourself."


def _message_id(decision: Decision) -> str:
    """The outbox knows what is said of a decision as what a run says."""
    return f"decision {decision.decision_id}"
