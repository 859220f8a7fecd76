"""Which columns are personal, by name: `ops.personal_columns`, as the project that was published last marks them.

Readers don't get them (`roles.py`), and an erasure empties them (`include.erase`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from include.warehouse import exists

# Keys of people, whatever a project marks: so one that marks nothing has noted something, too.
KEYS = {"user_id": "user_id", "address_id": "address_id"}


def is_named(code: str, columns: Collection[str]) -> bool:
    """Whether SQL, such as an expression over a model, names one of these columns or a key of people."""
    return not {*columns, *KEYS}.isdisjoint(re.findall(r"\w+", code))


def note(cursor: Cursor, columns: Mapping[str, str | None]) -> None:
    """Keep what a project marks, in the transaction that publishes it; the value names the key that a column holds."""
    cursor.execute("delete from ops.personal_columns")
    execute_values(
        cursor,
        "insert into ops.personal_columns (column_name, key_of) values %s",
        list((KEYS | {**columns}).items()),
    )


def columns(cursor: Cursor) -> dict[str, str | None]:
    """What was noted; empty before the first publish, and in a warehouse that was not migrated so far."""
    if not exists(cursor, "ops.personal_columns"):
        return {}
    cursor.execute("select column_name, key_of from ops.personal_columns")
    return dict(cursor.fetchall())


def values(cursor: Cursor) -> list[str]:
    """Those that tell of a person, but for keys: people join by these."""
    return [name for name, key_of in columns(cursor).items() if key_of is None]
