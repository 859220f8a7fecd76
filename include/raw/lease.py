"""The lease on raw: one run at a time reads it, from its first task to its report, and no load writes to it meanwhile.

What a run publishes is one moment of raw for that reason. Airflow's `max_active_runs` alone does not see to it: it does
not count backfills, knows nothing of loaders, and lets tasks of an old run be cleared at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.warehouse import connect, exists

# A holder renews with each task that starts, and while it works (`kept`). One that is silent for longer is dead.
EXPIRES_AFTER = timedelta(hours=1)
RENEWED_EVERY = timedelta(minutes=5)
# Any number will do, as long as every load and every run asks for the same one. Loads hold it until they commit.
_RAW = 7_047_733_679
# The first half of the advisory lock that shows that a decision is still under way; the second is its lease's id.
_UNDER_WAY = 704_773
_DECISION = "decision"

log = logging.getLogger(__name__)

# Says of a holder whether it has ended without giving the lease back.
Ended = Callable[[str], bool]


@dataclass(frozen=True)
class Lease:
    """Who reads raw, since when and, if nothing more is heard of them, until when; UTC."""

    holder: str
    taken_at: datetime
    until: datetime


class LeaseHeldError(RuntimeError):
    """Another one reads raw now; nothing was changed. The message says who, since when, and what to do."""


def nobody_ended(_: str) -> bool:
    """For who can't ask: a lease that was not given back counts until it expires."""
    return False


def of_decision(decision_id: int, decided_by: str) -> str:
    """What the lease calls a decision by hand. It has ended when the session that took the lease has."""
    return f"{_DECISION} {decision_id} of {decided_by}"


def take(connection: Connection, holder: str, *, ended: Ended = nobody_ended) -> None:
    """Take or renew the lease for `holder`, in the caller's transaction; waits for a load that is under way.

    `ended` says of another holder whether it has ended without giving the lease back. Raises LeaseHeldError.
    """
    with connection.cursor() as cursor:
        try:
            lock_raw(cursor)
        except psycopg2.errors.LockNotAvailable as error:
            raise LeaseHeldError(
                f"{_who_loads() or 'Somebody'} keeps the raw tables locked, as a load does, longer than a run waits. "
                "Nothing was changed. Let them end that transaction, or end the session as the administrator: `python "
                "-m include.under_way end PID`. Then try again."
            ) from error
        other = held(cursor, besides=holder)
        if other and not ended(other.holder):
            raise LeaseHeldError(
                f"{other.holder} reads the raw tables since {other.taken_at:%d %b %H:%M} UTC, and two at a time would "
                "publish a mix of moments. Nothing was changed; try again when it has ended, or after "
                f"{other.until:%d %b %H:%M} UTC if it died."
            )
        cursor.execute(
            "update ops.leases set released_at = clock_timestamp() where released_at is null and holder <> %s",
            (holder,),
        )
        cursor.execute(
            "update ops.leases set renewed_at = clock_timestamp() where released_at is null and holder = %s", (holder,)
        )
        if not cursor.rowcount:
            cursor.execute("insert into ops.leases (holder) values (%s) returning lease_id::int", (holder,))
            if holder.startswith(f"{_DECISION} "):
                cursor.execute("select pg_advisory_lock(%s, %s)", (_UNDER_WAY, *cursor.fetchone()))


@contextmanager
def kept(holder: str) -> Iterator[None]:
    """Renew the lease of `holder`, if it has one, for as long as the block lasts: a model takes as long as it takes.

    Of a process that is killed or frozen nothing is heard, so its lease expires.
    """
    over = Event()
    renewing = Thread(target=_renew, args=(holder, over), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()


def _renew(holder: str, over: Event) -> None:
    while not over.wait(RENEWED_EVERY.total_seconds()):
        try:
            with connect("greenery lease") as connection, connection.cursor() as cursor:
                cursor.execute(
                    "update ops.leases set renewed_at = clock_timestamp() where released_at is null and holder = %s",
                    (holder,),
                )
        except psycopg2.Error:
            log.warning("The lease on raw was not renewed; it is tried again.", exc_info=True)


def release(connection: Connection, holder: str) -> None:
    """Give the lease back; nothing happens where `holder` has none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.leases set released_at = clock_timestamp() where released_at is null and holder = %s", (holder,)
        )


def release_ended(connection: Connection, ended: Ended) -> None:
    """Give back, in the caller's transaction, what is held by one who has ended without a word."""
    with connection.cursor() as cursor:
        if held(cursor) is None:  # and a load may be under way, which takes its time
            return
        lock_raw(cursor)  # who would take or renew it meanwhile waits
        holder = held(cursor)
    if holder and ended(holder.holder):
        release(connection, holder.holder)


def held(cursor: Cursor, *, besides: str = "") -> Lease | None:
    """The lease as it is held now, by anyone but `besides`; None where it is free, expired, or not known of.

    A decision's that was killed is free.
    """
    if not exists(cursor, "ops.leases"):
        return None
    cursor.execute(
        """
        select holder, taken_at at time zone 'UTC', (renewed_at + %(expires)s) at time zone 'UTC'
        from ops.leases
        where released_at is null
            -- A renewal from the future tells of a clock that was wrong, not of when the holder was last heard of.
            and renewed_at between clock_timestamp() - %(expires)s and clock_timestamp() + %(expires)s
            and holder <> %(besides)s
            and (
                not starts_with(holder, %(decision)s)
                or exists (
                    select from pg_locks
                    where locktype = 'advisory'
                        and database = (select oid from pg_database where datname = current_database())
                        and (classid, objid, objsubid) = (%(under_way)s, lease_id::oid, 2)
                )
            )
        """,
        {"expires": EXPIRES_AFTER, "besides": besides, "decision": f"{_DECISION} ", "under_way": _UNDER_WAY},
    )
    row = cursor.fetchone()
    return Lease(*row) if row else None


def _who_loads() -> str:
    """Who holds the lock that loads take; what they do only if we may see it."""
    with connect("greenery lease") as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            select format(
                '%%s (%%s, pid %%s%%s)', usename, coalesce(nullif(application_name, ''), 'no name'), pid,
                to_char(xact_start at time zone 'UTC', '", since "YYYY-MM-DD HH24:MI:SS" UTC"')
            )
            from pg_locks
            join pg_stat_activity using (pid)
            where locktype = 'advisory' and granted and database = pg_stat_activity.datid
                and datname = current_database() and (classid::bigint << 32) + objid::bigint = %s and objsubid = 1
            """,
            (_RAW,),
        )
        return ", ".join(name for (name,) in cursor.fetchall())


def lock_raw(cursor: Cursor) -> None:
    """Keep loads, and whoever would take the lease, waiting until this transaction ends."""
    cursor.execute("select pg_advisory_xact_lock(%s)", (_RAW,))
