"""Sending: what a run has to say is kept in the outbox first, then all that waits there is sent, the oldest first.

One delivered message a run, kind and audience: a retried or repeated report, a backstop that fires as well, and two
processes at once send nothing twice. What a crash left between sending and noting it is found again in the channel by
its label where there is a bot token; a webhook can't be asked, and there alone the message may come twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from psycopg2.extensions import connection as Connection

from include.slack import outbox
from include.slack.channels import Audience, channels, heard, route
from include.slack.message import Message
from include.slack.transport import Channel, Label, RefusedError, UnavailableError

log = logging.getLogger(__name__)


def deliver(connection: Connection, run_id: str, messages: Mapping[Audience, Message]) -> None:
    """Keep what a run says to each audience, and send it with all that waits, unless it is what it said last.

    Commits. Without a Slack connection it stays in `ops.messages`, which is no failure; nor is it where Slack refuses
    it: it is kept with the reason, and sent with a later one. Where Slack was told something lately, a connection that
    is not found from here (a shell, an API server that stumbles) is one that others have: the message waits for them.
    Raises UnavailableError where to try again may help.
    """
    ways = channels()
    keep(connection, run_id, messages, ways)
    send_waiting(connection, ways)


def keep(
    connection: Connection,
    run_id: str,
    messages: Mapping[Audience, Message],
    ways: Mapping[Audience, Channel] | None = None,
) -> None:
    """Keep what a run says to each audience, and commit; it waits to be sent unless it is what the run said last."""
    ways = channels() if ways is None else ways
    others = [] if ways else [Audience(audience) for audience in outbox.audiences(connection)]
    to_keep = {audience: messages[audience] for audience in others} or heard(ways, messages)
    for audience, message in to_keep.items():
        kept = outbox.keep(connection, run_id, audience, message, waiting=bool(ways or others))
        if not kept.waiting:
            log.info("Not sent, as %s:\n%s", "it was before" if kept.sent else "there is no Slack", message.body)
    connection.commit()


def send_waiting(connection: Connection, ways: Mapping[Audience, Channel] | None = None) -> None:
    """Send what waits in the outbox, the oldest first; an audience that can't be reached keeps the rest of its own.

    Commits. Raises UnavailableError where to try again may help.
    """
    if outbox.next_waiting(connection) is None or not (ways := channels() if ways is None else ways):
        return
    trouble: dict[str, UnavailableError | RefusedError] = {}
    with outbox.sending(connection):
        while kept := outbox.next_waiting(connection, trouble):
            audience = Audience(kept.label.audience)
            outbox.trying(connection, kept)
            try:
                place = route(ways, audience).send(kept.message, kept.label, place=kept.place, since=kept.tried_at)
            except (UnavailableError, RefusedError) as error:
                trouble[audience] = error
                outbox.failed(connection, audience, str(error))
                log.error("Slack did not take the message to %s; it is kept and sent later: %s", audience, error)
            else:
                outbox.arrived(connection, kept, place)
    for error in trouble.values():
        if isinstance(error, UnavailableError):
            raise error


def said(connection: Connection, run_id: str, kind: str) -> bool:
    """Whether the last that a run had to say, to every audience, is of this kind."""
    return _last(connection, run_id, "kind = %s", kind)


def told(connection: Connection, run_id: str, kind: str, since: datetime | None = None) -> bool:
    """The same, and it reached whoever there is to reach; where `since` is given, it got its words after that."""
    later = "created_at >= coalesce(%s, '-infinity'::timestamptz)"
    return _last(connection, run_id, f"kind = %s and not waiting and {later}", kind, since)


def post(run_id: str, messages: Mapping[Audience, Message]) -> bool:
    """Post to every audience past the outbox, for when the warehouse is down; False where there is no Slack.

    Raises UnavailableError or RefusedError where nobody took it.
    """
    ways = channels()
    taken, trouble = 0, None
    for audience, message in heard(ways, messages).items():
        if way := route(ways, audience):
            try:
                way.send(message, Label(run_id, audience, 1))
                taken += 1
            except (UnavailableError, RefusedError) as error:
                log.error("Slack did not take the message to %s: %s", audience, error)
                trouble = error
    if trouble and not taken:
        raise trouble
    return taken > 0


def _last(connection: Connection, run_id: str, condition: str, *parameters: str | datetime | None) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select bool_and({condition})
            from (
                select distinct on (audience) * from ops.messages where run_id = %s order by audience, number desc
            ) as last
            """,  # noqa: S608 - constants
            (*parameters, run_id),
        )
        return bool(cursor.fetchone()[0])
