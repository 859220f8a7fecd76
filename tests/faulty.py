"""What fails around a Postgres, for tests: a server that dies or starts again, a publish that is stopped half-way."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.publish import exchange as exchanges
from include.publish.exchange import exchange
from include.settings import Warehouse
from include.warehouse import connect
from tests.waiting import wait_for

LIMIT_SECONDS = 120
_CLONE_NEWNET = 0x40000000


@contextmanager
def opened(where: Warehouse) -> Iterator[Connection]:
    """A connection on which each statement is a transaction."""
    with closing(psycopg2.connect(**where.libpq())) as connection:
        connection.autocommit = True
        yield connection


def end(server: LocalPostgres, number: signal.Signals) -> None:
    """Stop a server: SIGINT rolls back what is under way, SIGQUIT is as where the power goes, and nobody is told."""
    os.kill(postgres.server_process(server.data), number)
    wait_for(lambda: postgres.running_port(server.data) is None, "the server is down")


@dataclass
class HalfWay:
    """A publish that has its locks and has exchanged the names, and is not committed; what it ended with."""

    pid: int = 0
    port: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)
    ended: bool = False
    ended_with: BaseException | None = None


@contextmanager
def half_way(run_id: str) -> Iterator[HalfWay]:
    """Publish what a run built, up to its last statements; it goes on at the end of the block."""
    publish, keep = HalfWay(), exchanges.receipts.keep

    def stop(cursor: psycopg2.extensions.cursor, *arguments: object) -> None:
        info = cursor.connection.info
        publish.pid, publish.port = info.backend_pid, _port_of(info.socket)
        publish.begun.set()
        publish.goes_on.wait(LIMIT_SECONDS)
        keep(cursor, *arguments)

    def publishes() -> None:
        try:
            with connect("test") as connection:
                buffer = buffers.current(connection)
            exchange(run_id, buffer)
        except BaseException as error:  # the test asks for it
            publish.ended_with = error
        publish.ended = True

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exchanges.receipts, "keep", stop)
        publishing = threading.Thread(target=publishes)
        publishing.start()
        try:
            assert publish.begun.wait(LIMIT_SECONDS), publish.ended_with
            yield publish
        finally:
            publish.goes_on.set()
            publishing.join()


def _port_of(descriptor: int) -> int:
    """The port of our end of a connection; 0 where it is none of TCP's."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        name = copy.getsockname()
        return name[1] if isinstance(name, tuple) else 0


@contextmanager
def a_network_of_our_own() -> Iterator[None]:
    """For the time of the block we are, with what we start, where nobody else is; skips the test where we may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(_CLONE_NEWNET):
            pytest.skip("only root can make a network")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            libc.setns(before.fileno(), _CLONE_NEWNET)


def drop(*ports: int) -> None:
    """From now on no packet from or to a port of our own network arrives, and nobody is told."""
    for port in ports:
        for end_of_it in ("--sport", "--dport"):
            subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", end_of_it, str(port), "-j", "DROP"], check=True)


def let_through() -> None:
    """From now on all packets arrive again."""
    subprocess.run(["iptables", "-F", "INPUT"], check=True)


@contextmanager
def no_connection_left(where: Warehouse) -> Iterator[None]:
    """Others have all the connections that a server gives, for the time of the block."""
    others = []
    try:
        with suppress(psycopg2.OperationalError):
            while True:
                others.append(psycopg2.connect(**where.libpq()))
        yield
    finally:
        for connection in others:
            connection.close()


@contextmanager
def small_disk(server: LocalPostgres, database: str, megabytes: int) -> Iterator[None]:
    """For the time of the block a database, to which nobody is connected, is on a small disk; the server stops with it.

    Only an administrator of the machine can make one; skips the test otherwise.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    place = server.data.parent / "disk"  # where the server's own user may come
    place.mkdir()
    options = f"size={megabytes}m,uid={server.data.stat().st_uid},mode=700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    try:
        with postgres.admin(server) as cursor:
            cursor.execute("alter system set autovacuum = off")  # which makes room
            cursor.execute("select pg_reload_conf()")
            cursor.execute(f"create tablespace small location '{place}'")
            cursor.execute(f"alter database {database} set tablespace small")
        yield
        postgres.stop(server.data)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def full(db: Connection) -> Iterator[None]:
    """For the time of the block the disk of a database has no room left."""
    with db.cursor() as cursor:
        cursor.execute("create table filler (content text); alter table filler alter content set storage plain")
        for rows in (1000, 10, 1):  # a megabyte at a time, then a page
            with suppress(psycopg2.errors.DiskFull):
                while True:
                    cursor.execute(f"insert into filler select repeat('x', 1000) from generate_series(1, {rows})")
        try:
            yield
        finally:
            cursor.execute("drop table filler")
            cursor.execute("checkpoint")
