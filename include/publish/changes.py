"""What an exchange does that the server may refuse: it is tried, said where it is refused, and nothing else is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.publish import locks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What is to be done; and what to say, and do instead, where it is refused."""

    statement: str
    told: str
    instead: str = ""


def attempt(cursor: Cursor, statement: str | sql.Composable) -> bool:
    """Execute a statement that may be refused; True if it was not."""
    cursor.execute("savepoint attempt")
    try:
        cursor.execute(statement)
    except psycopg2.Error as error:
        if locks.not_got(error):
            raise
        log.warning("%s", error)
        cursor.execute("rollback to savepoint attempt")
        return False
    cursor.execute("release savepoint attempt")
    return True


def make(cursor: Cursor, changes: Iterable[Change]) -> list[str]:
    """Make changes; returns what there is to say of those that were refused."""
    notes = []
    for change in changes:
        if not attempt(cursor, change.statement):
            notes.append(change.told)
            if change.instead:
                attempt(cursor, change.instead)
    return notes
