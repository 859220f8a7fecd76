"""Why a figure differs from that of an earlier day: parts by what the marts know of each row, which add up exactly."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.receipts.explanation import Explanation


def explain(connection: Connection, facts: Manifest, metric: str, day: date, former_day: date) -> Explanation | None:
    """A metric of a day against a former one, by what is published now; None where it can't be counted by rows."""
    del connection, facts, metric, day, former_day
    return None


def keep(connection: Connection, publication_id: int, explanations: Iterable[Explanation]) -> None:
    """Keep what a message says."""
    del connection, publication_id, explanations


def of_publication(connection: Connection, publication_id: int) -> tuple[Explanation, ...]:
    """What was kept with a publication, in the order of the metrics' names."""
    del connection, publication_id
    return ()
