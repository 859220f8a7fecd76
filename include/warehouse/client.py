"""PostgreSQL's own programs: the schemas of a database go into a file, and come back from it in one transaction.

pg_dump, pg_restore and psql have to be there in the server's major version: first on the PATH, or where Debian's
package postgresql-client-18 (or another number) has them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from include.settings import Warehouse
from include.warehouse import connect

PROGRAMS = ("pg_dump", "pg_restore", "psql")
DEBIAN = Path("/usr/lib/postgresql")
_BEGIN = """\\set SHOW_CONTEXT never
begin isolation level read committed;
set local statement_timeout = 0;
set local client_min_messages = warning;
set local lock_timeout = '10s';
set local idle_in_transaction_session_timeout = 0;
"""


class BackupError(RuntimeError):
    """Nothing has changed, unless the message says what has; it says why, and what to do."""


@dataclass(frozen=True)
class Client:
    """The programs, and how they reach a database."""

    where: Warehouse
    programs: dict[str, str]

    def command(self, program: str, *arguments: str) -> list[str]:
        """A command that connects to where `environment` says."""
        return [self.programs[program], "--no-password", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of such a command: the password is in no list of processes."""
        return {**os.environ, **self.where.libpq_environment(), "PGAPPNAME": "greenery backup"}


def client(where: Warehouse, server_version: int) -> Client:
    """The programs of the server's major version. Raises BackupError where they are not there."""
    major = server_version // 10000
    return Client(where, {name: program(name, major, f"The server at {where.host}") for name in PROGRAMS})


def program(name: str, major: int, of: str) -> str:
    """The path of one program in a major version, which `of` has. Raises BackupError where it is not there."""
    there = (shutil.which(name), shutil.which(name, path=str(DEBIAN / str(major) / "bin")))
    said = {path: _version(path) for path in there if path}
    for path, version in said.items():
        if version == major:
            return path
    other = next(iter(said), None)
    raise BackupError(
        f"{of} is PostgreSQL {major}, and "
        f"{f'{other} is version {said[other]}' if other else f'there is no {name} on the PATH'}. Nothing was done. "
        f"Install the client of that major version (Debian, from PostgreSQL's repository: postgresql-client-{major})."
    )


def _version(path: str) -> int | None:
    said = re.search(r"\) (\d+)", subprocess.run([path, "--version"], capture_output=True, text=True).stdout)
    return int(said[1]) if said else None


def dump(where: Warehouse, schemas: tuple[str, ...], file: Path) -> dict[str, int]:
    """Write schemas of a database into a file, as of one moment; returns the number of rows of each table.

    The file is read back: it holds as many rows. Raises BackupError.
    """
    with connect("greenery backup", where) as connection, connection.cursor() as cursor:
        programs = client(where, connection.server_version)
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        cursor.execute("set local idle_in_transaction_session_timeout = 0")  # pg_dump may take long
        cursor.execute("select nspname from pg_namespace where nspname in %s", (schemas,))
        if missing := set(schemas) - {name for (name,) in cursor.fetchall()}:
            raise BackupError(
                f"Database {where.database} has no schema {' and no '.join(sorted(missing))}, so there is nothing to "
                "save. Do the WAREHOUSE_ variables name the warehouse?"
            )
        cursor.execute("select pg_export_snapshot()")
        [[snapshot]] = cursor.fetchall()
        cursor.execute(
            "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname in %s order by 1",
            (schemas,),
        )
        held = {}
        for (table,) in cursor.fetchall():
            cursor.execute(f"select count(*) from {table}")  # noqa: S608 - quoted by format
            held[table] = cursor.fetchone()[0]
        done = subprocess.run(
            programs.command(
                "pg_dump",
                *("--format", "custom", "--no-owner", "--no-privileges", "--snapshot", snapshot, "--file", str(file)),
                *(f"--schema={schema}" for schema in schemas),
            ),
            env=programs.environment,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise BackupError(f"pg_dump could not save database {where.database}: {_why(done.returncode, done.stderr)}")
    written = rows_in(programs.programs["pg_restore"], file)
    if written != held:
        raise BackupError(f"pg_dump did not save database {where.database} as it is: {difference(held, written)}")
    return held


def rows_in(pg_restore: str, file: Path) -> dict[str, int]:
    """The number of rows of each table in a file of pg_dump's, all of which is read. Raises BackupError."""
    rows: dict[str, int] = {}
    table = None
    with tempfile.TemporaryFile("w+") as told:
        command = [pg_restore, "--data-only", "--file=-", str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told) as reading:
            for line in reading.stdout or ():
                if table is None:
                    begins = re.match(rb"COPY (.+?) \(.*\) FROM stdin;$", line)
                    table = begins and begins[1].decode()
                    rows |= {table: 0} if table else {}
                elif line == b"\\.\n":
                    table = None
                else:
                    rows[table] += 1
        told.seek(0)
        if reading.returncode:
            raise BackupError(f"{file} can't be read as a backup: {_why(reading.returncode, told.read())}")
    return rows


def difference(held: dict[str, int], written: dict[str, int]) -> str:
    """The first table of which there are more or fewer rows than there should be."""
    table = min(name for name in held.keys() | written.keys() if held.get(name) != written.get(name))
    return f"{table} has {held.get(table, 'no')} rows, and {written.get(table, 'none')} were found"


@dataclass
class Transaction:
    """One transaction of psql's: nothing is there before `commit`, and nothing remains where it is not called."""

    client: Client
    psql: subprocess.Popen[bytes]
    told: IO[str]

    def run(self, statements: str) -> None:
        """Statements, that are done some time before `settle` returns."""
        with suppress(BrokenPipeError):  # psql has ended, and says of what when it is asked
            self.psql.stdin.write(f"{statements}\n".encode())
            self.psql.stdin.flush()

    def pour(self, file: Path) -> None:
        """All that a file of pg_dump's holds. Raises BackupError where it can't be read, or the server refuses it."""
        script = [self.client.programs["pg_restore"], "--no-owner", "--no-privileges", "--file=-", str(file)]
        with tempfile.TemporaryFile("w+") as told:
            code = subprocess.run(script, stdout=self.psql.stdin, stderr=told).returncode
            told.seek(0)
            if code:
                self.end()
                raise BackupError(self._said() if self.psql.returncode else _why(code, told.read()))

    def settle(self) -> None:
        """Wait until all is done. Raises BackupError where the server refused some of it."""
        self.run("\\echo done")
        if self.psql.stdout.readline() != b"done\n":
            self.end()
            raise BackupError(self._said())

    def commit(self) -> None:
        """Let everybody see it."""
        self.run("commit;")
        self.settle()

    def end(self) -> None:
        """No more is to come: what was not committed is rolled back."""
        with suppress(BrokenPipeError):
            self.psql.stdin.close()
        self.psql.wait()

    def _said(self) -> str:
        self.told.seek(0)
        return _why(self.psql.returncode, self.told.read())


@contextmanager
def transaction(client: Client) -> Iterator[Transaction]:
    """A transaction, rolled back at the end of the block unless it was committed."""
    psql = client.command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-")
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(psql, env=client.environment, stdin=pipe, stdout=pipe, stderr=told) as running,
    ):
        begun = Transaction(client, running, told)
        begun.run(_BEGIN)
        try:
            yield begun
        finally:
            begun.end()


def _why(code: int, said: str) -> str:
    """What a program said last; of what it died where it said nothing."""
    if said.strip():
        return last_lines(said)
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"


def last_lines(text: str) -> str:
    """The end of what a program said."""
    return "\n".join(text.strip().splitlines()[-3:])
