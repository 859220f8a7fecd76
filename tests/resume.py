"""`pytest -p tests.resume`: leaves out what has passed before on the very same files.

So `make torture` goes on where it was stopped. `--cache-clear` plays everything again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

_KEY = "greenery/passed"
# What of a test the environment may ask for: what passed with less has not passed with more.
ASKED = ("BACK_TO_BACK", "CASE", "DAYS", "OUTAGE", "TASKS")
_ASKED = " ".join(f"{name}={os.environ[name]}" for name in ASKED if name in os.environ)


class _Resume:
    def __init__(self, config: pytest.Config) -> None:
        self.cache, self.files = config.cache, files(config.rootpath)
        known = self.cache.get(_KEY, {})
        self.passed: list[str] = known["tests"] if known.get("files") == self.files else []
        self.called: set[str] = set()
        # Side by side (`-n 2`) each process leaves out what has passed, and the one that hears of all notes it.
        self.notes = not hasattr(config, "workerinput")

    def pytest_report_header(self) -> str:
        return f"resume: {len(self.passed)} tests have passed on these files and are left out (--cache-clear: none)"

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        passed = [item for item in items if f"{item.nodeid} {_ASKED}" in self.passed]
        config.hook.pytest_deselected(items=passed)
        items[:] = [item for item in items if item not in passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep each test that passed, its teardown too, as soon as it has: the next one may be stopped by anything."""
        if report.when == "call" and report.passed:
            self.called.add(report.nodeid)
        if self.notes and report.when == "teardown" and report.passed and report.nodeid in self.called:
            self.passed.append(f"{report.nodeid} {_ASKED}")
            self.cache.set(_KEY, {"files": self.files, "tests": self.passed})

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.passed:
            session.exitstatus = pytest.ExitCode.OK


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest once it knows its options, `--cache-clear` among them."""
    config.pluginmanager.register(_Resume(config))


def files(folder: Path) -> str:
    """A hash of the project as it is: of every file of it, by its name and content."""
    found = hashlib.sha256()
    for name in names(folder):
        found.update(f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\0".encode())
    return found.hexdigest()


def names(folder: Path) -> list[str]:
    """The files that git knows or would add, and that are there."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, cwd=folder, capture_output=True, check=True, text=True).stdout.split("\0")
    return [name for name in sorted({*found}) if (folder / name).is_file()]
