"""`make torture` goes on where it was stopped, for as long as nothing was changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

SIDE_BY_SIDE = ("-p", "xdist", "-n", "2")
TESTS = """
import os, pytest
def test_one(): pass
def test_two(): assert "TWO" in os.environ
@pytest.fixture
def ends_badly():
    yield
    assert "TWO" in os.environ
def test_three(ends_badly): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project in git, with three tests."""
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n")
    (tmp_path / "pytest.ini").touch()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def plays(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code of a run of the tests, and its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.resume", "-q", "--tb=no", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.splitlines()[-1]


def test_what_passed_is_left_out_until_a_file_changes_or_all_is_asked_for(folder: Path) -> None:
    code, told = plays(folder)
    assert (code, told.split(" in ")[0]) == (1, "1 failed, 2 passed, 1 error")
    code, told = plays(folder, *SIDE_BY_SIDE, TWO="well")
    assert (code, told.split(" in ")[0]) == (0, "2 passed")
    code, told = plays(folder)
    assert (code, told.split(" in ")[0]) == (0, "3 deselected")
    code, told = plays(folder, *SIDE_BY_SIDE, "--cache-clear", TWO="well")
    assert (code, told.split(" in ")[0]) == (0, "3 passed")
    (folder / "new.py").touch()
    code, told = plays(folder, TWO="well")
    assert (code, told.split(" in ")[0]) == (0, "3 passed")


def test_what_passed_for_one_case_or_a_few_days_has_not_passed_for_others(folder: Path) -> None:
    plays(folder, TWO="well", DAYS="10")
    for more in ({"DAYS": "30"}, {"DAYS": "10", "OUTAGE": "60"}):
        code, told = plays(folder, TWO="well", **more)
        assert (code, told.split(" in ")[0]) == (0, "3 passed")
    code, told = plays(folder, TWO="well", DAYS="10")
    assert (code, told.split(" in ")[0]) == (0, "3 deselected")
