"""How the page reads: as its own read-only role, over a few connections that are kept, with little time for each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from include import settings
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.fast_cosmos.releases import ProjectError
from include.warehouse import has_columns, is_gone, open_connection

# A page that takes longer is of no use to anyone.
TIMEOUT_MS = 5000
# What there is to say where nothing could be read.
Unreadable = PoolTimeoutError | psycopg2.Error
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What a view reads from: the warehouse as of one moment, and the dbt project as it is now.

    Rows come as named tuples. `facts` are empty where no dbt project was ever parsed.
    """

    connection: Connection
    facts: Manifest
    at: datetime

    def rows(self, statement: str, parameters: dict[str, Any] | None = None) -> list[Any]:
        """All rows of a query as named tuples."""
        with self.connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def has(self, table: str, *columns: str) -> bool:
        """Whether a table, named with its schema, is there with these columns: a shop's marts may be others."""
        return has_columns(self.connection, table, *columns)


@lru_cache
def _pool(where: settings.Warehouse) -> QueuePool:
    pool = QueuePool(partial(_connect, where), pool_size=4, max_overflow=8, timeout=5, recycle=300)
    event.listen(pool, "checkout", _check)
    return pool


def _check(connection: Connection, *_: Any) -> None:
    """A connection that was kept while the warehouse was restarted is not the reader's to find: new ones are made."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


def _connect(where: settings.Warehouse) -> Connection:
    connection = open_connection("greenery data health", where)
    # One moment for all that a page says, and no way to write.
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"set session statement_timeout = {TIMEOUT_MS:d}")
    return connection


@contextmanager
def connected() -> Iterator[Connection]:
    """A connection of the pool, in a transaction that only reads. Raises psycopg2.Error."""
    pooled = _pool(settings.warehouse_health()).connect()
    try:
        yield pooled.driver_connection
    except psycopg2.Error:
        pooled.invalidate()
        raise
    finally:
        pooled.close()


def facts() -> Manifest:
    """The dbt project as it is now."""
    project = release.current()
    return manifest.read(project.manifest) if project else Manifest({}, {})


def facts_of(stamp: str, now: Manifest | None = None) -> Manifest:
    """The dbt project as a run had it; as it is `now` where that is not kept any more."""
    try:
        return manifest.read(release.named(stamp).manifest)
    except ProjectError:
        return now or facts()


# What changes whenever something that a page shows does.
_STAMP = """
select
    (select max(recorded_at) from ops.node_results),
    -- What was written before that and committed after it.
    (select count(*) from ops.node_results where recorded_at > now() - interval '10 minutes'),
    (select max(publication_id) from ops.publications),
    (select max(decision_id) from ops.decisions),
    (select max(started_at) from ops.runs),
    (select max(greatest(taken_at, released_at)) from ops.leases),
    (select max(greatest(created_at, sent_at, tried_at)) from ops.messages),
    (select count(*) filter (where waiting) from ops.messages),
    (select max(observed_at) from ops.observations where day = (select max(day) from ops.observations)),
    (select count(*) from ops.unusual),
    (select max(answer_id) from ops.answers),
    (select max(proof_id) from ops.proofs),
    (select max(said_at) from ops.risks),
    (select count(kept) from ops.risks),
    -- Kept after their publication, with its message.
    (select count(*) from ops.explanations)
"""


def stamp() -> tuple[Any, ...]:
    """Equal as long as every view would answer the same: nothing was written, the project is the same, nor the minute.

    The minute, since what was in time can be late by now. Raises psycopg2.Error.
    """
    project = release.current()
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    with connected() as connection, connection.cursor() as cursor:
        cursor.execute(_STAMP)
        return (*cursor.fetchone(), project.stamp if project else None, minute)


@contextmanager
def reading() -> Iterator[Reading]:
    """All that a view needs, as of now."""
    with connected() as connection:
        yield Reading(connection, facts(), datetime.now(UTC))


def why_unreadable(error: Unreadable) -> str:
    """For who asked: why the warehouse did not answer, and what to do."""
    if isinstance(error, PoolTimeoutError):
        return "Too many ask at once. Try again in a few seconds."
    if isinstance(error, psycopg2.errors.QueryCanceled):
        return "The warehouse took too long to answer. Try again in a minute; it may be busy."
    if isinstance(error, psycopg2.OperationalError) or is_gone(error):
        return (
            "The warehouse can't be reached, so nothing can be said about the data now. The server's log has the "
            "reason. Where a login was refused, python -m include.warehouse.roles gives greenery_health its password; "
            "else the page works again as soon as the warehouse does."
        )
    return (
        "The warehouse is not set up for this page. As its administrator, run python -m include.warehouse.migrate "
        "and python -m include.warehouse.roles. The server's log has the reason."
    )
