"""A copy of the project in which something may be changed, and its tests run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from include.settings import PROJECT_ROOT
from tests import in_memory
from tests.mutants.forked import Change
from tests.resume import names


def copy_project(folder: Path) -> None:
    """Copy what git knows or would add, with the same `.venv`."""
    for name in names(PROJECT_ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT_ROOT / name, folder / name)
    (folder / ".venv").symlink_to((PROJECT_ROOT / ".venv").resolve())


def asked_of_tests(changes: Sequence[Change], tests: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """By name of a change, how many tests touch it, and which one fails with it ("" where none does).

    Raises SystemExit where they could not be run.
    """
    with in_memory.folder("greenery-mutants-") as home:
        copy_project(home / "copy")
        (home / "changes.json").write_text(json.dumps([asdict(one) for one in changes]))
        with subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.forked", str(home / "changes.json"), *tests],
            cwd=home / "copy",
            # But for the warehouse of this process.
            env={name: value for name, value in os.environ.items() if not name.startswith("WAREHOUSE_")},
            stdout=subprocess.PIPE,
            text=True,
        ) as asked:
            assert asked.stdout
            for line in asked.stdout:
                answer = json.loads(line)
                yield answer["change"], answer["tests"], answer["noticed"]
        if asked.returncode:
            raise SystemExit(f"The tests ended with {asked.returncode}, see above; nothing is said of what is left.")
