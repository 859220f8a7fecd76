"""The outbox, `ops.messages`: a row for each message of a run to an audience, kept before it is sent.

The messages of a run to an audience are numbered, and a key keeps two processes from adding the same one. Who sends
holds a lock of its own session, which ends with it: what it left behind is found waiting, and `tried_at` says that it
may have arrived.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from include.slack.message import Message
from include.slack.transport import Label, Place, UnavailableError

# The message that shows how far a run is, until its last word takes its place.
PROGRESS = "progress"
LONGEST_WAIT = "2min"
# Who asks Slack for longer than that is frozen, and would keep all others silent. From Postgres 14 on.
LONGEST_SILENCE = "5min"


@dataclass(frozen=True)
class Kept:
    """A row of the outbox. `waiting`: still to be sent; `tried_at`: when sending was first begun."""

    message_id: int
    label: Label
    message: Message
    waiting: bool
    sent: bool
    tried_at: datetime | None
    place: Place | None


_KEPT = """
select
    message_id, run_id, audience, number, kind, headline, body, blocks, waiting, sent_at is not null, tried_at,
    channel, ts
from ops.messages
"""


def keep(connection: Connection, run_id: str, audience: str, message: Message, *, waiting: bool) -> Kept:
    """Keep a message, in the caller's transaction: a row of its own, unless the run said the same last.

    One of the same kind that was not sent, or one that shows progress, is replaced, and dated anew. One that was not
    sent goes behind all that the audience was to be told since, so that the newest is read last.
    """
    while True:
        last = newest(connection, run_id, audience)
        same_kind = last and last.message.kind == message.kind
        if same_kind and last.sent and last.message.body == message.body:
            _date_anew(connection, last)  # it says so now, too: a run that was cleared has nothing more to tell
            kept = last
        elif last and (last.message.kind == PROGRESS or (same_kind and not last.sent)):
            if last.place is None and _is_followed(connection, last):
                last = _moved_behind(connection, last)
            kept = _replace(connection, last, message, waiting=waiting)
        else:
            kept = _add(connection, Label(run_id, audience, last.label.number + 1 if last else 1), message, waiting)
        if kept:  # or somebody else has added one just now
            return kept


def newest(connection: Connection, run_id: str, audience: str) -> Kept | None:
    """What a run said last to an audience, locked until the transaction ends."""
    return _one(
        connection, "where run_id = %s and audience = %s order by number desc limit 1 for update", run_id, audience
    )


def next_waiting(connection: Connection, deaf: Collection[str] = ()) -> Kept | None:
    """The oldest message that waits, except of audiences that can't be reached."""
    return _one(connection, "where waiting and audience <> all(%s::text[]) order by message_id limit 1", sorted(deaf))


def count_waiting(connection: Connection) -> int:
    """How many messages wait to be sent."""
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from ops.messages where waiting")
        return cursor.fetchone()[0]


