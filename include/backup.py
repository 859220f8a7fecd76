"""Backup and restore of what nobody can rebuild: the history in `snapshots`, and `ops`, the memory of the runs.

    python -m include.backup save /backups
    python -m include.backup restore /backups/warehouse-20261124T070000Z.dump
    python -m include.backup moved

Everything else comes from the loaders and from dbt. PostgreSQL's own pg_dump, pg_restore and psql do the work: they
have to be on the PATH, in the server's major version. It connects as the warehouse's administrator.

What `ops` knows of the two schemas that publish exchanges, it knows by their oids, which mean nothing in another
database, or something else. It is not restored: the next two runs build everything anew. A database that came to
another server as a whole, by pg_upgrade or pg_dump, has other oids as well; `moved` forgets them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from alembic.script import ScriptDirectory
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from sqlalchemy.exc import SQLAlchemyError

from include import raw, settings
from include.raw import lease, mapping
from include.settings import Warehouse
from include.warehouse import connect, migrate, roles

SCHEMAS = ("ops", "snapshots")
# What is about the two schemas that publish exchanges, by their oids in this very database.
OF_THE_BUFFERS = ("ops.watermarks", "ops.buffer_models", "ops.buffers")
# What a warehouse has that was just migrated and saw no run.
_FROM_THE_START = ("ops.alembic_version", "ops.watch")
_REPLACED = "_replaced"

# An oid that no schema has, so that nobody takes what was published elsewhere for what is here.
_FORGET_BUFFERS = f"truncate {', '.join(OF_THE_BUFFERS)};\nupdate ops.publications set schema_oid = 0;\n"
# A run that was under way is not under way here, and what waited may have been sent since.
_FORGET_WHAT_WAS_UNDER_WAY = """
update ops.leases set released_at = clock_timestamp() where released_at is null;
update ops.messages set waiting = false, problem = 'It waited when the backup was made that it is from.' where waiting;
"""


class BackupError(RuntimeError):
    """Nothing has changed, unless the message says what has; it says why, and what to do."""


@dataclass(frozen=True)
class _Client:
    """PostgreSQL's programs, and how they reach the warehouse."""

    where: Warehouse
    programs: dict[str, str]

    def command(self, program: str, *arguments: str) -> list[str]:
        """A command that connects."""
        where = self.where
        to = ["--host", where.host, "--port", str(where.port), "--username", where.user, "--dbname", where.database]
        return [self.programs[program], *to, "--no-password", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of such a command: the password is in no list of processes."""
        return {**os.environ, **self.where.libpq_environment(), "PGAPPNAME": "greenery backup"}


def save(folder: Path, where: Warehouse | None = None) -> Path:
    """Write a backup, as of one moment, into a file of its own in `folder`; returns its path. Raises BackupError.

    Runs may go on meanwhile. The file is there whole or not at all, and only its owner can read it.
    """
    where = where or settings.warehouse_admin()
    with connect("greenery backup", where) as connection, connection.cursor() as cursor:
        client = _client(where, connection.server_version)
        cursor.execute("select nspname from pg_namespace where nspname in %s", (SCHEMAS,))
        if missing := set(SCHEMAS) - {name for (name,) in cursor.fetchall()}:
            raise BackupError(
                f"Database {where.database} has no schema {' and no '.join(sorted(missing))}, so there is nothing to "
                "save. Do the WAREHOUSE_ variables name the warehouse?"
            )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{where.database}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    try:
        done = subprocess.run(
            client.command(
                "pg_dump",
                *("--format", "custom", "--no-owner", "--no-privileges", "--file", str(draft)),
                *(f"--schema={schema}" for schema in SCHEMAS),
            ),
            env=client.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BackupError(f"pg_dump could not save database {where.database}: {_last_lines(done.stderr)}")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
    return file


def restore(file: Path, where: Warehouse | None = None, *, replace: bool = False) -> None:
    """Bring a backup into a warehouse that has no history of its own, and its roles up to date. Raises BackupError.

    It may be a database that was never migrated. With `replace` it may have a history: that is kept aside then, in
    `ops_replaced` and `snapshots_replaced`. One transaction: all of it is restored, or nothing.
    """
    where = where or settings.warehouse_admin()
    with connect("greenery backup", where) as connection, connection.cursor() as cursor:
        client = _client(where, connection.server_version)
        _check_is_a_backup(client, file)
        cursor.execute("set local idle_in_transaction_session_timeout = 0")  # it waits while others work
        lease.lock_raw(cursor)  # no run and no load begins; they would wait for the end of this block
        with connect("greenery backup", where) as other, other.cursor() as looking:
            aside = _make_room(looking, where, replace=replace)
        _restore(client, file, aside)
    try:
        migrate.upgrade(where)
        with connect("greenery backup", where) as connection, connection.cursor() as cursor:
            raw.create(cursor, besides=mapping.to_show())  # who loads makes no table
            roles.ensure(connection)
            cursor.execute("analyze")
    except (psycopg2.Error, SQLAlchemyError, mapping.MappingError) as error:
        raise BackupError(
            f"The backup is restored, but not ready for use: {_last_lines(str(error))}\nWhen that is mended, run "
            "`python -m include.warehouse.migrate`, `python -m include.raw` and `python -m include.warehouse.roles`."
        ) from error


def moved(where: Warehouse | None = None) -> None:
    """Forget what `ops` knows of the two schemas, in a database that came here as a whole: the next runs rebuild."""
    with connect("greenery backup", where or settings.warehouse_admin()) as connection, connection.cursor() as cursor:
        cursor.execute(_FORGET_BUFFERS)


def _client(where: Warehouse, server_version: int) -> _Client:
    major = server_version // 10000
    programs = {name: shutil.which(name) for name in ("pg_dump", "pg_restore", "psql")}
    for name, path in programs.items():
        found = None
        if path:
            said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            found = re.search(r"\) (\d+)", said)
            if found and int(found[1]) == major:
                continue
        what = f"{path} is version {found[1]}" if found else f"there is no {name} on the PATH"
        raise BackupError(
            f"The server at {where.host} is PostgreSQL {major}, and {what}. Nothing was done. Install the client of "
            f"the server's own major version (Debian, from PostgreSQL's repository: postgresql-client-{major}) and put "
            f"its folder first on the PATH (there: /usr/lib/postgresql/{major}/bin)."
        )
    return _Client(where, {name: path for name, path in programs.items() if path})


def _check_is_a_backup(client: _Client, file: Path) -> None:
    """Raise BackupError for a file that is none of ours, or of a newer version of this project."""
    done = subprocess.run(
        [client.programs["pg_restore"], *_DATA_OF_VERSION, "--file=-", str(file)], capture_output=True, text=True
    )
    if done.returncode:
        raise BackupError(f"{file} can't be read as a backup: {_last_lines(done.stderr)}")
    found = re.search(r"^COPY ops\.alembic_version .*\n(\S+)$", done.stdout, re.MULTILINE)
    if not found:
        raise BackupError(f"{file} is a dump of PostgreSQL's, but none of a warehouse: it does not hold ops.")
    known = {script.revision for script in ScriptDirectory(str(migrate.MIGRATIONS)).walk_revisions()}
    if found[1] not in known:
        raise BackupError(
            f"{file} is from a newer version of this project: its ops is at migration {found[1]}, and the newest one "
            f"here is {max(known)}. Restore it with that version."
        )


_DATA_OF_VERSION = ("--data-only", "--schema=ops", "--table=alembic_version")


def _make_room(cursor: Cursor, where: Warehouse, *, replace: bool) -> str:
    """The SQL that takes away the schemas which the backup brings. Raises BackupError where history is in them."""
    if holding := lease.held(cursor):
        raise BackupError(
            f"{holding.holder} is under way in database {where.database} since {holding.taken_at:%d %b %H:%M} UTC; "
            "nothing was restored. Pause greenery_daily, wait for the run to end, then try again."
        )
    cursor.execute("select schemaname, tablename from pg_tables where schemaname in %s order by 1, 2", (SCHEMAS,))
    held = []
    for table in cursor.fetchall():
        cursor.execute(sql.SQL("select exists (select from {})").format(sql.Identifier(*table)))
        if cursor.fetchone()[0] and ".".join(table) not in _FROM_THE_START:
            held.append(".".join(table))
    if not held:
        return "".join(f"drop schema if exists {schema} cascade;\n" for schema in SCHEMAS)
    if not replace:
        raise BackupError(
            f"Database {where.database} has a history of its own (in {', '.join(held[:3])}"
            f"{f' and {len(held) - 3} more tables' if len(held) > 3 else ''}); nothing was restored. Restore into an "
            "empty database; or, if the backup is to take its place, add --replace: what is there is kept aside, in "
            f"{' and '.join(schema + _REPLACED for schema in SCHEMAS)}."
        )
    cursor.execute(
        "select nspname from pg_namespace where nspname in %s", (tuple(schema + _REPLACED for schema in SCHEMAS),)
    )
    if left := [name for (name,) in cursor.fetchall()]:
        raise BackupError(
            f"Schema {' and '.join(left)} of a former restore is still there; nothing was restored. Drop it if nobody "
            "needs it, then try again."
        )
    cursor.execute("select nspname from pg_namespace where nspname in %s", (SCHEMAS,))
    return "".join(f"alter schema {name} rename to {name}{_REPLACED};\n" for (name,) in cursor.fetchall())


def _restore(client: _Client, file: Path, make_room: str) -> None:
    """One transaction of psql's, which is committed only after pg_restore has told all of the file."""
    before = f"begin;\nset local lock_timeout = '10s';\nset local idle_in_transaction_session_timeout = 0;\n{make_room}"
    schemas = "".join(f"create schema if not exists {schema};\n" for schema in roles.owners())
    after = f"{_FORGET_BUFFERS}{_FORGET_WHAT_WAS_UNDER_WAY}{schemas}commit;\n"
    script = [client.programs["pg_restore"], "--no-owner", "--no-privileges", "--file=-", str(file)]
    psql = client.command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
    whole = False
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
        with (
            subprocess.Popen(
                psql, env=client.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
            ) as restoring,
            suppress(BrokenPipeError),  # psql has ended, and says of what
            closing(restoring.stdin) as statements,
        ):
            statements.write(before.encode())
            statements.flush()
            whole = subprocess.run(script, stdout=statements, stderr=told).returncode == 0
            if whole:
                statements.write(after.encode())
        said.seek(0), told.seek(0)
        if restoring.returncode or not whole:
            raise BackupError(f"Nothing was restored from {file}: {_last_lines(said.read() or told.read())}")


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-3:])


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 where it was done, 1 where not, with a sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m include.backup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save", help="write a backup into a folder")
    saving.add_argument("folder", type=Path, help="made if it is not there")
    restoring = commands.add_parser("restore", help="bring a backup into a warehouse that has no history")
    restoring.add_argument("file", type=Path)
    restoring.add_argument("--replace", action="store_true", help="even if it has one, which is then kept aside")
    commands.add_parser("moved", help="after pg_upgrade, or a copy of the whole database: the next runs rebuild")
    options = parser.parse_args(arguments)
    try:
        _do(options)
    except BackupError as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except psycopg2.OperationalError as error:
        print(f"The warehouse can't be reached, so nothing was done: {error}", file=sys.stderr)
        return 1
    return 0


def _do(options: argparse.Namespace) -> None:
    if options.command == "save":
        file = save(options.folder)
        print(file)
        said = f"Saved: {file.stat().st_size:,} bytes."
    elif options.command == "restore":
        restore(options.file, replace=options.replace)
        said = "Restored. Load raw if it is not there, then trigger greenery_daily: it builds everything anew."
    else:
        moved()
        said = "Forgotten: the next two runs build everything anew."
    print(said, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
