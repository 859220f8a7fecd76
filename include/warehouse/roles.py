"""Who may do what in the warehouse: seven roles, made and renewed by `python -m include.warehouse.roles`.

| role | may |
|---|---|
| `greenery_raw` | own `raw`; nobody logs in as it, since who owns a table could act as whoever reads it |
| `greenery_loader` | read and write the rows of `raw`; see who reads it now |
| `greenery_transformer` | what Airflow and dbt do: read `raw`, own everything else, exchange the schemas |
| `greenery_reader` | read what is published but for personal columns, and nothing else |
| `greenery_personal` | read what is published, personal columns included |
| `greenery_health` | read what a reader may, `ops`, and `snapshots` but for personal columns; add answers: the page |
| `greenery_developer` | read `raw`, what is published, what runs built and told; write in schemas of its own alone |

Run it as an administrator (`WAREHOUSE_ADMIN_USER`: a superuser, or who may create roles and owns the database) after
the migrations and after `python -m include.raw`, which makes the raw tables; running it again changes nothing. A role
can log in where its password is set, as `WAREHOUSE_READER_PASSWORD` for instance. A login of your own is let in by a
grant: `grant greenery_loader to etl`. One that stands for `greenery_transformer` has to work as it as well, or others
can't read what it creates: `alter role etl set role greenery_transformer`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw.contract import PERSONS, TABLES
from include.warehouse import connect, personal, session, trust

LOADER, TRANSFORMER, READER, HEALTH, DEVELOPER = LOGINS = (
    "greenery_loader",
    "greenery_transformer",
    "greenery_reader",
    "greenery_health",
    "greenery_developer",
)
# Nobody logs in as it: it is granted to who has to see people.
PERSONAL = "greenery_personal"
# Owns what others write: as whom nobody logs in.
RAW = "greenery_raw"
ROLES = (RAW, PERSONAL, *LOGINS)
# Whom each publish lets into what it made live.
OPENED_TO = (READER, HEALTH, PERSONAL, DEVELOPER)
log = logging.getLogger(__name__)


class RolesError(RuntimeError):
    """The roles are as they were; the message says why and what to do."""


# What the sessions of a role are held to in this database, unless somebody has set it otherwise. Whoever reads holds a
# publish up for no longer than it waits (`include.publish.exchange`).
_LONGEST_QUERY = "5min"
_OF_READERS = {
    "idle_in_transaction_session_timeout": "1min",
    "statement_timeout": _LONGEST_QUERY,
    # It also ends whose program takes no rows for so long, so it is no shorter.
    "tcp_user_timeout": _LONGEST_QUERY,
}
# Who builds or develops may create schemas; one that is called like a role would come first where that role looks for
# functions. Where a machine is gone, or the network, the server notices within half a minute and lets go of what its
# sessions had locked; of itself it would wait for two hours, and whoever reads with it.
_OF_OURS = {
    "search_path": "public",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
}
# Who loads or builds takes what the server says at once, and holds locks that others wait for.
_OF_WRITERS = _OF_OURS | {"tcp_user_timeout": "30s"}
# What a process may put on the disk while it sorts and joins, which nobody else may set for a role. A build that spills
# fails then, and does not fill the disk of everybody.
_OF_A_SUPERUSER = "temp_file_limit"
_TEMPORARY_FILES = {_OF_A_SUPERUSER: "20GB"}
HELD_TO = {
    LOADER: _OF_WRITERS,
    READER: _OF_READERS | _OF_OURS,
    HEALTH: _OF_READERS | _OF_OURS,
    # A task that is frozen is given up, and its next try waits for what it has locked: less long than that may wait.
    TRANSFORMER: _OF_WRITERS
    | _TEMPORARY_FILES
    | {"lock_timeout": "10min", "idle_in_transaction_session_timeout": "10min"},
    DEVELOPER: _OF_READERS | _OF_OURS | _TEMPORARY_FILES | {"lock_timeout": "1min"},
}
# What a preview and its message of the next run read of ops: what was built, published and told. Not what was said to
# people or answered, nor who was erased.
_OF_A_PREVIEW = (
    "runs",
    "node_results",
    "last_words",
    "metrics",
    "snapshots",
    "watermarks",
    "buffers",
    "buffer_models",
    "publications",
    "publication_loads",
    "publication_loaded_at",
    "publication_marts",
    "publication_models",
    "told",
    "code",
    "releases",
    "compiled_sql",
    "observations",
    "unusual",
    "leases",
    "personal_columns",
)
# All that can be done to rows. Not among it: triggers and foreign keys, which run code on behalf of others.
_WRITE_ROWS = "select, insert, update, delete, truncate"
# Who answers on the page says all but when that was: rows are only added, each with its own number and moment.
# Nor does the page let a test through (`waives`): whoever has its password must not open the gate.
_OF_AN_ANSWER = "answered_by, name_given, kind, unique_id, column_name, measure, item, day, until, reason, ends"
# What may be done to an object of a kind, by its letter in pg_class.
_ALTER = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "S": "sequence"}


def ensure(connection: Connection, *, login: bool = False) -> None:
    """Create the roles, hand them what they own, and grant what they need, in the caller's transaction.

    With `login` they can log in, with a password that the caller sets, or on a server that trusts its clients. Raises
    RolesError where a raw table would bring along somebody else's code.
    """
    with connection.cursor() as cursor:
        for role in ROLES:
            _ensure_role(cursor, role, login=login and role in LOGINS)
        raw.create_schema(cursor)
        for schema, owner in owners().items():
            _hand_over(cursor, schema, owner)
        _grant(cursor)
        _hold_to(cursor)
        _warn_of_people(cursor)
        open_to_readers(cursor, settings.LIVE, closed=settings.BUILT)


def open_to_readers(cursor: Cursor, live: str, *, closed: str) -> None:
    """Let readers into the schema that is live now, and out of the other. Does nothing where there are no roles.

    Out of its tables as well: somebody's view on one of them would show what is being built. Who owns another
    table decides who reads it. Of a table with personal columns, who may not see these gets the other columns; so does
    the health page of a snapshot. Who develops reads personal columns in raw anyway.
    """
    cursor.execute("select rolname from pg_roles where rolname in %s", (OPENED_TO,))
    for role in sorted(name for (name,) in cursor.fetchall()):
        _run(cursor, "grant usage on schema {} to {}", live, role)
        _run(cursor, "revoke usage on schema {} from {}", closed, role)
        hidden = [] if role in (PERSONAL, DEVELOPER) else personal.values(cursor)
        _let_read(cursor, live, role, hidden)
        _on_tables(cursor, "revoke select on {} from {}", [table for table, _ in _owned_tables(cursor, closed)], role)
        if role == HEALTH:
            _let_read(cursor, "snapshots", role, hidden)


def _let_read(cursor: Cursor, schema: str, role: str, hidden: Collection[str]) -> None:
    """Grant a role the tables of a schema, but for the `hidden` columns."""
    tables = _owned_tables(cursor, schema, hidden)
    _on_tables(cursor, "grant select on {} to {}", [table for table, shown in tables if shown is None], role)
    for table, shown in tables:
        if shown is not None:
            _on_tables(cursor, "revoke select on {} from {}", [table], role)  # of the whole: it has all columns
        if shown:
            columns = sql.SQL(", ").join(map(sql.Identifier, shown))
            grant = sql.SQL("grant select ({}) on {} to {}")
            cursor.execute(grant.format(columns, table, sql.Identifier(role)))


def _owned_tables(
    cursor: Cursor, schema: str, hidden: Collection[str] = ()
) -> list[tuple[sql.Identifier, list | None]]:
    """All that can be read in a schema, but for what is somebody else's.

    With the names of the other columns where a column of it is among the `hidden`, else with None.
    """
    cursor.execute(
        """
        select
            relname,
            case when bool_or(attname = any(%(hidden)s)) then
                coalesce(array_agg(attname::text order by attnum) filter (where attname <> all(%(hidden)s)), '{}')
            end
        from pg_class
        left join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        where relnamespace = to_regnamespace(%(schema)s)
            and relkind in ('r', 'p', 'v', 'm', 'f')
            -- Not what belongs to a role that is granted to us so that publish may write its views again.
            and pg_has_role(relowner, 'usage')
            and relowner in (
                to_regrole(quote_ident(current_user)),
                (select nspowner from pg_namespace where pg_namespace.oid = relnamespace)
            )
        group by relname
        order by relname
        """,
        {"schema": schema, "hidden": list(hidden)},
    )
    return [(sql.Identifier(schema, name), shown) for name, shown in cursor.fetchall()]


def _on_tables(cursor: Cursor, statement: str, tables: list[sql.Identifier], role: str) -> None:
    """Grant or revoke on all of them in one statement."""
    if tables:
        cursor.execute(sql.SQL(statement).format(sql.SQL(", ").join(tables), sql.Identifier(role)))


def owners() -> dict[str, str]:
    """Which role owns a schema and all that is in it."""
    return {settings.raw_schema(): RAW, **dict.fromkeys(settings.OUR_SCHEMAS, TRANSFORMER)}


def _ensure_role(cursor: Cursor, role: str, *, login: bool) -> None:
    cursor.execute("select from pg_roles where rolname = %s", (role,))
    if not cursor.rowcount:
        _run(cursor, "create role {}", role)
    cursor.execute("select rolsuper, rolname from pg_roles where rolname = current_user")
    superuser, admin = cursor.fetchone()
    if not superuser:  # who has to act for the roles that own things
        _run(cursor, "grant {} to {}", role, admin)
    if role not in LOGINS:
        _run(cursor, "alter role {} nologin", role)
    elif password := settings.role_password(role.removeprefix("greenery_")):
        cursor.execute(sql.SQL("alter role {} login password %s").format(sql.Identifier(role)), (password,))
    elif login:
        _run(cursor, "alter role {} login", role)


def _hand_over(cursor: Cursor, schema: str, owner: str) -> None:
    """Make a role the owner of a schema and of all in it; where people query, of models alone.

    A model's is what `ops` calls so, or what has the owner that the schema had: before there were roles, that is all.
    Of views of raw, only those of who may build anyway: another one's would run as whoever reads it.
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
            and (
                relkind not in ('v', 'm')
                or relnamespace <> to_regnamespace(%(raw)s)
                or pg_has_role(relowner, %(builder)s, 'member')
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
            "raw": settings.raw_schema(),
            "builder": TRANSFORMER,
        },
    )
    handed_over = cursor.fetchall()
    for name, kind in handed_over:
        statement = sql.SQL("alter {} {} owner to {}")
        cursor.execute(statement.format(sql.SQL(_ALTER[kind]), sql.Identifier(schema, name), sql.Identifier(owner)))
    # What the former owner put there goes along, and would run as whoever loads or erases.
    if owner == RAW and (found := trust.code_of_others(cursor, [(schema, name) for name, _ in handed_over])):
        raise RolesError(
            f"{schema} can't be handed over to {RAW} with somebody else's code in it: {found}. The roles are as they "
            "were. Mend that, then call `python -m include.warehouse.roles` again."
        )


