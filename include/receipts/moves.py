"""Which closed days, months and years a publish changes, found before it and kept with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.dbt_project.manifest import Manifest
from include.receipts.move import Move, MovedRow


@dataclass(frozen=True)
class Found:
    """A move with the rows behind it, of a day; those of months and years are behind their days."""

    move: Move
    rows: tuple[MovedRow, ...] = ()


def find(connection: Connection, manifest: Manifest) -> tuple[Found, ...]:
    """What of what was told changes with what is built, if it is published now. Call before the exchange.

    Compares the build schema with what was told last; nothing before the first publication. Only reads.
    """
    del connection, manifest
    return ()


def keep(cursor: Cursor, publication_id: int, found: Iterable[Found]) -> None:
    """Call in the transaction that publishes."""
    del cursor, publication_id, found


def of_publication(connection: Connection, publication_id: int) -> tuple[Move, ...]:
    """What a publication changed of what was told, the largest period first, then the newest."""
    del connection, publication_id
    return ()
