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
from tests.waiting import wait_for

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
def temporary() -> Iterator[Path]:
    """A folder for temporary ones, which Postgres' own user can reach as well."""
    with in_memory.folder("greenery-bench-") as path:
        yield path


def test_each_bench_works_in_such_a_folder() -> None:
    benches = [path for path in (PROJECT_ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()]
    assert len(benches) == 8
    assert [path.name for path in benches if "with folder.working(" not in path.read_text()] == []


def test_make_starts_each_bench_without_a_shell_between() -> None:
    """A shell would end at a signal to `make`, and the bench go on."""
    command = ["make", "-n", "-o", "install", "bench", "BENCH=size health", "ARGS=--help"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"exec .venv/bin/python -m benchmarks.{one} --help" for one in ("size", "health")
    ]


@pytest.mark.db
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_a_bench_started_ends_with_it(temporary: Path, number: signal.Signals) -> None:
    bench = subprocess.Popen(
        ["env", "--default-signal=HUP", sys.executable, "-c", BENCH],  # these tests may run under nohup
        cwd=PROJECT_ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "GREENERY_STATE_DIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    home = Path(bench.stdout.readline().strip())
    data = home / "shop" / "postgres"
    try:
        assert postgres.running_port(data)
        server = psutil.Process(postgres.server_process(data))
        bench.send_signal(number)
        assert bench.wait(timeout=60) == (-number if number == signal.SIGKILL else 130)
        psutil.wait_procs([server], timeout=60)
        assert not server.is_running()
        wait_for(lambda: not any((temporary / "started").iterdir()), "the guard is done")
    finally:
        bench.kill()
        postgres.stop(data)
    assert not home.exists()
