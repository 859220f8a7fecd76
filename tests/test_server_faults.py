"""Faults of a Postgres in the middle of a publish, a load or a report: what people see, and that a second try is well.

What is tested elsewhere: a session that is ended (`test_connect.py`), who holds a publish up (`test_locks.py`), who
keeps raw locked (`test_lease.py`, `test_roles.py`), a page after a restart (`plugins/test_reading.py`), a clock that
was ahead (`test_lease.py`, `test_admission.py`), a disk that a full build would not fit on (`test_disk.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers, watchdog
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.publish import __main__ as deciding
from include.publish.exchange import exchange
from include.raw import csv_loader
from include.results import publications
from include.settings import Warehouse
from include.warehouse import connect, is_gone, migrate, roles
from tests import faulty, in_memory
from tests.faulty import opened
from tests.include.publish.test_exchange import build, do, publish
from tests.include.raw.conftest import contents, folder  # noqa: F401 - a fixture
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.torture]

NAME = "warehouse"
PUBLISHED = "select m.built_by, n.built_by from analytics.m cross join analytics.n"
# As a server is that nobody has tuned, but for its size.
SETTINGS = {"shared_buffers": "32MB", "max_connections": "20"}


@pytest.fixture
def server() -> Iterator[LocalPostgres]:
    """A server of the test's own, that flushes what it commits; the environment names its warehouse."""
    with (
        in_memory.folder("greenery-faults-") as home,
        postgres.serving(home / "postgres", SETTINGS) as running,
        named(fresh(running)),
    ):
        yield running


def fresh(server: LocalPostgres) -> Warehouse:
    """A warehouse in which run 1 is published, and run 2 has built."""
    postgres.ensure_database(server, NAME)
    where = server.database(NAME)
    with named(where):
        migrate.upgrade(where)
        with opened(where) as db:
            build(db, "run 1", "m", "n")
            publish(db, "run 1", "m", "n")
            build(db, "run 2", "m", "n")
    return where


@contextmanager
def named(where: Warehouse) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for key, value in where.environment().items():
            environment.setenv(key, value)
        yield


def starts_again(server: LocalPostgres) -> None:
    assert postgres.start(server.data, settings=SETTINGS).port == server.port


def is_published(server: LocalPostgres, run_id: str) -> bool:
    with opened(server.database(NAME)) as db:
        return do(db, PUBLISHED) == [(run_id, run_id)]


def publishes_at_the_next_try(server: LocalPostgres) -> None:
    """People have seen nothing, and nothing is left of the first try."""
    assert is_published(server, "run 1")
    with opened(server.database(NAME)) as db:
        exchange("run 2", buffers.current(db))
        assert do(db, "select run_id from ops.publications order by publication_id") == [("run 1",), ("run 2",)]
    assert is_published(server, "run 2")


# --- a server that stops, a session that is ended, a network that is gone --------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "power gone"])
def test_a_server_that_stops_in_the_middle_of_a_publish(server: LocalPostgres, number: signal.Signals) -> None:
    with faulty.half_way("run 2") as publish:
        faulty.end(server, number)
        starts_again(server)
        assert is_published(server, "run 1")
    assert is_gone(publish.ended_with)
    publishes_at_the_next_try(server)


def test_a_session_that_is_ended_in_the_middle_of_a_publish(server: LocalPostgres) -> None:
    with faulty.half_way("run 2") as publish, opened(server.database(NAME)) as db:
        do(db, f"select pg_terminate_backend({publish.pid}, 10000)")
    assert is_gone(publish.ended_with)
    publishes_at_the_next_try(server)


def test_a_network_that_is_gone_in_the_middle_of_a_publish_keeps_readers_waiting_for_less_than_a_minute() -> None:
    """Both ends notice: the server lets go of the locks, and the task hears of it."""

    def play() -> None:
        with in_memory.folder("greenery-faults-") as home:
            password = {postgres.SUPERUSER: "secret"}
            server = postgres.start(home / "postgres", passwords=password, settings=SETTINGS)
            try:
                with named(fresh(server)), pytest.MonkeyPatch.context() as environment:
                    environment.setenv("WAREHOUSE_TRANSFORMER_PASSWORD", "secret")
                    with connect("test") as connection:
                        roles.ensure(connection)
                    environment.setenv("WAREHOUSE_USER", roles.TRANSFORMER)
                    with faulty.half_way("run 2") as publish:
                        faulty.drop(publish.port)
                        with opened(server.database(NAME)) as db:
                            do(db, "set statement_timeout = '1min'")
                            assert do(db, PUBLISHED) == [("run 1", "run 1")]
                    assert is_gone(publish.ended_with)
                    publishes_at_the_next_try(server)
            finally:
                postgres.stop(server.data)

    faulty.in_a_network_of_its_own(play)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "power gone"])
