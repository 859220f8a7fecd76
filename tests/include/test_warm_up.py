"""What tasks inherit from the process that forks them: code and the current release, and nothing that is open."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.dbt_project import release
from include.settings import PROJECT_ROOT, Warehouse

pytestmark = pytest.mark.db

# Runs in a process of its own, since what a process has imported can't be taken back: prints what the test asks about.
IN_A_PROCESS = """
import json, os, sys, threading
import psutil
from include import warm_up
from include.dbt_project import invocation, release

warm_up.follow()
told = {
    "threads": threading.active_count(),
    "connections": len(psutil.Process().net_connections()),
    "loaded": [one.stamp for one in warm_up._loaded if one],
}
read, write = os.pipe()
if os.fork() == 0:  # a task
    before, hits = set(sys.modules), invocation.load.cache_info().misses
    done = invocation.invoke(release.current(), ["build", "--quiet", "--select", "stg_greenery__promos"])
    task = {
        "imported": sorted(set(sys.modules) - before),
        "loads": invocation.load.cache_info().misses - hits,
        "results": len(done.result.results),
    }
    os.write(write, json.dumps(task).encode())
    os._exit(0)
os.wait()
print(json.dumps({**told, **json.loads(os.read(read, 1_000_000))}))
"""


@pytest.fixture
def state(tmp_path: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a release of the project."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    release.refresh()
    return tmp_path


@pytest.fixture
def told(state: Path) -> dict:
    """What a warm process and a task forked from it say of themselves."""
    command = [sys.executable, "-c", IN_A_PROCESS]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_task_finds_everything_loaded_and_a_fork_copies_nothing_open(told: dict) -> None:
    assert told["loaded"] == [release.current().stamp]
    assert (told["threads"], told["connections"]) == (1, 0)
    assert told["results"] > 0
    assert (told["imported"], told["loads"]) == ([], 0)


def test_a_new_release_is_followed_and_the_same_one_is_not_loaded_twice(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from include import warm_up

    loads = []
    monkeypatch.setattr(
        warm_up, "_load", lambda project: (loads.append(project), warm_up._loaded.__setitem__(slice(None), [project]))
    )
    monkeypatch.setattr(warm_up, "_loaded", [])
    first = release.current()
    warm_up.follow()
    warm_up.follow()
    other = first.path.with_name("other")
    first.path.rename(other)
    release._point_current_at(other)
    warm_up.follow()
    assert [one.stamp for one in loads] == [first.stamp, "other"]


def test_a_warm_up_that_fails_is_told_and_stops_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from include import warm_up

    monkeypatch.setattr(warm_up, "LIBRARIES", ("no_such_module",))
    monkeypatch.setattr(warm_up, "_loaded", [])
    with caplog.at_level(logging.ERROR, warm_up.__name__):
        warm_up.follow()
    assert "Warm-up failed" in caplog.text