def _grant(cursor: Cursor) -> None:
    cursor.execute("select current_database()")
    [[database]] = cursor.fetchall()
    _run(cursor, "revoke create on schema public from public")
    for role in LOGINS:  # who takes these from everybody leaves them to these
        _run(cursor, "grant connect on database {} to {}", database, role)
    for role in (LOADER, TRANSFORMER, DEVELOPER):
        _run(cursor, "grant temporary on database {} to {}", database, role)
    for role in (TRANSFORMER, DEVELOPER):  # renaming a schema needs it, and making one
        _run(cursor, "grant create on database {} to {}", database, role)
    _let_see_sessions(cursor)
    _let(cursor, "select", settings.raw_schema(), TRANSFORMER)
    _run(  # from when loaders made tables
        cursor,
        "alter default privileges for role {} in schema {} revoke select on tables from {}",
        LOADER,
        settings.raw_schema(),
        TRANSFORMER,
    )
    _let(cursor, _WRITE_ROWS, settings.raw_schema(), LOADER)
    if cursor.connection.server_version >= 170000:  # before, only an owner can analyze
        _let(cursor, "maintain", settings.raw_schema(), LOADER)
    for role in (TRANSFORMER, LOADER, DEVELOPER):
        _run(cursor, "grant usage on schema {} to {}", settings.raw_schema(), role)
    for role, read in ((HEALTH, ("ops", "snapshots")), (DEVELOPER, (settings.raw_schema(), "snapshots"))):
        for schema in read:
            _let(cursor, "select", schema, role)
        for schema in ("ops", "snapshots"):
            _run(cursor, "grant usage on schema {} to {}", schema, role)
    _run(cursor, "revoke select on ops.stand_ins, ops.erasure_key from {}", HEALTH)
    _on_tables(cursor, "grant select on {} to {}", [sql.Identifier("ops", name) for name in _OF_A_PREVIEW], DEVELOPER)
    _run(cursor, "grant usage on schema {} to {}", "ops", LOADER)
    _run(cursor, "grant select on ops.leases, ops.stand_ins, ops.erasure_key, ops.personal_columns to {}", LOADER)
    _run(cursor, "revoke insert on ops.answers from {}", HEALTH)
    _run(cursor, f"grant insert ({_OF_AN_ANSWER}) on ops.answers to {{}}", HEALTH)
    _run(cursor, "grant {} to {}", READER, PERSONAL)  # who is held to what readers are
    _let_erase(cursor)


