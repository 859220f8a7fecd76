"""Git repositories that tests make."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOMEBODY = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")


def git(folder: Path, *arguments: str) -> str:
    """A command of git's in a folder, as somebody; what it says."""
    command = ["git", "-C", str(folder), *SOMEBODY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def begin(folder: Path) -> None:
    """A repository with what the folder holds as its main."""
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "As it is")


def commit(folder: Path, message: str) -> None:
    """All that the folder holds now."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
