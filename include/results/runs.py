"""`ops.runs`: when a run began, and with which release of the dbt project."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection


@dataclass(frozen=True)
class RunStart:
    """A row of `ops.runs`."""

    run_id: str
    started_at: datetime
    release: str


@dataclass(frozen=True)
class Untold:
    """A run with something to tell; `since` is when it last told something, or began where it never has."""

    run_id: str
    since: datetime


def begin(connection: Connection, run_id: str, release: str) -> str:
    """Note that a run started, with the release of the dbt project that it will run to its end; returns that release.

    Any task may come first. A run that has begun keeps its start and its release, through retries and clearing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.runs (run_id, release) values (%s, %s)
            on conflict (run_id) do update set release = runs.release
            returning release
            """,
            (run_id, release),
        )
        return cursor.fetchone()[0]


def find(connection: Connection, run_id: str) -> RunStart | None:
    """The run, if it got as far as to begin."""
    with connection.cursor() as cursor:
        cursor.execute("select run_id, started_at, release from ops.runs where run_id = %s", (run_id,))
        row = cursor.fetchone()
    return RunStart(*row) if row else None


def untold(connection: Connection, since: datetime) -> list[Untold]:
    """The runs that began, were published or showed progress since then, and have not told more; the oldest first.

    A run that was cleared does so again. What somebody published by hand is told as their decision.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with news as (
                select run_id, started_at as came_at from ops.runs
                union all
                select run_id, published_at from ops.publications where decision_id is null
                union all
                select run_id, created_at from ops.messages where kind = 'progress'
            ),

            told as (
                select run_id, max(created_at) as told_at from ops.messages where kind <> 'progress' group by run_id
            )

            select runs.run_id, coalesce(told_at, started_at)
            from ops.runs
            inner join news on news.run_id = runs.run_id
            left join told on told.run_id = runs.run_id
            where came_at >= %s and (told_at is null or came_at > told_at)
            group by runs.run_id, told_at
            order by min(came_at)
            """,
            (since,),
        )
        return [Untold(*row) for row in cursor.fetchall()]


def last_word_at(connection: Connection, run_id: str) -> datetime | None:
    """When a run left its last result or was published: as good as its end, and the same however often it is asked."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select greatest(
                (select max(recorded_at) from ops.node_results where run_id = %(run_id)s),
                (select max(published_at) from ops.publications
                    where run_id = %(run_id)s and published_at = data_as_of)
            )
            """,
            {"run_id": run_id},
        )
        return cursor.fetchone()[0]
