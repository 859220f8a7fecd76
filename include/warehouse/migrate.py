"""Bring the warehouse's schemas and `ops` up to date: `python -m include.warehouse.migrate`, before Airflow starts."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from include import settings
from include.warehouse import open_connection, planner, pooler

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(where: settings.Warehouse | None = None) -> None:
    """Run the migrations that the warehouse lacks, in one transaction; nothing happens where it is up to date."""
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
        connection.execute(text("create schema if not exists ops"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        planner.tell(connection)
    engine.dispose()


def main() -> int:
    """The command: migrates the warehouse that the environment names; 1 where it can't, and says why."""
    try:
        problem = pooler.problem(settings.warehouse_admin())
    except psycopg2.OperationalError as error:
        problem = f"The warehouse can't be reached, so nothing was migrated: {error}"
    if problem:
        print(problem, file=sys.stderr)
        return 1
    upgrade()
    return 0


if __name__ == "__main__":
    sys.exit(main())
