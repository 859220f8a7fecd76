"""Bring the warehouse's schemas and `ops` up to date: `python -m include.warehouse.migrate`, before Airflow starts.

`python -m include.warehouse.migrate 0011` takes back what came after a migration, before an older version starts. What
only the newer ones knew is gone then.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text

from include import settings
from include.warehouse import open_connection, planner, pooler

MIGRATIONS = Path(__file__).parent / "migrations"


class MigrationError(RuntimeError):
    """Nothing was migrated; the message says why and what to do."""


def upgrade(where: settings.Warehouse | None = None) -> None:
    """Run the migrations that the warehouse lacks, in one transaction; nothing happens where it is up to date."""
    with _migrating(where) as (config, connection):
        connection.execute(text("create schema if not exists ops"))
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise MigrationError(
                f"A newer version has migrated the warehouse ({error}), and this one does not know it; nothing was "
                "changed. Go on with the newer version, or have it take its migrations back first: "
                "docs/deployment.md, Going back."
            ) from error
        planner.tell(connection)


def downgrade(to: str, where: settings.Warehouse | None = None) -> None:
    """Take back every migration after this one, in one transaction."""
    with _migrating(where) as (config, _):
        try:
            command.downgrade(config, to)
        except CommandError as error:
            raise MigrationError(f"There is no migration {to}; nothing was changed ({error}).") from error


@contextmanager
def _migrating(where: settings.Warehouse | None) -> Iterator[tuple[Config, Connection]]:
    where = where or settings.warehouse_admin()
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: open_connection("greenery migrate", where),
    )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        # Two processes that start together take turns; alembic itself has no lock.
        connection.execute(text("select pg_advisory_xact_lock(hashtext('greenery migrate'))"))
        config.attributes["connection"] = connection
        yield config, connection
    engine.dispose()


def main() -> int:
    """The command; 1 where it can't, with the reason on stderr."""
    try:
        if problem := pooler.problem(settings.warehouse_admin()):
            raise MigrationError(problem)
        if sys.argv[1:]:
            downgrade(sys.argv[1])
        else:
            upgrade()
    except MigrationError as error:
        print(error, file=sys.stderr)
    except psycopg2.OperationalError as error:
        print(f"The warehouse can't be reached, so nothing was migrated: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
