"""The clock, for tests: looked at in each, since a run of them may go over midnight; a server's; days that pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

from psycopg2.extensions import connection as Connection


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


class ServerClock:
    """The clock of a warehouse: what asks Postgres for the time gets what it is put to. Python's clock stays."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def begin(self) -> None:
        """Who connects from now on looks for functions here first. Before a migration, whose defaults are then so."""
        self._do("create schema played")
        self.put_to(datetime.now(UTC))
        self._do(f"alter database {self._database} set search_path = played, pg_catalog, public")
        self._do("set search_path = played, pg_catalog, public")

    def put_to(self, moment: datetime) -> None:
        """It goes on from there."""
        for name, kind in (("now", "stable"), ("clock_timestamp", "volatile")):
            self._do(
                f"create or replace function played.{name}() returns timestamptz {kind} language sql"
                f" as $$ select pg_catalog.{name}() + interval '{moment - datetime.now(UTC)}' $$"
            )

    def end(self) -> None:
        """It is what it was."""
        self._do("drop schema if exists played cascade")
        self._do(f"alter database {self._database} reset search_path")
        self._do("reset search_path")

    def _do(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    @property
    def _database(self) -> str:
        return self.connection.info.dbname


# What raw and the snapshots have of the clock, beside the shop's own times.
_STAMPS = ("_loaded_at", "loaded_at", "deleted_at", "dbt_valid_from", "dbt_valid_to", "dbt_updated_at")


def let_pass(query: Callable[[str], list[tuple]], days: int) -> None:
    """Let days pass in which nothing happened: each moment that a warehouse has noted lies so much further back.

    With fewer than none its clock is set back. `query` runs SQL there. The days and times that the shop tells of itself
    stay.
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
    statements = [
        f"update {table} set " + ", ".join(f"{stamp} = {stamp} - interval '{days} days'" for stamp in stamps)
        for table, stamps in columns.items()
    ]
    # In one transaction: which came after which is told by these as well.
    query("; ".join([*statements, f"update ops.answers set until = until - {days}"]))
