"""What looks personal in columns that nobody marked: e-mail addresses and phone numbers."""

from __future__ import annotations

from collections.abc import Collection

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.masked.tables import MaskedError, Table

_LOOKS = {
    "an e-mail address": r"[^@\s]@[^@\s]+[.][A-Za-z]{2,}",
    # With something between its digits, or a plus before them, and more of them than a date has.
    "a phone number": r"^\s*([+][0-9]|[(]?[0-9]{2,5}[) ./-])([ ()./-]*[0-9]){7,13}\s*$",
}


def check(cursor: Cursor, table: Table, plain: Collection[str]) -> None:
    """Raise MaskedError where a column that stays as it is holds what looks personal, unless `plain` names it.

    All rows of the table are read for it.
    """
    columns = [one.name for one in table.columns if one.is_plain_text and f"{table.called}.{one.name}" not in plain]
    if not columns:
        return
    asked = [
        sql.SQL("coalesce(bool_or({}::text ~ {}), false)").format(sql.Identifier(column), sql.Literal(pattern))
        for column in columns
        for pattern in _LOOKS.values()
    ]
    cursor.execute(sql.SQL("select {} from {}").format(sql.SQL(", ").join(asked), table.relation.sql))
    [found] = cursor.fetchall()
    for (column, what), is_there in zip([(one, what) for one in columns for what in _LOOKS], found, strict=True):
        if is_there:
            raise MaskedError(
                f"{table.called}.{column} has a value that looks like {what}, and is not marked as personal, so "
                "nothing was copied. Mark it in the project (`meta: {personal: true}`) and let a run publish; or, if "
                f"it tells of nobody, add --plain {table.called}.{column}."
            )
