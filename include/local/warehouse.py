"""The warehouse of the local stack: a database whose schemas, `ops` and roles are up to date."""

from __future__ import annotations

import psycopg2
from psycopg2 import sql

from include import raw
from include.local import postgres
from include.raw import mapping
from include.settings import Warehouse
from include.warehouse import connect, migrate, roles

NAME = "warehouse"
# What it is called while, and after, another takes its place.
ASIDE = f"{NAME}_replaced"


def prepare(server: postgres.LocalPostgres) -> None:
    """Create what is missing of it; nothing happens where it is up to date."""
    postgres.ensure_database(server, NAME)
    migrate.upgrade(as_admin(server))
    with connect("greenery local", as_admin(server)) as connection:
        with connection.cursor() as cursor:
            raw.create(cursor, besides=mapping.to_show())
        roles.ensure(connection, login=True)
        with connection.cursor() as cursor:
            for role in roles.LOGINS:
                password = server.passwords.get(role)
                cursor.execute(sql.SQL("alter role {} password %s").format(sql.Identifier(role)), (password,))
            # It is on this machine, where free space can be looked at.
            cursor.execute(f"grant pg_read_all_settings to {roles.TRANSFORMER}")


def set_aside(server: postgres.LocalPostgres) -> None:
    """Rename it, so that an empty one can take its place. Raises PostgresError, with nothing renamed."""
    with postgres.admin(server) as cursor:
        try:
            cursor.execute(f"alter database {NAME} rename to {ASIDE}")
        except psycopg2.errors.DuplicateDatabase:
            raise postgres.PostgresError(
                f"Database {ASIDE}, which was set aside before, is still there; nothing was replaced. If nobody needs "
                f"it: make psql ARGS='-c \"drop database {ASIDE}\"'. Then try again."
            ) from None
        except psycopg2.errors.ObjectInUse:
            raise postgres.PostgresError(
                f"Somebody is connected to database {NAME}; nothing was replaced. Stop Airflow with `make down`, end "
                "other sessions, then try again."
            ) from None


def put_back(server: postgres.LocalPostgres) -> None:
    """Undo `set_aside`: what took its place is dropped."""
    with postgres.admin(server) as cursor:
        cursor.execute(f"drop database if exists {NAME} with (force)")
        cursor.execute(f"alter database {ASIDE} rename to {NAME}")


def as_admin(server: postgres.LocalPostgres) -> Warehouse:
    """How people who may do anything connect: `make psql`."""
    return server.database(NAME)


def as_loader(server: postgres.LocalPostgres) -> Warehouse:
    """How the demo shop and the CSV loader connect."""
    return server.database(NAME, roles.LOADER)


def as_health(server: postgres.LocalPostgres) -> Warehouse:
    """How the data-health page connects."""
    return server.database(NAME, roles.HEALTH)


def as_developer(server: postgres.LocalPostgres) -> Warehouse:
    """How previews and sandboxes connect."""
    return server.database(NAME, roles.DEVELOPER)


def as_transformer(server: postgres.LocalPostgres) -> Warehouse:
    """How Airflow and dbt connect."""
    return server.database(NAME, roles.TRANSFORMER)
