"""Role by role, what each may do to each thing that there is, found in the catalog: a new table is in by itself.

`test_roles.py` tries what a role might do; here nothing is tried, and nothing is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw, settings
from include.local.postgres import LocalPostgres
from include.warehouse import personal, roles
from include.warehouse.roles import DEVELOPER, HEALTH, LOADER, PERSONAL, RAW, READER, TRANSFORMER
from tests.conftest import a_warehouse
from tests.include.warehouse.conftest import publish

pytestmark = pytest.mark.db

READ, ROWS = {"select"}, {"select", "insert", "update", "delete", "truncate"}
ALL = ROWS | {"references", "trigger", "maintain"}
SCHEMAS = ("raw", "staging", "snapshots", "analytics", "analytics_next", "ops")
# What a role may do to each table and view of a schema, those to come included; in other schemas nothing.
MAY = {
    RAW: {"raw": ALL},
    LOADER: {"raw": ROWS | {"maintain"}},
    TRANSFORMER: {"raw": READ, **dict.fromkeys(settings.OUR_SCHEMAS, ALL)},
    READER: {"analytics": READ},
    PERSONAL: {"analytics": READ},
    HEALTH: {"analytics": READ, "snapshots": READ, "ops": READ},
    DEVELOPER: {"raw": READ, "analytics": READ, "snapshots": READ},
}
# And where it is otherwise: more, or less. What is granted by column counts, too.
OF_A_TABLE = {
    (HEALTH, "ops.stand_ins"): set(),
    (HEALTH, "ops.erasure_key"): set(),
    (HEALTH, "ops.answers"): READ | {"insert"},
    **{
        (LOADER, f"ops.{name}"): READ for name in ("leases", "stand_ins", "erasure_key", "personal_columns")
    },
    **{
        (DEVELOPER, f"ops.{name}"): READ
        for name in (
            "runs", "node_results", "last_words", "metrics", "snapshots", "watermarks", "buffers", "buffer_models",
            "publications", "publication_loads", "publication_loaded_at", "publication_marts", "publication_models",
            "told", "code", "releases", "compiled_sql", "observations", "unusual", "leases", "personal_columns",
        )
    },
    # Erasures: what is personal is emptied, and a stand-in is put in the place of who is gone.
    **{(TRANSFORMER, f"raw.{name}"): READ | {"update"} for name in ("orders", "events", "deletions")},
    **{(TRANSFORMER, f"raw.{name}"): READ | {"update", "insert"} for name in ("users", "addresses")},
}  # fmt: skip
# By role, the columns of raw that an erasure may change.
EMPTIED = {
    "users": {"user_id", "address_id", "first_name", "last_name", "email", "phone_number"},
    "addresses": {"address_id", "address", "zipcode"},
    "orders": {"user_id", "address_id", "tracking_id"},
    "events": {"user_id", "page_url"},
    "deletions": {"key"},
}
# Of a schema itself: to look into it, and to make something there.
SEES = {
    RAW: {"raw"},
    LOADER: {"raw", "ops"},
    TRANSFORMER: set(SCHEMAS),
    READER: {"analytics"},
    PERSONAL: {"analytics"},
    HEALTH: {"analytics", "snapshots", "ops"},
    DEVELOPER: {"raw", "analytics", "snapshots", "ops"},
}
MAKES = {RAW: {"raw"}, TRANSFORMER: set(settings.OUR_SCHEMAS)}
Rights = dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module")
def shop(server: LocalPostgres, migrated: str) -> Iterator[Connection]:
    """A warehouse with something of each kind, made after the roles were, and published; to be asked only."""
    with (
        a_warehouse(server, migrated) as where,
        closing(psycopg2.connect(**where.libpq())) as db,
        db.cursor() as cursor,
    ):
        db.autocommit = True
        raw.create(cursor)
        roles.ensure(db, login=True)
        for schema, owner in roles.owners().items():
            cursor.execute(f"set role {owner}; create table {schema}.new_table as select 'a' as email, 1 as number")
            cursor.execute(f"create view {schema}.new_view as select 1 as number; reset role")
        personal.note(cursor, {"email": None})
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("WAREHOUSE_USER", TRANSFORMER)
            publish("run 1")
        yield db


def query(db: Connection, statement: str, *parameters: object) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall()


def test_each_role_may_do_to_each_table_what_is_promised_and_nothing_else(shop: Connection) -> None:
    found: Rights = defaultdict(lambda: defaultdict(set))
    for role, table, right in query(
        shop,
        """
        select role, nspname || '.' || relname, privilege
        from pg_class
        inner join pg_namespace on pg_namespace.oid = relnamespace
        cross join unnest(%s) as role
        cross join unnest(%s) as privilege
        where nspname = any(%s) and has_schema_privilege(role, nspname, 'usage')
            and relkind in ('r', 'p', 'v', 'm', 'f')
            and case
                when privilege in ('delete', 'truncate', 'trigger', 'maintain')
                    then has_table_privilege(role, pg_class.oid, privilege)
                else has_any_column_privilege(role, pg_class.oid, privilege)
            end
        """,
        list(roles.ROLES),
        sorted(ALL),
        list(SCHEMAS),
    ):
        found[role][table].add(right)
    tables = [
        f"{schema}.{table}"
        for schema, table in query(
            shop,
            "select schemaname, tablename from pg_tables where schemaname = any(%s)"
            " union all select schemaname, viewname from pg_views where schemaname = any(%s)",
            list(SCHEMAS),
            list(SCHEMAS),
        )
    ]
    assert {table.split(".")[0] for table in tables if table.endswith((".new_table", ".new_view"))} == set(SCHEMAS)
    for role in roles.ROLES:
        wanted = {table: OF_A_TABLE.get((role, table), MAY[role].get(table.split(".")[0], set())) for table in tables}
        assert dict(found[role]) == {table: rights for table, rights in wanted.items() if rights}, role


def test_each_role_sees_and_makes_in_each_schema_what_is_promised(shop: Connection) -> None:
    for right, promised in (("usage", SEES), ("create", MAKES)):
        found = query(
            shop,
            "select role, nspname from pg_namespace cross join unnest(%s) as role"
            " where has_schema_privilege(role, nspname, %s) and nspname !~ '^pg_|information_schema'",
            list(roles.ROLES),
            right,
        )
        assert {(role, schema) for role, schema in found if schema != "public"} == {
            (role, schema) for role, schemas in promised.items() for schema in schemas
        }, right
        assert right == "usage" or "public" not in [schema for _, schema in found]


def test_who_sees_no_people_reads_no_personal_column_of_any_table(shop: Connection) -> None:
    readable = query(
        shop,
        """
        select role, nspname || '.' || relname
        from pg_attribute
        inner join pg_class on pg_class.oid = attrelid
        inner join pg_namespace on pg_namespace.oid = relnamespace
        cross join unnest(%s) as role
        where attname = 'email' and nspname = any(%s) and has_column_privilege(role, pg_class.oid, attname, 'select')
            and has_schema_privilege(role, nspname, 'usage')
        """,
        [READER, HEALTH, PERSONAL, DEVELOPER],
        list(SCHEMAS),
    )
    by_whom = {role: {table for who, table in readable if who == role} for role, _ in readable}
    everybodys = {"ops.new_table"}  # nothing says that it is a mart's: what stands in ops is the page's to read
    assert by_whom.pop(HEALTH) <= everybodys
    assert by_whom == {
        PERSONAL: {"analytics.new_table"},
        DEVELOPER: {"analytics.new_table", "snapshots.new_table", "raw.new_table", "raw.users"},
    }


def test_an_erasure_may_change_what_is_personal_in_raw_and_no_other_column(shop: Connection) -> None:
    found = defaultdict(set)
    for table, column in query(
        shop,
        "select relname, attname from pg_attribute inner join pg_class on pg_class.oid = attrelid"
        " where relnamespace = 'raw'::regnamespace and attnum > 0 and relkind = 'r' and not attisdropped"
        " and has_column_privilege(%s, attrelid, attnum, 'update')",
        TRANSFORMER,
    ):
        found[table].add(column)
    assert dict(found) == EMPTIED


def test_nobody_but_its_owner_moves_a_sequence_runs_as_another_or_has_a_right_of_the_server(shop: Connection) -> None:
    others = [role for role in roles.ROLES if role not in (RAW, TRANSFORMER)]
    sequences = (
        "select role, s.oid::regclass::text from pg_class as s cross join unnest(%s) as role"
        " where relkind = 'S' and has_sequence_privilege(role, s.oid, 'usage, select, update')"
    )
    assert query(shop, sequences, others) == []
    # A function of this kind would run with the rights of its owner, whoever calls it.
    definers = "select proname from pg_proc where prosecdef and pronamespace::regnamespace::text !~ '^pg_'"
    assert query(shop, definers) == []
    powers = "rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls"
    assert query(shop, f"select rolname from pg_roles where rolname = any(%s) and ({powers})", list(roles.ROLES)) == []
    member = "select role, rolname from pg_roles cross join unnest(%s) as role where rolname <> role"
    assert set(query(shop, f"{member} and pg_has_role(role, rolname, 'member')", list(roles.ROLES))) == {
        (PERSONAL, READER),
        (TRANSFORMER, "pg_read_all_stats"),
    }


def test_what_is_given_by_default_is_of_who_owns_a_schema_and_in_it(shop: Connection) -> None:
    owner, schema = "defaclrole::regrole::text", "defaclnamespace::regnamespace::text"
    given = query(shop, f"select {owner}, {schema} from pg_default_acl")
    assert set(given) <= {(RAW, "raw"), *((TRANSFORMER, schema) for schema in settings.OUR_SCHEMAS)}


def test_each_role_may_do_in_the_database_what_it_needs(shop: Connection) -> None:
    """To run a program of the server's or to read its files takes a role of Postgres', which nobody is a member of."""
    given = query(
        shop,
        "select distinct grantee::regrole::text, lower(privilege_type) from pg_database, aclexplode(datacl)"
        " where datname = current_database() and grantee::regrole::text = any(%s)",
        list(roles.ROLES),
    )
    assert set(given) == {
        *((role, "connect") for role in roles.LOGINS),
        *((role, "temporary") for role in (LOADER, TRANSFORMER, DEVELOPER)),
        *((role, "create") for role in (TRANSFORMER, DEVELOPER)),
    }