def forget(connection: Connection, older_than: timedelta) -> int:
    """Delete messages from before then, but for those that wait; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute("delete from ops.messages where created_at < now() - %s and not waiting", (older_than,))
        return cursor.rowcount


def audiences(connection: Connection) -> list[str]:
    """Whom the last words were for that went to Slack within a month, or were tried to; none where none were."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select distinct audience
            from ops.messages
            where (waiting or tried_at is not null or sent_at is not null)
                and run_id = (
                    select run_id
                    from ops.messages
                    where kind <> %s and coalesce(sent_at, tried_at) > clock_timestamp() - interval '1 month'
                    order by message_id desc
                    limit 1
                )
            order by audience
            """,
            (PROGRESS,),
        )
        return [audience for (audience,) in cursor.fetchall()]


def trying(connection: Connection, kept: Kept) -> None:
    """Note, and commit, that a message is being sent: from now on it may have arrived."""
    _note(
        connection,
        "update ops.messages set tried_at = coalesce(tried_at, clock_timestamp()) where message_id = %s",
        kept.message_id,
    )


def arrived(connection: Connection, kept: Kept, place: Place | None) -> None:
    """Note, and commit, that it was sent; what has been replaced by other words meanwhile still waits."""
    _note(
        connection,
        """
        update ops.messages
        set sent_at = clock_timestamp(), problem = null, channel = %s, ts = %s, waiting = body <> %s
        where message_id = %s
        """,
        place.channel if place else None,
        place.ts if place else None,
        kept.message.body,
        kept.message_id,
    )


def stands(connection: Connection, kept: Kept, place: Place) -> None:
    """Note, and commit, where a message that shows progress stands."""
    _note(
        connection,
        "update ops.messages set channel = %s, ts = %s where message_id = %s",
        place.channel,
        place.ts,
        kept.message_id,
    )


def failed(connection: Connection, audience: str, problem: str) -> None:
    """Note, and commit, why what waits for an audience could not be sent."""
    _note(connection, "update ops.messages set problem = %s where waiting and audience = %s", problem, audience)


@contextmanager
def sending(connection: Connection) -> Iterator[None]:
    """One sender at a time, for the block. Raises UnavailableError where another one takes too long."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select set_config(name, %s, false) from pg_settings where name = 'idle_session_timeout'",
            (LONGEST_SILENCE,),
        )
        try:
            cursor.execute("set local lock_timeout = %s", (LONGEST_WAIT,))
            cursor.execute("select pg_advisory_lock(hashtext('greenery outbox'))")
        except psycopg2.errors.LockNotAvailable as error:
            connection.rollback()
            raise UnavailableError("another process has been sending messages for minutes") from error
        connection.commit()
        try:
            yield
        finally:
            if not connection.closed:  # or the lock is gone with it
                connection.rollback()
                cursor.execute("select pg_advisory_unlock(hashtext('greenery outbox'))")
                connection.commit()


def _is_followed(connection: Connection, kept: Kept) -> bool:
    """Whether its audience is to be told, or was told, something of another run or decision since."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select exists (select from ops.messages where audience = %s and message_id > %s)",
            (kept.label.audience, kept.message_id),
        )
        return cursor.fetchone()[0]


def _moved_behind(connection: Connection, kept: Kept) -> Kept:
    """The same row behind all others. It keeps its label: by that is found what may have arrived."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.messages set message_id = default where message_id = %s returning message_id",
            (kept.message_id,),
        )
        return replace(kept, message_id=cursor.fetchone()[0])


def _date_anew(connection: Connection, kept: Kept) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.messages set created_at = clock_timestamp() where message_id = %s", (kept.message_id,)
        )


def _replace(connection: Connection, last: Kept, message: Message, *, waiting: bool) -> Kept | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.messages set kind = %s, headline = %s, body = %s, blocks = %s, waiting = %s, sent_at = null,"
            " created_at = now() where message_id = %s",
            (message.kind, message.headline, message.body, Json(message.blocks), waiting, last.message_id),
        )
    return _one(connection, "where message_id = %s", last.message_id)


def _add(connection: Connection, label: Label, message: Message, waiting: bool) -> Kept | None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.messages (run_id, audience, number, kind, headline, body, blocks, waiting)
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (run_id, audience, number) do nothing
            returning message_id
            """,
            (
                label.run_id,
                label.audience,
                label.number,
                message.kind,
                message.headline,
                message.body,
                Json(message.blocks),
                waiting,
            ),
        )
        row = cursor.fetchone()
    return _one(connection, "where message_id = %s", row[0]) if row else None


def _note(connection: Connection, statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
    connection.commit()


def _one(connection: Connection, condition: str, *parameters: object) -> Kept | None:
    with connection.cursor() as cursor:
        cursor.execute(f"{_KEPT} {condition}", parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    message_id, run_id, audience, number, kind, headline, body, blocks, waiting, sent, tried_at, channel, ts = row
    return Kept(
        message_id,
        Label(run_id, audience, number),
        Message(kind, headline, body, blocks),
        waiting,
        sent,
        tried_at,
        Place(channel, ts) if ts else None,
    )