def _let_erase(cursor: Cursor) -> None:
    """Let who builds empty what is personal in raw, and nothing else of it: an erasure by hand in Airflow is theirs."""
    for table in TABLES.values():
        keys = [name for name in table.columns if name in ("user_id", "address_id")]
        if raw.exists(cursor, table.name) and table.name not in raw.views(cursor) and (keys or table.personal):
            columns = sql.SQL(", ").join(map(sql.Identifier, (*keys, *table.personal)))
            grants = [sql.SQL("update ({})").format(columns)]
            if table.name in PERSONS:  # a stand-in of somebody whom the shop has deleted
                grants.append(sql.SQL("insert"))
            cursor.execute(
                sql.SQL("grant {} on {} to {}").format(
                    sql.SQL(", ").join(grants), raw.named(table.name), sql.Identifier(TRANSFORMER)
                )
            )
    if raw.exists(cursor, "deletions") and "deletions" not in raw.views(cursor):
        cursor.execute(
            sql.SQL("grant update (key) on {} to {}").format(raw.named("deletions"), sql.Identifier(TRANSFORMER))
        )


def _hold_to(cursor: Cursor) -> None:
    """Set what sessions are held to: of our roles, and of people who log in themselves and are let in by a grant."""
    cursor.execute("select rolname::text, rolsuper from pg_roles where rolname = current_user")
    [[admin, superuser]] = cursor.fetchall()
    held_to = {admin: _OF_OURS} | HELD_TO
    for role, wanted in ((READER, _OF_READERS), (DEVELOPER, HELD_TO[DEVELOPER]), (TRANSFORMER, _OF_WRITERS)):
        for name, ours in _people(cursor, role):
            if ours:
                held_to[name] = held_to.get(name, {}) | wanted
            else:
                log.warning("Not set for %s, who is not yours to change: %s", name, ", ".join(wanted))
    for role, wanted in held_to.items():
        # What is set for everybody is not meant for who loads or builds (`include.warehouse.session`).
        for setting in wanted.keys() - _set_for(cursor, role, or_all=role not in (LOADER, TRANSFORMER)):
            if superuser or setting != _OF_A_SUPERUSER:
                _set(cursor, role, setting, wanted[setting])
    # A policy on a table that somebody else owns would run as who builds. Now to read that table fails.
    for role in (TRANSFORMER, DEVELOPER):
        _set(cursor, role, "row_security", "off")


