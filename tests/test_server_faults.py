"""Faults of a Postgres in the middle of a publish, a load or a report: what people see, and that a second try is well.

What is tested elsewhere: a session that is ended (`test_connect.py`), who holds a publish up (`test_locks.py`), who
keeps raw locked (`test_lease.py`, `test_limits.py`), a page after a restart (`plugins/test_reading.py`), a clock that
was ahead (`test_lease.py`, `test_admission.py`), a disk that a full build would not fit on (`test_disk.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

from include.daily import buffers, watchdog
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.publish import __main__ as deciding
from include.publish.exchange import exchange
from include.raw import csv_loader
from include.results import publications
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect, is_gone, migrate, roles
from tests import faulty, in_memory
from tests.faulty import opened
from tests.include.publish.test_exchange import build, do, publish
from tests.include.raw.conftest import contents, folder  # noqa: F401 - a fixture
from tests.slow_disk import Disk, slow_disk
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
    with faulty.a_network_of_our_own(), in_memory.folder("greenery-faults-") as home:
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


def test_a_publish_that_is_frozen_half_way_keeps_readers_waiting_for_less_than_a_minute(server: LocalPostgres) -> None:
    """Its machine is there and answers, so that no network tells. What it does when it wakes comes to nothing."""
    with faulty.half_way("run 2") as publish, opened(server.database(NAME)) as db:
        do(db, "set statement_timeout = '1min'")
        assert do(db, PUBLISHED) == [("run 1", "run 1")]
    assert is_gone(publish.ended_with)
    publishes_at_the_next_try(server)


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
    """The warehouse is on a disk of a few megabytes."""
    with faulty.small_disk(server, NAME, megabytes=64):
        yield server.database(NAME)


def test_a_full_disk_stops_a_load_and_what_people_query_stays_whole(
    server: LocalPostgres,
    small_disk: Warehouse,
    folder: Path,  # noqa: F811
) -> None:
    """A publish writes little, and may find room for it."""
    with opened(small_disk) as db:
        with faulty.full(db):
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
        with connect("test") as connection:
            assert csv_loader.load_folder(connection, folder).changed > 0
        build(db, "run 3", "m", "n")
        exchange("run 3", buffers.current(db))
    assert is_published(server, "run 3")


# --- a slow disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(server: LocalPostgres) -> Iterator[Disk]:
    """The server's disk, as fast as ever at first."""
    with slow_disk() as disk:
        postgres.stop(server.data)
        with disk.below():
            starts_again(server)
        yield disk


def test_a_disk_that_hangs_as_a_publish_commits_keeps_readers_waiting_and_they_see_all_of_it(
    server: LocalPostgres, disk: Disk
) -> None:
    with opened(server.database(NAME)) as reader, opened(server.database(NAME)) as other:
        with faulty.half_way("run 2") as publish, disk.taking(flush=3_600_000):
            publish.goes_on.set()
            commits = f"select 1 from pg_stat_activity where pid = {publish.pid} and query ilike 'commit'"
            wait_for(lambda: do(other, commits), "it commits")
            do(reader, "set statement_timeout = '1s'")
            with pytest.raises(psycopg2.errors.QueryCanceled):
                do(reader, PUBLISHED)
        assert publish.ended_with is None
        assert do(reader, PUBLISHED) == [("run 2", "run 2")]


def test_on_a_slow_disk_a_load_and_a_publish_take_longer_and_that_is_all(
    server: LocalPostgres,
    disk: Disk,
    folder: Path,  # noqa: F811
) -> None:
    """Of a loaded disk of a cloud: 20 ms for each read and write, a tenth of a second for each flush."""
    with disk.taking(call=20, flush=100):
        with connect("test") as connection:
            assert csv_loader.load_folder(connection, folder).changed > 0
        publishes_at_the_next_try(server)


# --- Airflow's own database ------------------------------------------------------------------------------------------

# Airflow's two engines, as airflow.cfg has them made: asks twice, the second time once it is told to.
_SYNC = """
from sqlalchemy import text
from airflow import settings
settings.initialize()
with settings.engine.connect() as connection:
    connection.execute(text("select 1"))
    print("connected", flush=True)
    input()
    connection.execute(text("select 1"))
"""
_ASYNC = """
import asyncio
from sqlalchemy import text
from airflow import settings
settings.initialize()
async def asks():
    async with settings.async_engine.connect() as connection:
        await connection.execute(text("select 1"))
        print("connected", flush=True)
        input()
        await connection.execute(text("select 1"))
asyncio.run(asks())
"""


def test_airflows_two_drivers_notice_within_a_minute_that_the_network_of_its_database_is_gone() -> None:
    """As Airflow comes, they wait until TCP gives up. A run through it: tests/daily/test_airflow_database.py."""
    with faulty.a_network_of_our_own(), in_memory.folder("greenery-faults-") as home:
        server = postgres.start(home / "postgres", passwords={postgres.SUPERUSER: "secret"}, settings=SETTINGS)
        environment = os.environ | {
            "AIRFLOW_CONFIG": str(PROJECT_ROOT / "airflow.cfg"),
            "PYTHONPATH": str(PROJECT_ROOT),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url("postgres"),
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        asking = [subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) for code in (_SYNC, _ASYNC)]
        try:
            assert [one.stdout.readline() for one in asking] == ["connected\n"] * 2
            faulty.drop(server.port)
            for one in asking:
                one.stdin.write("\n")
                one.stdin.flush()
            sync, by_asyncio = (one.communicate(timeout=60)[1] for one in asking)
            assert "OperationalError" in sync
            assert "TimeoutError" in by_asyncio
        finally:
            for one in asking:
                one.kill()
            postgres.stop(server.data)
