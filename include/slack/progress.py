"""How far a run is, in one message that is replaced as its layers end, where there is a bot token; a webhook can't.

The run's last word takes its place. Progress is a courtesy: whatever goes wrong with it is logged, and the task that
told of it goes on; it waits for Slack a few seconds at most.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk.exceptions import AirflowNotFoundException

from include import settings
from include.slack import notices, outbox
from include.slack.bot import Bot
from include.slack.channels import Audience
from include.slack.notices import LAYERS
from include.warehouse import connect

log = logging.getLogger(__name__)


def at(context: Any, layer: str) -> None:
    """Show that the run of a task is at a layer now, one of `notices.LAYERS`; the first begins a message."""
    channel = settings.slack_engineers_channel() or settings.slack_channel()
    if channel is None:  # which most tasks should not pay for
        return
    try:
        _show(channel, context["dag"].dag_id, context["run_id"], layer)
    except AirflowNotFoundException:
        log.debug("There is no bot to show how far the run is.")
    except Exception:
        log.warning("Slack could not be shown how far the run is.", exc_info=True)


def _show(channel: str, dag_id: str, run_id: str, layer: str) -> None:
    bot = Bot(channel, patient=False)
    message = notices.progress(
        run_id, layer, url=settings.run_url(dag_id, run_id), health_url=settings.health_url("runs", run_id)
    )
    with connect("greenery progress") as connection:
        last = outbox.newest(connection, run_id, Audience.ENGINEERS)
        if layer != LAYERS[0] and (last is None or last.message.kind != outbox.PROGRESS):
            return  # a task that was cleared alone: the run has said its last word, and will again
        kept = outbox.keep(connection, run_id, Audience.ENGINEERS, message, waiting=False)
        outbox.trying(connection, kept)
        place = bot.send(message, kept.label, place=kept.place, since=kept.tried_at)
        outbox.stands(connection, kept, place)