def _people(cursor: Cursor, role: str) -> list[tuple[str, bool]]:
    """Who logs in themselves and has a role by a grant, and whether we may set something for them.

    Who stands for the one who builds is held to what that is, whatever other roles they have.
    """
    cursor.execute(
        """
        select rolname::text, (select rolsuper from pg_roles where rolname = current_user)
            or pg_has_role(oid, 'member with admin option')
        from pg_roles
        where rolcanlogin and not rolsuper and rolname <> all(%(logins)s) and rolname <> current_user
            and pg_has_role(oid, %(role)s, 'member')
            and (%(role)s = %(builder)s or not pg_has_role(oid, %(builder)s, 'member'))
        order by 1
        """,
        {"logins": list(LOGINS), "role": role, "builder": TRANSFORMER},
    )
    return cursor.fetchall()


def _warn_of_people(cursor: Cursor) -> None:
    """A role is granted to who builds so that publish may write its views again; it can do all that the role can."""
    cursor.execute(
        "select rolname from pg_roles where rolcanlogin and rolname <> %(builder)s"
        " and pg_has_role(%(builder)s, oid, 'member') order by 1",
        {"builder": TRANSFORMER},
    )
    if people := [name for (name,) in cursor.fetchall()]:
        log.warning(
            "Who writes dbt models can act as %s, who logs in and is granted to %s. Let a role that nobody logs in as "
            "own the views, and grant that one (docs/publishing.md).",
            ", ".join(people),
            TRANSFORMER,
        )


