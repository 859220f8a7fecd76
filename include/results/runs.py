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


def untold(connection: Connection, since: datetime) -> list[RunStart]:
    """The runs that began since then and of which no message but their progress is kept, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select run_id, started_at, release
            from ops.runs
            where started_at >= %s
                and not exists (select from ops.messages where messages.run_id = runs.run_id and kind <> 'progress')
            order by started_at
            """,
            (since,),
        )
        return [RunStart(*row) for row in cursor.fetchall()]


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
