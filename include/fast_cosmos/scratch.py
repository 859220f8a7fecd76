"""A folder for files that nobody reads later: gone with who made it or, where that was killed, with the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_PREFIX = "fast-cosmos-"


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder for the time of the block, where the system has such; what others left who were killed is removed.

    It is locked meanwhile, and the kernel ends a lock with its process.
    """
    with ExitStack() as held:
        path = _new(held)
        try:
            for left in path.parent.glob(f"{_PREFIX}*"):
                # Else its process lives, or it is another user's, or gone.
                with suppress(OSError), _locked(left, fcntl.LOCK_NB):
                    shutil.rmtree(left, ignore_errors=True)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _new(held: ExitStack) -> Path:
    """A folder that is locked until `held` ends; another one where it was removed before that."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):
            held.enter_context(_locked(path))
            if path.exists():
                return path


@contextmanager
def _locked(path: Path, how: int = 0) -> Iterator[None]:
    """Hold the lock of a folder. Raises OSError where it is none of ours or, with LOCK_NB, where somebody holds it."""
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(held)
