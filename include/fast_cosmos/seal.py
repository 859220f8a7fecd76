"""The seal of a release: `seal.json` in its folder says what it was made of, and names each file with a hash.

A release is code: dbt runs what is in it. The seal is no signature, though: who may write into the folder may write
another seal as well.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

FILE = "seal.json"
# What dbt and git write beside a project, and read no SQL from.
IGNORED = {".user.yml"}

# A file's path in its folder, and how it looks from outside: its mode, size, times and inode.
_Looks = tuple[str, int, int, int, int, int]


@dataclass(frozen=True)
class Seal:
    """What a folder was made of."""

    stamp: str
    made_with: list[str]
    # Each file's hash, by its path in the folder.
    files: dict[str, str]


def seal(folder: Path, stamp: str, made_with: Iterable[str]) -> None:
    """Seal a folder as it is now."""
    sums = {name: _sum(folder / name) for name, *_ in _looks(folder) if name != FILE}
    (folder / FILE).write_text(json.dumps(asdict(Seal(stamp, [*made_with], sums))))


def read(folder: Path) -> Seal | None:
    """The seal of a folder; None where it has none that can be read."""
    try:
        return Seal(**json.loads((folder / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def changed(folder: Path) -> tuple[str, ...]:
    """The files that were changed, added or removed since a folder was sealed, by their paths in it; sorted.

    Files are read once a process, and again where one of them looks different.
    """
    return _changed(folder, _looks(folder))


@lru_cache(maxsize=8)
def _changed(folder: Path, looks: tuple[_Looks, ...]) -> tuple[str, ...]:
    sealed = read(folder)
    if sealed is None:
        return (FILE,)
    # A link leads to what may change later.
    there = {name: _sum(folder / name) if stat.S_ISREG(mode) else "no file" for name, mode, *_ in looks}
    there.pop(FILE)
    return tuple(sorted({name for name, _ in there.items() ^ sealed.files.items()}))


def pack(folder: Path) -> bytes:
    """A sealed folder as one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as packed:
        for name, *_ in _looks(folder):
            packed.write(folder / name, name)
    return file.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    """What `pack` was given, below a folder. What it holds is not to be trusted before `changed` was asked."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as file:
            file.extractall(folder)  # no name leads out of it
    except zipfile.BadZipFile:
        folder.mkdir(exist_ok=True)  # empty, and so without a seal


def _looks(folder: Path) -> tuple[_Looks, ...]:
    """How the files in a folder look."""

    def walk(inner: str) -> Iterator[_Looks]:
        with os.scandir(inner) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from walk(entry.path)
                elif entry.name not in IGNORED:
                    how, name = entry.stat(follow_symlinks=False), os.path.relpath(entry.path, folder)
                    yield name, how.st_mode, how.st_size, how.st_mtime_ns, how.st_ctime_ns, how.st_ino

    return tuple(sorted(walk(str(folder))))


def _sum(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()
