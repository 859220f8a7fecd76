"""Who hears what: which way into Slack leads to which audience.

With a bot token (the Airflow connection `slack_bot`) that is a channel for each, by setting; else a webhook for each:
the connections `slack_default` for stakeholders and `slack_engineers`. Where there is one alone, all goes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum

from airflow.sdk.exceptions import AirflowNotFoundException

from include import settings
from include.slack.bot import Bot
from include.slack.message import Message
from include.slack.transport import Channel
from include.slack.webhook import Webhook


class Audience(StrEnum):
    """For whom a message is: who mends it (all details), or who reads the data (its state and figures)."""

    ENGINEERS = "engineers"
    STAKEHOLDERS = "stakeholders"


WEBHOOKS = {Audience.STAKEHOLDERS: "slack_default", Audience.ENGINEERS: "slack_engineers"}


def to_all(message: Message) -> dict[Audience, Message]:
    """The same message for every audience."""
    return dict.fromkeys(Audience, message)


def channels() -> dict[Audience, Channel]:
    """The way to each audience that has one of its own; empty where there is no Slack."""
    named = {Audience.STAKEHOLDERS: settings.slack_channel(), Audience.ENGINEERS: settings.slack_engineers_channel()}
    by_bot = _bots({audience: channel for audience, channel in named.items() if channel})
    # Last, a bot that nobody gave a channel: it refuses, and the message says why it waits.
    return by_bot or _webhooks() or _bots({Audience.ENGINEERS: ""})


def route(ways: Mapping[Audience, Channel], audience: Audience) -> Channel | None:
    """The way to an audience: its own, or the only one that there is."""
    return ways.get(audience) or next(iter(ways.values()), None)


def heard(ways: Mapping[Audience, Channel], messages: Mapping[Audience, Message]) -> dict[Audience, Message]:
    """What is sent of a run's messages: where there is one channel alone, the whole one only."""
    if len(ways) > 1:
        return dict(messages)
    whole = Audience.ENGINEERS if Audience.ENGINEERS in messages else next(iter(messages))
    return {whole: messages[whole]}


def _bots(named: Mapping[Audience, str]) -> dict[Audience, Channel]:
    try:
        return {audience: Bot(channel) for audience, channel in named.items()}
    except AirflowNotFoundException:
        return {}


def _webhooks() -> dict[Audience, Channel]:
    ways: dict[Audience, Channel] = {}
    for audience, connection_id in WEBHOOKS.items():
        with suppress(AirflowNotFoundException):
            ways[audience] = Webhook(connection_id)
    return ways
