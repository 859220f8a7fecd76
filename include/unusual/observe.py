"""What each run observes of the data that it is about to publish: `ops.observations`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import settings
from include.dbt_project.manifest import Manifest
from include.settings import BUILT
from include.unusual.series import Measure, Observation, Series


def observe(connection: Connection, run_id: str, facts: Manifest, as_of: datetime) -> None:
    """Measure what is about to be published, and keep it."""


def measured(
    cursor: Cursor, facts: Manifest, days: tuple[date, date], *, raw: str | None = None, marts: str = BUILT
) -> Iterator[Observation]:
    """What can be observed of UTC days, from the first to the last, in a schema of raw tables and one of marts."""
    del cursor, facts, days, marts
    raw = raw or settings.raw_schema()
    yield from ()


def history(connection: Connection, until: date, days: int) -> dict[Series, list[Observation]]:
    """What was observed of so many UTC days up to one, oldest first, by series."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select unique_id, measure, column_name, item, day, value, afterwards
            from ops.observations
            where day > %(until)s::date - %(days)s and day <= %(until)s
            order by day
            """,
            {"until": until, "days": days},
        )
        found: dict[Series, list[Observation]] = {}
        for unique_id, measure, column, item, day, value, afterwards in cursor:
            series = Series(unique_id, Measure(measure), column, item)
            found.setdefault(series, []).append(Observation(series, day, value, afterwards))
    return found
