"""Bring the warehouse's schemas and `ops` up to date: `python -m include.warehouse.migrate`, before Airflow starts."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from include import settings
from include.warehouse import open_connection, planner

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


if __name__ == "__main__":
    upgrade()
