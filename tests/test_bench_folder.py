"""A bench that is stopped leaves nothing running and no folder behind, whoever stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from include.local import postgres
from include.settings import PROJECT_ROOT
from tests import in_memory
from tests.include.local.test_guard import wait_for

# As each bench begins.
BENCH = """
import signal, sys
from benchmarks import folder
from include.local import postgres
with folder.working() as home:
    postgres.start(home / "shop" / "postgres")
    print(home, flush=True)
    while True:
        signal.pause()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Where temporary files and state are."""
    with in_memory.folder("greenery-place-") as path:
        yield path


def test_each_bench_works_in_such_a_folder() -> None:
    benches = [path for path in (PROJECT_ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()]
    assert len(benches) == 7
    assert [path.name for path in benches if "with folder.working(" not in path.read_text()] == []


@pytest.mark.db
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_a_bench_started_ends_with_it(place: Path, number: signal.Signals) -> None:
    bench = subprocess.Popen(
        [sys.executable, "-c", BENCH],
        cwd=PROJECT_ROOT,
        env={**os.environ, "TMPDIR": str(place), "GREENERY_STATE_DIR": str(place)},
        stdout=subprocess.PIPE,
        text=True,
    )
    home = Path(bench.stdout.readline().strip())
    data = home / "shop" / "postgres"
    try:
        assert postgres.running_port(data)
        server = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
        bench.send_signal(number)
        assert bench.wait(timeout=60) == (-number if number == signal.SIGKILL else 130)
        psutil.wait_procs([server], timeout=60)
        assert not server.is_running()
        wait_for(lambda: not any((place / "started").iterdir()), "the guard is not done")
    finally:
        bench.kill()
        postgres.stop(data)
    assert not home.exists()
