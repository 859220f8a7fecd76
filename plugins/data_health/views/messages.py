"""Messages: what was said in Slack, to whom, and what still waits to be, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from include.slack.outbox import PROGRESS
from plugins.data_health.reading import Reading

ON_A_PAGE = 50


class Delivery(StrEnum):
    """What became of a message."""

    SENT = "sent"
    WAITING = "waiting"
    # It stands in Slack, and what comes later takes its place.
    SHOWN = "shown"
    # There was no Slack to send it to.
    KEPT = "kept"


@dataclass(frozen=True)
class Told:
    """A message: by whom (a run's id, or what the watchdog or somebody spoke of), of what kind, to which audience.

    `has_run` says whether `run_id` is a run. `sent_at` is when Slack took it and `tried_at` when that was first tried,
    UTC. `problem` is why it waits. `channel` is where it stands, by Slack's id; None by a webhook, which does not say.
    """

    message_id: int
    run_id: str
    has_run: bool
    kind: str
    audience: str
    created_at: datetime
    headline: str
    delivery: Delivery
    sent_at: datetime | None
    tried_at: datetime | None
    problem: str | None
    channel: str | None


@dataclass(frozen=True)
class Messages:
    """A page of the messages, the newest first, 50 a page. `waiting` and `count` are of all there are."""

    page: int
    pages: int
    count: int
    waiting: int
    messages: tuple[Told, ...]


@dataclass(frozen=True)
class Message:
    """One message: as plain text (`body`), and as Slack was given it (`blocks`, Block Kit)."""

    told: Told
    body: str
    blocks: list[dict[str, Any]]


@dataclass(frozen=True)
class Waiting:
    """The messages that wait: how many, the oldest one's time (UTC), and why the last of them was not sent."""

    count: int
    since: datetime
    problem: str | None


_TOLD = """
select
    message_id,
    messages.run_id,
    exists (select from ops.runs where runs.run_id = messages.run_id) as has_run,
    kind,
    audience,
    created_at,
    headline,
    case
        when waiting then 'waiting'
        when sent_at is not null then 'sent'
        when kind = %(progress)s and ts is not null then 'shown'
        else 'kept'
    end as delivery,
    sent_at,
    tried_at,
    problem,
    channel
"""


def read(reading: Reading, page: int) -> Messages:
    """A page of the messages, from 1; past the last it is empty."""
    [total] = reading.rows("select count(*) as count, count(*) filter (where waiting) as waiting from ops.messages")
    rows = reading.rows(
        f"{_TOLD} from ops.messages order by message_id desc limit %(limit)s offset %(offset)s",  # a constant
        {"progress": PROGRESS, "limit": ON_A_PAGE, "offset": (page - 1) * ON_A_PAGE},
    )
    pages = max(1, -(-total.count // ON_A_PAGE))
    return Messages(page, pages, total.count, total.waiting, tuple(_told(row) for row in rows))


def read_one(reading: Reading, message_id: int) -> Message:
    """A message by its id. Raises LookupError for one that is not there."""
    rows = reading.rows(
        f"{_TOLD}, body, blocks from ops.messages where message_id = %(id)s",  # a constant
        {"progress": PROGRESS, "id": message_id},
    )
    if not rows:
        raise LookupError(f"There is no message {message_id} in ops.messages.")
    *told, body, blocks = rows[0]
    return Message(_told(told), body, blocks)


def waiting(reading: Reading) -> Waiting | None:
    """What waits to be sent; None where nothing does."""
    [row] = reading.rows(
        """
        select
            count(*) as count,
            min(created_at) as since,
            (array_agg(problem order by message_id desc) filter (where problem is not null))[1] as problem
        from ops.messages
        where waiting
        """
    )
    return Waiting(row.count, row.since, row.problem) if row.count else None


def _told(row: Any) -> Told:
    message_id, run_id, has_run, kind, audience, created_at, headline, delivery, *rest = row
    return Told(message_id, run_id, has_run, kind, audience, created_at, headline, Delivery(delivery), *rest)
