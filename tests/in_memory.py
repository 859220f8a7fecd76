"""Folders for what tests throw away, in memory where there is room: most of it is copies of databases.

On a disk such a copy takes several times as long of a processor, and more of what runs beside it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from include.local import guard

MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder in it
# All tests together take less than 1 GB.
ROOM = 4_000_000_000


def _is_roomy() -> bool:
    return (
        os.access(MEMORY, os.W_OK)
        and shutil.disk_usage(MEMORY).free > ROOM  # in a container it is small
        and psutil.virtual_memory().available > ROOM
    )


def folder(prefix: str) -> AbstractContextManager[Path]:
    """A folder that any user may read, for the time of the block. Nothing in it can be relied on to be executable."""
    return guard.folder(prefix, MEMORY if _is_roomy() else None)
