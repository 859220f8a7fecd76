"""What one task a model costs beside a bare `dbt build`: half of `make bench`.

Runs the project as `dbt build`, as one BashOperator, as Cosmos runs it out of the box, and as `greenery_daily`, all on
the demo shop's first days, a real Postgres and a real Airflow, every model built in full; then generated projects of
some sizes, and these with `include.fast_cosmos` alone as well (`fast`). Each way is run several times, once before to
fill caches and once more to look at memory, and told as a ratio to the bare builds that ran right beside it. A way
whose first run takes longer than `--patience` is told by that one alone.

    python -m benchmarks.orchestration --runs 5 greenery 20 100 300
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks import generated
from include.daily import DAG_ID, buffers
from include.dbt_project import release
from include.demo_shop import demo as demo_shop
from include.local import warehouse
from include.local.airflow_api import AirflowApi
from include.local.postgres import LocalPostgres
from include.local.progress import Progress, silent
from include.local.stack import Stack
from include.results import runs
from include.settings import PROJECT_ROOT
from include.warehouse import connect

DAGS = PROJECT_ROOT / "benchmarks" / "dags"
STOCK = ("bash", "local_build", "local_after_each", "watcher")
# What the Airflow of `benchmarks/other_project` has of its own.
FAST = {
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "benchmarks" / "other_project" / "plugins"),
    "AIRFLOW__SDK__COORDINATORS": json.dumps(
        {
            "warm": {
                "classpath": "include.fast_cosmos.warm_up.WarmCoordinator",
                "kwargs": {"warm_up": "benchmarks.other_project.WARM_UP"},
            }
        }
    ),
}
LIMIT_SECONDS = 3600
# How Airflow calls the process of a task: by the id of the task instance.
_TASK = re.compile(r"airflow worker -- [0-9a-f]{8}-")


@dataclass
class Measured:
    """One way to run a project: seconds of each run by the clock and of the processors, and the peak of its memory."""

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_mb: float = 0
    task_mb: float = 0
    parse_seconds: float | None = None

    @property
    def median(self) -> float:
        """Seconds by the clock."""
        return statistics.median(self.seconds)


class Bench:
    """A warehouse with a demo shop, and the Airflow that is up beside it."""

    def __init__(self, home: Path, server: LocalPostgres, runs: int, patience: float, say: Callable[[str], None]):
        self.home, self.server, self.runs, self.patience, self.say = home, server, runs, patience, say
        self._builds = 0

    def bare(self, project: Path) -> Measured:
        """`dbt build` of everything, as one would type it."""
        command = [sys.executable, "-m", "dbt.cli.main", "build", "--exclude-resource-type", "unit_test", "--quiet"]

        def run() -> float:
            self._begin()
            began = time.monotonic()
            done = subprocess.run(command, cwd=project, env=os.environ, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"dbt build failed:\n{done.stdout[-3000:]}")
            return time.monotonic() - began

        return self._measure("dbt build", run, [])

    def dag(self, stack: Stack, dag_id: str, conf: dict | None = None) -> Measured:
        """Runs of a DAG of the Airflow that is up."""
        running = stack.airflow(self.server)
        api = AirflowApi(running.url, *stack.login())
        api.wait_for_dag(dag_id)

        def run() -> float:
            if dag_id in STOCK:
                self._begin()
            run_id = api.trigger(dag_id, conf)
            if api.wait_for_run(dag_id, run_id, limit_seconds=LIMIT_SECONDS) != "success":
                raise SystemExit(f"{dag_id} failed; its logs are in {stack.home} (--keep)")
            told = api.run(dag_id, run_id)
            return (_moment(told["end_date"]) - _moment(told["queued_at"])).total_seconds()

        measured = self._measure(dag_id, run, list(running.pids.values()))
        measured.parse_seconds = api.parse_seconds(dag_id)  # by a DAG processor that has read it a few times
        return measured

    def _begin(self) -> None:
        """What a build finds in `ops` when `greenery_daily` has begun on it."""
        self._builds += 1
        with connect("greenery bench") as connection:
            runs.begin(connection, f"bench {time.time()}", "bench")
            buffers.begin(connection, f"bench {self._builds}", full_refresh=True)

    def _measure(self, name: str, run: Callable[[], float], leaders: list[int]) -> Measured:
        measured = Measured(name)

        def timed() -> None:
            before = self._cpu_seconds(leaders)
            measured.seconds.append(run())
            measured.cpu.append(self._cpu_seconds(leaders) - before)

        timed()
        if measured.seconds[0] < self.patience:
            measured.seconds, measured.cpu = [], []  # it has filled caches
            for _ in range(self.runs):
                timed()
            with self._peak_of(leaders, measured):
                run()
        self.say(f"  {name}: {measured.median:.1f} s of {', '.join(f'{one:.1f}' for one in measured.seconds)}")
        return measured

    def _cpu_seconds(self, leaders: list[int]) -> float:
        """What the processes of Airflow, of the server and of our own children have had so far, ended ones included."""
        own = os.times()
        total = own.children_user + own.children_system
        for process in self._processes(leaders):
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
        return total

    def _processes(self, leaders: list[int]) -> list[psutil.Process]:
        postmaster = int((self.server.data / "postmaster.pid").read_text().splitlines()[0])
        found = []
        for leader in (postmaster, *leaders):
            with suppress(psutil.Error):
                process = psutil.Process(leader)
                found += [process, *process.children(recursive=True)]
        return found

    @contextmanager
    def _peak_of(self, leaders: list[int], measured: Measured) -> Iterator[None]:
        """Note the most memory at a time, shared pages counted once, and the most that one task had for itself."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.5):
                total = 0.0
                for process in self._processes(leaders) + ([] if leaders else _builds()):
                    with suppress(psutil.Error, OSError):
                        memory = process.memory_full_info()
                        total += memory.pss / 1e6
                        if _TASK.match(" ".join(process.cmdline())):
                            measured.task_mb = max(measured.task_mb, memory.uss / 1e6)
                measured.peak_mb = max(measured.peak_mb, total)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


