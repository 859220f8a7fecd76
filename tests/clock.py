"""The clock, for tests: looked at in each test, since a whole run of them may go over midnight; and days that pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


# What raw and the snapshots have of the clock, beside the shop's own times.
_STAMPS = ("_loaded_at", "loaded_at", "deleted_at", "dbt_valid_from", "dbt_valid_to", "dbt_updated_at")


def let_pass(query: Callable[[str], list[tuple]], days: int) -> None:
    """Let days pass in which nothing happened: each moment that a warehouse has noted lies so much further back.

    `query` runs SQL there. The days and times that the shop tells of itself stay.
    """
    columns: dict[str, list[str]] = {}
    for table, column in query(
        "select format('%I.%I', nspname, relname), quote_ident(attname)"
        " from pg_attribute join pg_class on pg_class.oid = attrelid"
        " join pg_namespace on pg_namespace.oid = relnamespace"
        " where relkind = 'r' and attnum > 0 and not attisdropped"
        " and atttypid in ('timestamptz'::regtype, 'timestamp'::regtype)"
        f" and (nspname = 'ops' or nspname in ('raw', 'snapshots') and attname in {_STAMPS})"
    ):
        columns.setdefault(table, []).append(column)
    for table, stamps in columns.items():
        earlier = ", ".join(f"{stamp} = {stamp} - interval '{days} days'" for stamp in stamps)
        query(f"update {table} set {earlier}")
