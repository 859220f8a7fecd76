"""The warehouse of the local stack: a database whose schemas, `ops` and roles are up to date."""

from __future__ import annotations

from psycopg2 import sql

from include import raw
from include.local import postgres
from include.raw import mapping
from include.settings import Warehouse
from include.warehouse import connect, migrate, roles

NAME = "warehouse"


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
