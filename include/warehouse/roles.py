"""Who may do what in the warehouse: four roles, made and renewed by `python -m include.warehouse.roles`.

| role | may |
|---|---|
| `greenery_loader` | own `raw`: create, write and read it; see who reads it now |
| `greenery_transformer` | what Airflow and dbt do: read `raw`, own everything else, exchange the schemas |
| `greenery_reader` | read what is published, and nothing else |
| `greenery_health` | read what is published, `snapshots` and `ops`: the health page |

Run it as an administrator (`WAREHOUSE_ADMIN_USER`: a superuser, or who may create roles and owns the database) after
the migrations; running it again changes nothing. A role can log in where its password is set, as
`WAREHOUSE_READER_PASSWORD` for instance. A login of your own that stands for a role has to work as it, or others can't
read what it creates: `grant greenery_loader to etl; alter role etl set role greenery_loader`.
"""

from __future__ import annotations

import logging

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.warehouse import connect

LOADER, TRANSFORMER, READER, HEALTH = ROLES = (
    "greenery_loader",
    "greenery_transformer",
    "greenery_reader",
    "greenery_health",
)
log = logging.getLogger(__name__)

# What may be done to an object of a kind, by its letter in pg_class.
_ALTER = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "S": "sequence"}


def ensure(connection: Connection, *, login: bool = False) -> None:
    """Create the roles, hand them what they own, and grant what they need, in the caller's transaction.

    With `login` all of them can log in, with a password that the caller sets, or on a server that trusts its clients.
    """
    with connection.cursor() as cursor:
        for role in ROLES:
            _ensure_role(cursor, role, login=login)
        raw.create_schema(cursor)
        for schema, owner in owners().items():
            _hand_over(cursor, schema, owner)
        _grant(cursor)
        open_to_readers(cursor, settings.LIVE, closed=settings.BUILT)


def open_to_readers(cursor: Cursor, live: str, *, closed: str) -> None:
    """Let readers into the schema that is live now, and out of the other. Does nothing where there are no roles.

    Out of its tables as well: somebody's view on one of them would show what is being built. A table of somebody else's
    is his to give.
    """
    cursor.execute("select rolname from pg_roles where rolname in %s", ((READER, HEALTH),))
    for role in sorted(name for (name,) in cursor.fetchall()):
        _run(cursor, "grant usage on schema {} to {}", live, role)
        _run(cursor, "revoke usage on schema {} from {}", closed, role)
        for statement, schema in (("grant select on {} to {}", live), ("revoke select on {} from {}", closed)):
            if tables := _owned_tables(cursor, schema):
                cursor.execute(sql.SQL(statement).format(sql.SQL(", ").join(tables), sql.Identifier(role)))


def _owned_tables(cursor: Cursor, schema: str) -> list[sql.Identifier]:
    """All that can be read in a schema, but for what is somebody else's."""
    cursor.execute(
        """
        select relname
        from pg_class
        where relnamespace = to_regnamespace(%s)
            and relkind in ('r', 'p', 'v', 'm', 'f')
            and pg_has_role(relowner, 'usage')
        """,
        (schema,),
    )
    return [sql.Identifier(schema, name) for (name,) in cursor.fetchall()]


def owners() -> dict[str, str]:
    """Which role owns a schema and all that is in it."""
    return {settings.raw_schema(): LOADER, **dict.fromkeys(settings.OUR_SCHEMAS, TRANSFORMER)}


def _ensure_role(cursor: Cursor, role: str, *, login: bool) -> None:
    cursor.execute("select from pg_roles where rolname = %s", (role,))
    if not cursor.rowcount:
        _run(cursor, "create role {}", role)
    cursor.execute("select rolsuper, rolname from pg_roles where rolname = current_user")
    superuser, admin = cursor.fetchone()
    if not superuser:  # who has to act for the roles that own things
        _run(cursor, "grant {} to {}", role, admin)
    if password := settings.role_password(role.removeprefix("greenery_")):
        cursor.execute(sql.SQL("alter role {} login password %s").format(sql.Identifier(role)), (password,))
    elif login:
        _run(cursor, "alter role {} login", role)


