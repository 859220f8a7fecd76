"""A folder for files that nobody reads later: gone with who made it or, where that was killed, with the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "fast-cosmos-"


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder for the time of the block, where the system has such; what others left who were killed is removed.

    It is locked meanwhile, and the kernel ends a lock with its process. It gets the name that others look for once it
    is locked.
    """
    made = Path(tempfile.mkdtemp(prefix=f"new-{_PREFIX}"))
    with _locked(made):
        path = made.rename(made.with_name(made.name.removeprefix("new-")))
        try:
            for left in path.parent.glob(f"{_PREFIX}*"):
                # Else its process lives, or it is another user's, or gone.
                with suppress(OSError), _locked(left, fcntl.LOCK_NB):
                    shutil.rmtree(left, ignore_errors=True)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path, how: int = 0) -> Iterator[None]:
    """Hold the lock of a folder. Raises OSError where it is none of ours or, with LOCK_NB, where somebody holds it."""
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(held)