def _set_for(cursor: Cursor, role: str, *, or_all: bool) -> set[str]:
    """The names of what is set for a role, here or in all databases; with `or_all` for all roles as well.

    Without it a limit counts here alone: sessions of ours pass over any other (`include.warehouse.session`).
    """
    cursor.execute(
        """
        select split_part(one, '=', 1)
        from pg_db_role_setting cross join unnest(setconfig) as held (one)
        where (setrole = to_regrole(quote_ident(%s)) or %s and setrole = 0)
            and (
                setdatabase = (select oid from pg_database where datname = current_database())
                or setdatabase = 0 and (%s or split_part(one, '=', 1) <> all(%s))
            )
        """,
        (role, or_all, or_all, list(session.LIMITS)),
    )
    return {name for (name,) in cursor.fetchall()}


def _set(cursor: Cursor, role: str, setting: str, value: str) -> None:
    cursor.execute(
        sql.SQL("alter role {} in database {} set {} = {}").format(
            *map(sql.Identifier, (role, cursor.connection.info.dbname, setting)), sql.Literal(value)
        )
    )


def _let_see_sessions(cursor: Cursor) -> None:
    """Publish says who holds the tables that it waits for, if it may see it."""
    cursor.execute("select pg_has_role('pg_read_all_stats', 'member with admin option')")
    if cursor.fetchone()[0]:
        _run(cursor, "grant pg_read_all_stats to {}", TRANSFORMER)
    else:
        log.warning("Not granted to %s: pg_read_all_stats; publish will not say who holds it up.", TRANSFORMER)


def _let(cursor: Cursor, what: str, schema: str, role: str) -> None:
    """Grant a role rights on all tables of a schema, those to come included."""
    _run(cursor, f"grant {what} on all tables in schema {{}} to {{}}", schema, role)
    _run(
        cursor,
        f"alter default privileges for role {{}} in schema {{}} grant {what} on tables to {{}}",
        owners()[schema],
        schema,
        role,
    )


def _run(cursor: Cursor, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def main() -> int:
    """Renew the roles of the warehouse that the environment names; 1 where they are as they were."""
    try:
        with connect("greenery roles", settings.warehouse_admin()) as connection:
            ensure(connection)
    except RolesError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The roles are in place: {', '.join(ROLES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