def _builds() -> list[psutil.Process]:
    """The `dbt build` that we have started; Airflow is our child as well."""
    return [one for one in psutil.Process().children() if "dbt.cli.main" in one.cmdline()]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _prepared(source: Path, target: Path) -> Path:
    """A copy of a dbt project, parsed as `dbt build` and stock Cosmos find it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("target", "logs"))
    release.write_macros_hash(target)
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "parse", "--no-static-parser"]
    subprocess.run(
        [*command, "--profile", release.PROFILE, "--target", release.TARGET], cwd=target, env=os.environ, check=True
    )
    return target


def _stack(home: Path, *, project: Path, dags: dict[str, Path], extra: dict[str, str]) -> Stack:
    """An Airflow with some DAG files, by the names that they get, and with what is extra in its environment."""
    folder = home / "dags"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, file in dags.items():
        shutil.copy(file, folder / f"{name}.py")
    environment = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "BENCH_PROJECT": str(project),
        "GREENERY_DBT_DIR": str(project),
        **extra,
    }
    return Stack(home, silent(), extra_env=environment)


def compare(home: Path, runs: int, projects: list[str], patience: float, say: Callable[[str], None]) -> list[str]:
    """Run projects, greenery or numbers of models, in every way; returns the tables as Markdown lines."""
    lines: list[str] = []
    with Stack(home, silent()).session() as server:
        warehouse.prepare(server)
        os.environ |= warehouse.as_transformer(server).environment()
        with connect("greenery bench", warehouse.as_loader(server)) as connection:
            demo_shop.play_day(connection, 1)
        bench = Bench(home, server, runs, patience, say)
        for name in projects:
            title = name if name == "greenery" else f"{name} models"
            say(title)
            source = PROJECT_ROOT / "dbt"
            if name != "greenery":
                source = generated.write(home / "generated" / name, int(name))
            project = _prepared(source, home / "projects" / name)
            own = DAG_ID if name == "greenery" else "generated"
            own_file = PROJECT_ROOT / "dags" / f"{own}.py" if name == "greenery" else DAGS / f"{own}.py"
            # Ours before anything else: the first run makes the tables that later ones replace.
            airflows = [({own: own_file}, {}), (dict.fromkeys(STOCK, DAGS / "stock.py"), _without_extensions(home))]
            if name != "greenery":
                airflows.insert(1, ({"fast": DAGS / "fast.py"}, FAST))
            told = []
            for dags, extra in airflows:
                stack = _stack(home, project=project, dags=dags, extra=extra)
                with _airflow(stack, server):
                    conf = {"full_refresh": True} if name == "greenery" else None
                    ways = [bench.dag(stack, dag_id, conf if dag_id == own else None) for dag_id in dags]
                    told.append((bench.bare(project), ways))
            lines += ["", f"### {title}", "", *_table(told), "", *_parse_lines(told)]
    return lines


def _without_extensions(home: Path) -> dict[str, str]:
    """The environment of an Airflow as it comes."""
    empty = home / "no_plugins"
    empty.mkdir(exist_ok=True)
    return {"AIRFLOW__CORE__PLUGINS_FOLDER": str(empty), "AIRFLOW__SDK__QUEUE_TO_COORDINATOR": "{}"}


@contextmanager
def _airflow(stack: Stack, server: LocalPostgres) -> Iterator[None]:
    try:
        stack.airflow(server)
        yield
    finally:
        stack._stop_airflow()


def _table(told: list[tuple[Measured, list[Measured]]]) -> list[str]:
    lines = [
        "| | seconds (least to most) | times `dbt build` | CPU seconds | times | peak MB | MB a task |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for bare, ways in told:
        for way in (bare, *ways):
            cpu = statistics.median(way.cpu)
            cells = (
                way.name,
                _spread(way.seconds),
                f"**{way.median / bare.median:.2f}**",
                f"{cpu:.1f}",
                f"{cpu / statistics.median(bare.cpu):.2f}",
                f"{way.peak_mb:,.0f}" if way.peak_mb else "",
                f"{way.task_mb:.0f}" if way.task_mb else "",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _spread(seconds: list[float]) -> str:
    if len(seconds) == 1:
        return f"{seconds[0]:.1f} (one run)"
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _parse_lines(told: list[tuple[Measured, list[Measured]]]) -> list[str]:
    ways = [way for _, own in told for way in own if way.name not in STOCK and way.parse_seconds is not None]
    return [f"The DAG processor reads the file of `{way.name}` in {way.parse_seconds:.2f} s." for way in ways]


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each way; default: %(default)s")
    projects = ["greenery", "20", "100", "300"]
    parser.add_argument(
        "projects",
        nargs="*",
        default=projects,
        help=f"greenery, or a number of models that are generated; default: {' '.join(projects)}",
    )
    parser.add_argument(
        "--patience", type=float, default=600, help="seconds: what takes longer is run once; default: %(default)s"
    )
    parser.add_argument("--keep", type=Path, help="a folder for all files, kept afterwards")
    arguments = parser.parse_args()
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="greenery-bench-"))
    home.mkdir(exist_ok=True)
    home.chmod(0o755)
    try:
        lines = compare(home, arguments.runs, arguments.projects, arguments.patience, Progress().say)
    finally:
        if arguments.keep is None:
            shutil.rmtree(home, ignore_errors=True)
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}", *lines, sep="\n")


if __name__ == "__main__":
    main()
