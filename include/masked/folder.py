"""The folder of a masked copy: a file of rows for each table, and `masked.json`, which says what is in them.

    masked.json
    raw.orders.copy.gz       Postgres' own text format, compressed
    snapshots.….copy.gz

It is written under another name and then renamed, so it is there whole or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from include.masked.tables import MaskedError, Table

CONTENTS = "masked.json"
_DRAFT = ".draft-"
# 1 % larger than by gzip's usual 9, in less than two thirds of its time.
_LEVEL = 6


@dataclass(frozen=True)
class File:
    """A table's rows: how many, and the checksum of the compressed file."""

    table: Table
    rows: int
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What a copy says of itself. `days` is None where all rows are in it; `plain` are columns that stay by request."""

    made_at: datetime
    days: int | None
    files: tuple[File, ...]
    plain: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(file.rows for file in self.files)


_CONTENTS = TypeAdapter(Contents)


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A folder that is `path` when the block ends well, and nowhere when it doesn't. Raises MaskedError.

    What a copy that was killed has left there is removed.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise MaskedError(f"{path} is there and is not empty; nothing was copied. Name a folder that is new.")
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f"{_DRAFT}{path.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    try:
        yield making
        making.rename(path)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def write(path: Path, contents: Contents) -> None:
    """Say what is in a folder."""
    (path / CONTENTS).write_bytes(_CONTENTS.dump_json(contents, indent=1))


def open_to_write(path: Path, table: Table) -> gzip.GzipFile:
    """The file of a table, to be written."""
    return gzip.open(_file(path, table), "wb", _LEVEL)


def open_to_read(path: Path, table: Table) -> gzip.GzipFile:
    """The file of a table, to be read."""
    return gzip.open(_file(path, table), "rb")


def sha256(path: Path, table: Table) -> str:
    """The checksum of a table's file."""
    with _file(path, table).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check(path: Path) -> Contents:
    """What a copy says is in it, with every file as it was written. Raises MaskedError."""
    try:
        contents = _CONTENTS.validate_json((path / CONTENTS).read_bytes())
        for file in contents.files:
            if sha256(path, file.table) != file.sha256:
                raise MaskedError(
                    f"{_file(path, file.table)} was cut off, or changed since it was written; nothing was brought in. "
                    "Make the copy again."
                )
    except (OSError, ValueError) as error:
        raise MaskedError(f"{path} can't be read as a masked copy: {error}") from error
    return contents


def _file(path: Path, table: Table) -> Path:
    return path / f"{table.called}.copy.gz"
