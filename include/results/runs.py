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
    """A run with something to tell. `since` is when it was last triggered or cleared, as far as that was noted.

    `was_cleared` says that this is all there is: it has told how it ended before, and nothing more is known.
    """

    run_id: str
    since: datetime
    was_cleared: bool


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


def note_begun(connection: Connection, run_id: str, begun_at: datetime | None) -> None:
    """Note when a run was last triggered or cleared, as Airflow knows it; a clock that is ahead is not believed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            update ops.runs set begun_at = least(%(begun_at)s, clock_timestamp())
            where run_id = %(run_id)s and coalesce(begun_at, '-infinity') < %(begun_at)s::timestamptz
            """,
            {"run_id": run_id, "begun_at": begun_at},
        )


def find(connection: Connection, run_id: str) -> RunStart | None:
    """The run, if it got as far as to begin."""
    with connection.cursor() as cursor:
        cursor.execute("select run_id, started_at, release from ops.runs where run_id = %s", (run_id,))
        row = cursor.fetchone()
    return RunStart(*row) if row else None


def untold(connection: Connection, since: datetime) -> list[Untold]:
    """The runs that began, were cleared, were published or showed progress since then, and have not told more.

    The oldest first. What somebody published by hand is told as their decision.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with news as (
                select run_id, started_at as came_at, false as was_cleared from ops.runs
                union all
                select run_id, begun_at, true from ops.runs where begun_at > started_at
                union all
                select run_id, published_at, false from ops.publications where decision_id is null
                union all
                select run_id, created_at, false from ops.messages where kind = 'progress'
            ),

            told as (
                select run_id, max(created_at) as told_at from ops.messages where kind <> 'progress' group by run_id
            )

            select runs.run_id, coalesce(begun_at, told_at, started_at), bool_and(was_cleared)
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
