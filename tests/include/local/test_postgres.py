"""The embedded Postgres: joined where it runs, the same port again, and no trust in a stale file."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.local import postgres

pytestmark = pytest.mark.db


@pytest.fixture
def data() -> Iterator[Path]:
    """A place for a cluster."""
    home = Path(tempfile.mkdtemp(prefix="greenery-pg-"))
    home.chmod(0o755)
    yield home / "postgres"
    postgres.stop(home / "postgres")
    shutil.rmtree(home, ignore_errors=True)


def test_a_second_start_joins_and_a_later_one_takes_the_same_port(data: Path) -> None:
    first = postgres.start(data)
    assert postgres.start(data) == first
    postgres.stop(data)
    assert postgres.running_port(data) is None
    assert postgres.start(data) == first


def test_a_port_that_somebody_took_meanwhile_is_not_fought_over(data: Path) -> None:
    first = postgres.start(data)
    postgres.stop(data)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.port))
        other.listen()
        assert postgres.start(data).port != first.port


def test_a_port_that_somebody_takes_at_this_moment_is_left_to_them(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        found = iter([other.getsockname()[1], postgres.free_port()])
        monkeypatch.setattr(postgres, "free_port", lambda _: next(found))
        assert postgres.start(data).port != other.getsockname()[1]


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
