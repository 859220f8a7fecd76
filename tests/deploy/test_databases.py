"""What Postgres runs when it makes its cluster: two databases, and a login that knows one of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from include.local import postgres
from include.local.postgres import LocalPostgres
from include.settings import PROJECT_ROOT

pytestmark = pytest.mark.db


@pytest.fixture
def made(server: LocalPostgres) -> Iterator[LocalPostgres]:
    """A server on which the script has run; its traces are removed afterwards."""
    environment = os.environ | {
        "PATH": f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "POSTGRES_USER": postgres.SUPERUSER,
        "POSTGRES_DB": "postgres",
        "AIRFLOW_DB_PASSWORD": "it's a password",
    }
    with postgres.admin(server) as cursor:
        for database in ("airflow", "warehouse"):
            cursor.execute(f"drop database if exists {database}")
        subprocess.run([PROJECT_ROOT / "deploy" / "postgres" / "databases.sh"], env=environment, check=True)
        yield server
        for database in ("airflow", "warehouse"):
            cursor.execute(f"drop database {database}")
        cursor.execute("drop role airflow")


def test_airflow_owns_its_database_and_can_make_nothing_else(made: LocalPostgres) -> None:
    with postgres.admin(made) as cursor:
        cursor.execute(
            "select datname, pg_get_userbyid(datdba) from pg_database where datname in ('airflow', 'warehouse')"
        )
        assert dict(cursor.fetchall()) == {"airflow": "airflow", "warehouse": postgres.SUPERUSER}
        cursor.execute(
            "select rolsuper, rolcreatedb, rolcreaterole, rolcanlogin from pg_roles where rolname = 'airflow'"
        )
        assert cursor.fetchone() == (False, False, False, True)
        cursor.execute("select has_database_privilege('airflow', 'warehouse', 'create')")
        assert cursor.fetchone() == (False,)
    psycopg2.connect(**made.database("airflow", "airflow").libpq()).close()


def test_of_a_component_whose_machine_is_gone_the_server_lets_go_soon(made: LocalPostgres) -> None:
    """A socket of this machine shows nothing of it; tests/daily/test_airflow_database.py takes a network away."""
    with postgres.admin(made) as cursor:
        cursor.execute("select unnest(setconfig) from pg_db_role_setting where setrole = 'airflow'::regrole")
        held_to = dict(setting.split("=") for (setting,) in cursor.fetchall())
    assert held_to == {
        "tcp_keepalives_idle": "10s",
        "tcp_keepalives_interval": "5s",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "30s",
    }


def test_who_may_only_read_the_warehouse_can_keep_nothing_in_it(made: LocalPostgres) -> None:
    """Not even a large object, which everybody may make in a database as Postgres makes it."""
    with postgres.admin(made) as cursor:
        cursor.execute("grant connect on database warehouse to airflow")
    warehouse = made.database("warehouse", "airflow").libpq()
    with closing(psycopg2.connect(**warehouse)) as reader, reader.cursor() as cursor:
        for attempt in (
            "select lo_create(0)",
            "select lo_creat(0)",
            "select lo_from_bytea(0, 'x')",
            "create temporary table mine (a int)",
            "create table public.mine (a int)",
            "create schema mine",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(attempt)
            reader.rollback()
