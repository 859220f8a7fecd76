"""The embedded Postgres: who gets in, joined where it runs, the same port again, and no trust in a stale file."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from include.local import postgres
from include.local.postgres import LocalPostgres
from include.settings import Warehouse
from tests import in_memory

pytestmark = pytest.mark.db

# What makes it listen on a port of this machine.
PASSWORDS = {postgres.SUPERUSER: "it's a password"}
NOBODY = 65534


@pytest.fixture
def data() -> Iterator[Path]:
    """A place for a cluster."""
    with in_memory.folder("greenery-pg-") as home:
        yield home / "postgres"
        postgres.stop(home / "postgres")


def user_of(where: Warehouse) -> str | None:
    """Who one is with this password; None where one is not let in."""
    try:
        connection = psycopg2.connect(**where.libpq())
    except psycopg2.OperationalError:
        return None
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("select current_user")
        return cursor.fetchone()[0]


def test_a_cluster_that_trusted_everybody_asks_for_a_password_from_now_on_and_keeps_its_data(data: Path) -> None:
    postgres.start(data, settings={"listen_addresses": "127.0.0.1"})  # as all were
    assert "127.0.0.1/32            trust" in (data / "pg_hba.conf").read_text()
    postgres.ensure_database(LocalPostgres(data, postgres.running_port(data)), "kept")
    postgres.stop(data)
    for password in ("it's one", "the next one: the file with the first was lost"):
        where = postgres.start(data, passwords={postgres.SUPERUSER: password}).database("kept")
        assert where.host == "127.0.0.1"
        assert user_of(where) == postgres.SUPERUSER
        assert user_of(replace(where, password="")) is None
        assert user_of(replace(where, password="it's another")) is None
        assert user_of(replace(where, user="nobody_much")) is None
        postgres.stop(data)
    assert "it's one" not in (data / "server.log").read_text()


def test_one_that_asks_for_none_can_be_reached_by_nobody_else_of_this_machine(data: Path) -> None:
    server = postgres.start(data)
    assert user_of(server.database("postgres")) == postgres.SUPERUSER
    assert data.stat().st_mode & 0o077 == 0, "its socket is in a folder that others may enter"
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED


def test_a_second_start_joins_and_a_later_one_takes_the_same_port(data: Path) -> None:
    first = postgres.start(data, passwords=PASSWORDS)
    assert postgres.start(data, passwords=PASSWORDS) == first
    postgres.stop(data)
    assert postgres.running_port(data) is None
    assert postgres.start(data, passwords=PASSWORDS) == first


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts Postgres as another user")
def test_root_stops_one_whose_folder_is_closed_to_postgres_own_user_and_nobody_else_does(data: Path) -> None:
    postgres.start(data)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(postgres.PostgresError, match="belongs to another user"):
            postgres.stop(data)
    finally:
        os.seteuid(0)
    data.parent.chmod(0o700)
    assert postgres.stop(data)
    assert postgres.running_port(data) is None
    assert not postgres.stop(data)


def test_a_port_that_somebody_took_meanwhile_is_not_fought_over(data: Path) -> None:
    first = postgres.start(data, passwords=PASSWORDS)
    postgres.stop(data)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.port))
        other.listen()
        assert postgres.start(data, passwords=PASSWORDS).port != first.port


def test_a_port_that_somebody_takes_at_this_moment_is_left_to_them(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        found = iter([other.getsockname()[1], postgres.free_port()])
        monkeypatch.setattr(postgres, "free_port", lambda _: next(found))
        assert postgres.start(data, passwords=PASSWORDS).port != other.getsockname()[1]


def test_a_stale_pid_file_of_a_killed_server_is_seen_through(data: Path) -> None:
    data.mkdir()
    (data / "postmaster.pid").write_text("1\n/elsewhere\n0\n5432\n\n\n\nready\n")
    assert postgres.running_port(data) is None


def test_a_cluster_that_cannot_start_says_so_with_its_log(data: Path) -> None:
    postgres.start(data)
    postgres.stop(data)
    with (data / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(postgres.PostgresError, match="no_such_setting"):
        postgres.start(data)
