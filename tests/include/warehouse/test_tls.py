"""A warehouse and a shop that take encrypted connections alone: each client of ours encrypts, and looks whom it met."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy.exc
from dbt.cli.main import dbtRunner

from include import settings
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.raw import shop_database
from include.settings import PROJECT_ROOT
from include.warehouse import connect, migrate
from tests import in_memory
from tests.tls_server import CERTIFIED, SYSTEMS, Certificates, TlsServer, in_front_of, of_the_system

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    """Those of this server, which another user may have to read, and of others."""
    with in_memory.folder("greenery-tls-") as folder:
        yield Certificates.made_in(folder)


@pytest.fixture(scope="module", params=[None, *SYSTEMS], ids=lambda found: "system" if found else "front")
def tls_server(
    request: pytest.FixtureRequest, server: LocalPostgres, certificates: Certificates
) -> Iterator[TlsServer]:
    """One that takes encrypted connections alone."""
    if request.param is None:
        with in_front_of(server, certificates) as front:
            yield front
    else:
        with in_memory.folder("greenery-tls-") as home, of_the_system(request.param, home, certificates) as systems:
            yield systems


@pytest.fixture
def named(
    tls_server: TlsServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """The environment names an empty database of that server, and how to know it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.ensure_database(tls_server.cluster, name)
    with postgres.admin(tls_server.cluster) as cursor:
        cursor.execute(f"create role {CERTIFIED} superuser login")
    for variable in ("PGSSLMODE", "PGGSSENCMODE"):
        monkeypatch.delenv(variable)
    for variable, value in {
        "HOST": "localhost",
        "PORT": str(tls_server.port),
        "DB": name,
        "USER": postgres.SUPERUSER,
        "PASSWORD": "",
        "SSLMODE": "verify-full",
        "SSLROOTCERT": certificates["ca.crt"],
        "SSLCERT": "",
        "SSLKEY": "",
    }.items():
        monkeypatch.setenv(f"WAREHOUSE_{variable}", value)
    yield monkeypatch
    with postgres.admin(tls_server.cluster) as cursor:
        cursor.execute(f'drop database "{name}" with (force)')
        cursor.execute(f"drop role {CERTIFIED}")


def by_connect() -> None:
    """As all of our own code does."""
    with connect("test") as connection, connection.cursor() as cursor:
        cursor.execute("select 1")


def by_alembic() -> None:
    """As the migrations do."""
    migrate.upgrade()


def by_dbt(log: Path) -> None:
    """As each task that runs dbt does, by the project's profile."""
    project = str(PROJECT_ROOT / "dbt")
    quiet = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--log-path", str(log)]
    done = dbtRunner().invoke(["debug", "--connection", "--project-dir", project, "--profiles-dir", project, *quiet])
    if not done.success:
        raise psycopg2.OperationalError("dbt did not connect")


def by_a_program(server: TlsServer) -> None:
    """As pg_dump, pg_restore and psql do."""
    environment = {**os.environ, **settings.warehouse().libpq_environment()}
    done = subprocess.run(server.reads, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise psycopg2.OperationalError(done.stderr)


@pytest.fixture(params=["connect", "alembic", "dbt", "program"])
def client(request: pytest.FixtureRequest, tls_server: TlsServer, tmp_path: Path) -> Callable[[], None]:
    """Each way in which we connect to the warehouse."""
    return {
        "connect": by_connect,
        "alembic": by_alembic,
        "dbt": lambda: by_dbt(tmp_path),
        "program": lambda: by_a_program(tls_server),
    }[request.param]


def test_each_client_connects_to_the_server_that_it_knows_and_to_no_other(
    named: pytest.MonkeyPatch, certificates: Certificates, client: Callable[[], None]
) -> None:
    client()
    for setting, value in (("SSLROOTCERT", certificates["other_ca.crt"]), ("SSLMODE", "disable")):
        with pytest.MonkeyPatch.context() as wrong:
            wrong.setenv(f"WAREHOUSE_{setting}", value)
            with pytest.raises((psycopg2.OperationalError, sqlalchemy.exc.OperationalError)):
                client()


WRONG = {
    "another signer": (
        {"SSLROOTCERT": "other_ca.crt"},
        "not signed by any that is in the file of WAREHOUSE_SSLROOTCERT",
    ),
    "another host": ({"HOST": "127.0.0.1"}, "does not match host name .*\nThe certificate is another server's"),
    "no encryption": ({"SSLMODE": "disable"}, "takes encrypted connections alone: set WAREHOUSE_SSLMODE"),
    "no file of who signs": ({"SSLROOTCERT": "nowhere.crt"}, "WAREHOUSE_SSLROOTCERT has to name the file"),
    "no such mode": ({"SSLMODE": "verify"}, "WAREHOUSE_SSLMODE takes disable"),
    "none of ours": ({"USER": CERTIFIED}, "wants a certificate that it knows: WAREHOUSE_SSLCERT and WAREHOUSE_SSLKEY"),
    "no key": ({"SSLCERT": "client.crt", "SSLKEY": "nowhere.key"}, "have to name a certificate and its key"),
    "one that it does not know": (
        {"USER": CERTIFIED, "SSLCERT": "other_ca.crt", "SSLKEY": "other_ca.key"},
        "wants a certificate that it knows",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_who_is_refused_is_told_which_setting_to_look_at(
    named: pytest.MonkeyPatch, certificates: Certificates, wrong: str
) -> None:
    variables, advice = WRONG[wrong]
    for name, value in variables.items():
        named.setenv(f"WAREHOUSE_{name}", certificates[value] if value.endswith((".crt", ".key")) else value)
    with pytest.raises(psycopg2.OperationalError, match=advice):
        by_connect()


def test_a_key_that_others_may_read_is_refused(named: pytest.MonkeyPatch, certificates: Certificates) -> None:
    named.setenv("WAREHOUSE_SSLCERT", certificates["client.crt"])
    named.setenv("WAREHOUSE_SSLKEY", certificates["client.key"])
    key = Path(certificates["client.key"])
    key.chmod(0o644)
    try:
        with pytest.raises(psycopg2.OperationalError, match=r"Nobody but its owner may read the key \(0600\)"):
            by_connect()
    finally:
        key.chmod(0o600)


def test_a_certificate_of_ours_lets_in_whom_it_names(
    named: pytest.MonkeyPatch, certificates: Certificates, client: Callable[[], None]
) -> None:
    named.setenv("WAREHOUSE_USER", CERTIFIED)
    named.setenv("WAREHOUSE_SSLCERT", certificates["client.crt"])
    named.setenv("WAREHOUSE_SSLKEY", certificates["client.key"])
    client()


def test_the_shop_is_known_by_what_its_address_says(
    named: pytest.MonkeyPatch, tls_server: TlsServer, certificates: Certificates
) -> None:
    where = f"{postgres.SUPERUSER}@localhost:{tls_server.port}/{os.environ['WAREHOUSE_DB']}"
    shop = f"postgresql://{where}?sslmode=verify-full&sslrootcert="
    with closing(shop_database.connect(shop + certificates["ca.crt"])) as connection:
        assert connection.info.ssl_in_use
    with pytest.raises(psycopg2.OperationalError, match="any that is in the file of sslrootcert in SHOP_DATABASE_URL"):
        shop_database.connect(shop + certificates["other_ca.crt"])
