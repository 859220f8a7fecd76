"""The clock, for tests: looked at in each, since a whole run of them may go over midnight; and a server's, moved."""

from __future__ import annotations

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
