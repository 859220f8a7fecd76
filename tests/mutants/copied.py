"""A copy of the project in which something may be changed, and its tests run."""

from __future__ import annotations

import shutil
from pathlib import Path

from include.settings import PROJECT_ROOT
from tests.resume import names


def copy_project(folder: Path) -> None:
    """Copy what git knows or would add, with the same `.venv`."""
    for name in names(PROJECT_ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT_ROOT / name, folder / name)
    (folder / ".venv").symlink_to((PROJECT_ROOT / ".venv").resolve())
