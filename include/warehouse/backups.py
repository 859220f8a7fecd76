"""A backup: a folder with a file of pg_dump's for each database, and `backup.json`, which says what is in them.

    warehouse-20261124T073000Z/backup.json
    warehouse-20261124T073000Z/warehouse.dump    the history in `snapshots`, and `ops`, the memory of the runs
    warehouse-20261124T073000Z/airflow.dump      Airflow's own database

It is written under another name, read back and then renamed, so it is there whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg2

from include.settings import Warehouse
from include.warehouse import client, connect
from include.warehouse.client import BackupError

WAREHOUSE, AIRFLOW = "warehouse", "airflow"
# What of each database nobody can rebuild.
SCHEMAS = {WAREHOUSE: ("ops", "snapshots"), AIRFLOW: ("public",)}
# Ends the name of a schema that a restore kept aside.
KEPT_ASIDE = "_replaced"
CONTENTS = "backup.json"
_DRAFT = ".draft-"
# Those from before migrations are one kind, whatever migration it was.
_NAME = re.compile(r"(?P<of>before|.+)((?<=before)-\w+)?-(?P<at>\d{8}T\d{6}Z)")


@dataclass(frozen=True)
class Dumped:
    """A file of pg_dump's: its checksum, the major version of its server, and how many rows of each table it has."""

    sha256: str
    postgres: int
    rows: dict[str, int]


@dataclass(frozen=True)
class Backup:
    """What is in a folder. `revision` is the migration that `ops` was at; `databases` are files by database."""

    path: Path
    made_at: datetime
    revision: str
    databases: dict[str, Dumped]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def file(self, database: str) -> Path:
        """The file of one of its databases."""
        return _file(self.path, database)


def save(
    folder: Path, databases: dict[str, Warehouse], *, of: str, kept: int | None = None, now: datetime | None = None
) -> Backup:
    """Write a backup into a folder of its own in `folder`, called by `of` and the time. Raises BackupError.

    Each database is saved as of one moment; runs may go on meanwhile. Only its owner can read it. Where it is whole,
    older ones of its kind are deleted beyond the number `kept`; none is where one of them has a longer history.
    """
    now = now or datetime.now(UTC)
    path = folder / f"{of}-{now:%Y%m%dT%H%M%SZ}"
    try:
        with _alone_in(folder):
            if path.exists():
                raise BackupError(f"{path} is there already; nothing was saved. Try again in a second.")
            draft = folder / f"{_DRAFT}{path.name}"
            draft.mkdir(mode=0o700)
            try:
                _write(draft, databases, now)
                draft.rename(path)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            _sync(folder)
            saved = read(path)
            if kept and not with_longer_history(saved):
                for old in _older(saved)[kept - 1 :]:
                    shutil.rmtree(old)
    except OSError as error:
        raise BackupError(
            f"{path} could not be written: {error.strerror}. {'It is' if path.exists() else 'Nothing was'} saved; "
            "the backups from before are as they were."
        ) from error
    return saved


def with_longer_history(backup: Backup) -> Path | None:
    """An older backup of its kind with more rows of some table of `snapshots`. History grows: so it was lost since."""
    rows = backup.databases[WAREHOUSE].rows
    for path in _older(backup):
        try:
            held = read(path).databases[WAREHOUSE].rows
        except (BackupError, KeyError):
            continue  # nothing can be brought back from it
        if any(number > rows.get(table, 0) for table, number in held.items() if table.startswith("snapshots.")):
            return path
    return None


def _older(backup: Backup) -> list[Path]:
    """Those of its kind that are named by an earlier time, the newest first."""
    alike = paths(backup.path.parent, of=_NAME.fullmatch(backup.path.name)["of"])
    return [path for path in alike if named_at(path) < named_at(backup.path)]


def paths(folder: Path, *, of: str = "") -> list[Path]:
    """The backups in a folder, the newest first; with `of` only those of a kind: of a database, or `before`."""
    names = {path: name for path in folder.glob("*") if (name := _NAME.fullmatch(path.name)) and path.is_dir()}
    found = [(name["at"], path) for path, name in names.items() if of in ("", name["of"])]
    return [path for _, path in sorted(found, reverse=True)]


def named_at(path: Path) -> datetime:
    """The time in a backup's name."""
    return datetime.strptime(f"{path.name[-16:]}+0000", "%Y%m%dT%H%M%SZ%z")


def read(path: Path) -> Backup:
    """What a backup says is in it. Raises BackupError for what is none."""
    try:
        told = json.loads((path / CONTENTS).read_text())
        databases = {name: Dumped(**one) for name, one in told["databases"].items()}
        return Backup(path, datetime.fromisoformat(told["made_at"]), told["revision"], databases)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path} can't be read as a backup: {type(error).__name__}: {error}") from error


def check(path: Path, major: int | None = None) -> Backup:
    """Read a backup to its end: every file is as it was written, and holds the rows that it says. Raises BackupError.

    pg_restore of that major version reads it, or of the one that wrote it.
    """
    backup = read(path)
    for name, dumped in backup.databases.items():
        file = backup.file(name)
        if not file.exists():
            raise BackupError(f"{path} can't be read as a backup: {file.name} is missing")
        program = client.program("pg_restore", major or dumped.postgres, "What saved this backup")
        if _sha256(file) != dumped.sha256:
            raise BackupError(f"{file} can't be read as a backup: it is cut off, or was changed since it was written")
        if (rows := client.rows_in(program, file)) != dumped.rows:
            raise BackupError(f"{file} can't be read as a backup: {client.difference(dumped.rows, rows)}")
    return backup


def _write(draft: Path, databases: dict[str, Warehouse], now: datetime) -> None:
    dumped = {}
    for name, where in databases.items():
        file = _file(draft, name)
        file.touch(mode=0o600)
        rows = client.dump(where, SCHEMAS[name], file)
        with connect("greenery backup", where) as connection:
            dumped[name] = Dumped(_sha256(file), connection.server_version // 10000, rows)
    contents = {
        "made_at": now.isoformat(),
        "revision": revision(databases[WAREHOUSE]),
        "databases": {name: asdict(one) for name, one in dumped.items()},
    }
    (draft / CONTENTS).touch(mode=0o600)
    (draft / CONTENTS).write_text(json.dumps(contents, indent=1))
    for file in draft.iterdir():
        _sync(file)
    _sync(draft)


def revision(where: Warehouse) -> str | None:
    """The migration that `ops` is at; None where there is no `ops`."""
    with connect("greenery backup", where) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("select version_num from ops.alembic_version")
        except psycopg2.errors.UndefinedTable:
            return None
        row = cursor.fetchone()
        return row[0] if row else None


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One save at a time; what one that was killed has left is removed. Raises BackupError while another is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another backup is being saved in {folder}; nothing was saved. Wait for it.") from None
        for left in folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(left)
        yield


def _file(path: Path, database: str) -> Path:
    return path / f"{database}.dump"


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Onto the disk, before anybody is told that it is there."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