def test_a_server_that_stops_in_the_middle_of_a_load_leaves_raw_as_it_was(
    server: LocalPostgres,
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    where, begun, goes_on, ended = server.database(NAME), threading.Event(), threading.Event(), []
    apply = csv_loader.load._apply

    def stop(*arguments: object) -> object:
        if arguments[1].name == "events":  # the last table
            begun.set()
            goes_on.wait(faulty.LIMIT_SECONDS)
        return apply(*arguments)

    def loads() -> None:
        try:
            with connect("test") as connection:
                csv_loader.load_folder(connection, folder)
        except psycopg2.Error as error:
            ended.append(csv_loader._refused(error))

    with connect("test") as connection:
        csv_loader.load_folder(connection, folder)
    with opened(where) as db:
        before = contents(db, stamps=True)
    (folder / "promos.csv").write_text("promo_id,discount,status\nfirst sprout,3,active\n")
    with monkeypatch.context() as patched:
        patched.setattr(csv_loader.load, "_apply", stop)
        loading = threading.Thread(target=loads)
        loading.start()
        assert begun.wait(faulty.LIMIT_SECONDS)
        faulty.end(server, number)
        goes_on.set()
        loading.join()
    [said] = ended
    assert "raw.loads says what was loaded last" in said
    starts_again(server)
    with opened(where) as db:
        assert contents(db, stamps=True) == before
        with connect("test") as connection:
            assert csv_loader.load_folder(connection, folder).changed == 1


# --- no connection, no room ------------------------------------------------------------------------------------------


def test_a_server_without_a_connection_left_says_so_and_nothing_has_changed(
    server: LocalPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    with faulty.no_connection_left(server.database(NAME)):
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            exchange("run 2", None)
        assert "too many clients" in watchdog.check().says
        assert deciding.main(["roll-back", "--reason", "wrong"]) == 1
    assert "too many clients" in capsys.readouterr().err
    publishes_at_the_next_try(server)


def test_a_publish_that_has_begun_needs_no_further_connection(server: LocalPostgres) -> None:
    with faulty.half_way("run 2") as publish, faulty.no_connection_left(server.database(NAME)):
        publish.goes_on.set()
        wait_for(lambda: publish.ended, "it has published")
    assert publish.ended_with is None
    assert is_published(server, "run 2")


@pytest.fixture
def small_disk(server: LocalPostgres) -> Iterator[Warehouse]:
    """The warehouse is on a disk of a few megabytes, of which only an administrator of the machine can make one."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    place = server.data.parent / "disk"  # where the server's own user may come
    place.mkdir()
    owner = server.data.stat().st_uid
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=64m,uid={owner},mode=700", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    try:
        with postgres.admin(server) as cursor:
            cursor.execute("alter system set autovacuum = off")  # which makes room
            cursor.execute("select pg_reload_conf()")
            cursor.execute(f"create tablespace small location '{place}'")
            cursor.execute(f"alter database {NAME} set tablespace small")
        yield server.database(NAME)
        postgres.stop(server.data)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(db: Connection) -> None:
    """Take what room there is."""
    do(db, "create table filler (content text); alter table filler alter content set storage plain")
    for rows in (1000, 10, 1):  # a megabyte at a time, then a page
        with suppress(psycopg2.errors.DiskFull):
            while True:
                do(db, f"insert into filler select repeat('x', 1000) from generate_series(1, {rows})")


def test_a_full_disk_stops_a_load_and_what_people_query_stays_whole(
    server: LocalPostgres,
    small_disk: Warehouse,
    folder: Path,  # noqa: F811
) -> None:
    """A publish writes little, and may find room for it."""
    with opened(small_disk) as db:
        fill(db)
        with pytest.raises(psycopg2.errors.DiskFull) as refused, connect("test") as connection:
            csv_loader.load_folder(connection, folder)
        assert csv_loader._refused(refused.value).startswith(
            "The warehouse refused the load, and nothing of it is left: could not extend file"
        )
        assert do(db, "select to_regclass('raw.events')") == [(None,)]
        with suppress(psycopg2.errors.DiskFull):
            exchange("run 2", buffers.current(db))
        live = publications.live(db).run_id
        assert do(db, PUBLISHED) == [(live, live)]
        do(db, "drop table filler")
        do(db, "checkpoint")
        with connect("test") as connection:
            assert csv_loader.load_folder(connection, folder).changed > 0
        build(db, "run 3", "m", "n")
        exchange("run 3", buffers.current(db))
    assert is_published(server, "run 3")
