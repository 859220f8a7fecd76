"""Bring the warehouse's schemas and `ops` up to date: `python -m include.warehouse.migrate`, before Airflow starts.

`python -m include.warehouse.migrate 0011` takes back what came after a migration, before an older version starts. What
only the newer ones knew is gone then.

Where there is something to migrate, or to take back, the command first saves a backup of the warehouse into
GREENERY_BACKUP_DIR. Where it can't be saved the command stops, and nothing is migrated; without that setting it says
that it saved none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text

from include import settings
from include.warehouse import backups, open_connection, planner, pooler
from include.warehouse.client import BackupError

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


def known() -> list[str]:
    """The migrations that this code has, the newest first."""
    return [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]


def save_before(to: str, where: settings.Warehouse, folder: Path | None) -> str | None:
    """Save what migrations are about to change, on the way to one of them; says what was saved.

    None where nothing is to be migrated. Raises BackupError.
    """
    former = backups.revision(where)
    if former == to or former not in known():
        return None
    if folder is None:
        return f"No backup was saved before migration {to}: GREENERY_BACKUP_DIR is not set."
    saved = backups.save(folder, {backups.WAREHOUSE: where}, of=f"before-{to}", kept=settings.backups_kept())
    return f"Saved before migration {to}: {saved.path}"


def main() -> int:
    """The command; 1 where it can't, with the reason on stderr."""
    where, to = settings.warehouse_admin(), sys.argv[1] if sys.argv[1:] else known()[0]
    try:
        if problem := pooler.problem(where):
            raise MigrationError(problem)
        if said := save_before(to, where, settings.backup_folder()):
            print(said, file=sys.stderr)
        if sys.argv[1:]:
            downgrade(to)
        else:
            upgrade()
    except MigrationError as error:
        print(error, file=sys.stderr)
    except BackupError as error:
        print(f"Nothing was migrated, as no backup could be saved before: {error}", file=sys.stderr)
    except psycopg2.OperationalError as error:
        print(f"The warehouse can't be reached, so nothing was migrated: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