def _hand_over(cursor: Cursor, schema: str, owner: str) -> None:
    """Make a role the owner of a schema and of all in it; where people query, of models alone.

    A model's is what `ops` calls so, or what has the owner that the schema had: before there were roles, that is all.
    """
    cursor.execute("select pg_get_userbyid(nspowner) from pg_namespace where nspname = %s", (schema,))
    [[former]] = cursor.fetchall()
    if former != owner:
        _run(cursor, "alter schema {} owner to {}", schema, owner)
    cursor.execute(
        """
        select relname, relkind::text
        from pg_class
        where relnamespace = %(schema)s::regnamespace
            and relkind in %(kinds)s
            and pg_get_userbyid(relowner) <> %(owner)s
            and (
                %(all)s
                or pg_get_userbyid(relowner) = %(former)s
                or relname in (
                    select coalesce(identifier, split_part(unique_id, '.', 3))
                    from ops.buffer_models
                    where schema_oid = %(schema)s::regnamespace
                )
            )
            -- The sequence of an identity column goes with its table.
            and not exists (
                select from pg_depend where objid = pg_class.oid and deptype = 'i' and classid = 'pg_class'::regclass
            )
        """,
        {
            "schema": schema,
            "kinds": tuple(_ALTER),
            "owner": owner,
            "former": former,
            "all": schema not in (settings.LIVE, settings.BUILT),
        },
    )
    for name, kind in cursor.fetchall():
        statement = sql.SQL("alter {} {} owner to {}")
        cursor.execute(statement.format(sql.SQL(_ALTER[kind]), sql.Identifier(schema, name), sql.Identifier(owner)))


def _grant(cursor: Cursor) -> None:
    cursor.execute("select current_database()")
    [[database]] = cursor.fetchall()
    _run(cursor, "revoke create on schema public from public")
    # Renaming a schema needs it.
    _run(cursor, "grant create on database {} to {}", database, TRANSFORMER)
    _let_see_sessions(cursor)
    _let_read(cursor, settings.raw_schema(), TRANSFORMER)
    _run(cursor, "grant usage on schema {} to {}", settings.raw_schema(), TRANSFORMER)
    for schema in ("ops", "snapshots"):
        _let_read(cursor, schema, HEALTH)
        _run(cursor, "grant usage on schema {} to {}", schema, HEALTH)
    _run(cursor, "grant usage on schema {} to {}", "ops", LOADER)
    _run(cursor, "grant select on ops.leases to {}", LOADER)


def _let_see_sessions(cursor: Cursor) -> None:
    """Publish says who holds the tables that it waits for, if it may see it."""
    cursor.execute("select pg_has_role('pg_read_all_stats', 'member with admin option')")
    if cursor.fetchone()[0]:
        _run(cursor, "grant pg_read_all_stats to {}", TRANSFORMER)
    else:
        log.warning("Not granted to %s: pg_read_all_stats; publish will not say who holds it up.", TRANSFORMER)


def _let_read(cursor: Cursor, schema: str, role: str) -> None:
    """Let a role select from all tables of a schema, those to come included."""
    _run(cursor, "grant select on all tables in schema {} to {}", schema, role)
    _run(
        cursor,
        "alter default privileges for role {} in schema {} grant select on tables to {}",
        owners()[schema],
        schema,
        role,
    )


def _run(cursor: Cursor, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def main() -> None:
    """Renew the roles of the warehouse that the environment names."""
    with connect("greenery roles", settings.warehouse_admin()) as connection:
        ensure(connection)
    print(f"The roles are in place: {', '.join(ROLES)}")


if __name__ == "__main__":
    main()
