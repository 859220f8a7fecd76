"""What one task a model costs beside a bare `dbt build`: the first part of `make bench`.

Runs a project as `dbt build`, as this deployment does (`ours`), as a task a model that does nothing (`floor`: Airflow's
own part), as one BashOperator, and as Cosmos runs it out of the box. All on a real Postgres and a real Airflow, with as
many tasks at a time as dbt has threads, every model built in full. `greenery` is the project itself on the demo shop's
first day; others are made up (`benchmarks/generated.py` says which there are). `benchmarks/plan.py` says what is run in
which way, and how long that takes; `--plan` prints it and ends.

A way that takes longer than `--patience` is run once, and otherwise several times, once before to fill caches and once
more to look at memory. Each is told as a ratio to the bare builds beside it.

    python -m benchmarks.orchestration greenery 300-slow deep-300
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks import folder, generated, plan, processes, ways
from benchmarks.plan import Part, Rounds
from benchmarks.processes import Memory, Processes
from benchmarks.ways import Way
from include.daily import buffers
from include.dbt_project import release
from include.demo_shop import demo as demo_shop
from include.local import warehouse
from include.local.airflow_api import AirflowApi, AirflowApiError
from include.local.postgres import LocalPostgres, free_port
from include.local.progress import Progress, silent
from include.local.stack import Stack, StackError
from include.results import runs
from include.settings import PROJECT_ROOT
from include.warehouse import connect

LIMIT_SECONDS = 3600
# Whose processor seconds have a column, and what the table calls them.
SHARES = {
    processes.TASKS: "tasks",
    processes.SCHEDULER: "scheduler",
    "api-server": "API server",
    "dag-processor": "DAG processor",
    "triggerer": "triggerer",
    processes.AIRFLOWS: "Postgres for Airflow",
    processes.WAREHOUSES: "Postgres, the rest",
    processes.DBT: "`dbt build`",
}


@dataclass(frozen=True)
class Timed:
    """A run: seconds by the clock, of the processors by whose they are, and how many processors others kept busy."""

    seconds: float
    cpu: Counter[str]
    others: float


@dataclass
class Measured:
    """One way to run a project."""

    name: str
    runs: list[Timed] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    parse_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """By the clock, the median."""
        return statistics.median(one.seconds for one in self.runs)

    @property
    def cpu(self) -> float:
        """Of the processors, the median."""
        return statistics.median(one.cpu.total() for one in self.runs)

    def share(self, part: str) -> float:
        """What one of them has had of these, the median."""
        return statistics.median(one.cpu[part] for one in self.runs)


@dataclass
class Result:
    """What became of a part: its ways with the bare builds beside them, and those of which a run failed."""

    part: Part
    told: list[tuple[Measured, list[Measured]]] = field(default_factory=list)
    failed: list[Way] = field(default_factory=list)


class Bench:
    """A warehouse with a demo shop, and the Airflow that is up beside it."""

    def __init__(self, home: Path, server: LocalPostgres, rounds: Rounds, say: Callable[[str], None]) -> None:
        self.home, self.server, self.rounds, self.say = home, server, rounds, say
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

        return self._measure(ways.BARE.name, run, Processes(self.server.data))

    def dag(self, stack: Stack, way: Way, since: datetime) -> Measured:
        """Runs of a DAG of the Airflow that is up, whose file was written then."""
        running = stack.airflow(self.server)
        api = AirflowApi(running.url, *stack.login())
        api.wait_for_dag(way.dag_id, limit_seconds=600, since=since)

        def run() -> float:
            if not way.airflow.begins:
                self._begin()
            run_id = api.trigger(way.dag_id, dict(way.conf or {}))
            if api.wait_for_run(way.dag_id, run_id, limit_seconds=LIMIT_SECONDS) != "success":
                raise AirflowApiError(f"{way.name} failed; its logs are in {stack.home} (--keep)")
            told = api.run(way.dag_id, run_id)
            return (
                datetime.fromisoformat(told["end_date"]) - datetime.fromisoformat(told["queued_at"])
            ).total_seconds()

        measured = self._measure(way.name, run, Processes(self.server.data, running.pids))
        measured.parse_seconds = api.parse_seconds(way.dag_id)  # by a DAG processor that has read it a few times
        return measured

    def _begin(self) -> None:
        """What a build finds in `ops` when `greenery_daily` has begun on it."""
        self._builds += 1
        with connect("greenery bench") as connection:
            runs.begin(connection, f"bench {time.time()}", "bench")
            buffers.begin(connection, f"bench {self._builds}", full_refresh=True)

    def _measure(self, name: str, run: Callable[[], float], family: Processes) -> Measured:
        measured = Measured(name)

        def timed() -> Timed:
            began, before, busy = time.monotonic(), family.cpu_seconds(), processes.busy_seconds()
            seconds = run()
            cpu = family.cpu_seconds()
            cpu.subtract(before)
            others = (processes.busy_seconds() - busy - cpu.total()) / (time.monotonic() - began)
            return Timed(seconds, cpu, max(others, 0))

        with family.memory(every=2) as measured.memory:
            measured.runs = [timed()]
        if measured.seconds < self.rounds.patience:
            measured.runs = [timed() for _ in range(self.rounds.timed)]  # the first has filled caches
            with family.memory(every=0.5) as measured.memory:
                run()
        self.say(f"  {name}: {measured.seconds:.1f} s of {', '.join(f'{one.seconds:.1f}' for one in measured.runs)}")
        return measured


def _prepared(source: Path, target: Path, threads: int) -> Path:
    """A copy of a dbt project with so many threads, parsed as `dbt build` and stock Cosmos find it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("target", "logs"))
    profiles = target / "profiles.yml"
    profiles.write_text(profiles.read_text().replace("threads: 4", f"threads: {threads}"))
    release.write_macros_hash(target)
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "parse", "--no-static-parser"]
    subprocess.run(
        [*command, "--profile", release.PROFILE, "--target", release.TARGET], cwd=target, env=os.environ, check=True
    )
    return target


def _stack(home: Path, project: Path, threads: int, chosen: list[Way]) -> Stack:
    """The Airflow that these ways share, with their DAG files."""
    dags = home / "dags"
    shutil.rmtree(dags, ignore_errors=True)
    dags.mkdir()
    for way in chosen:
        shutil.copy(way.file, dags / f"{way.dag_id}.py")
    environment = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PARALLELISM": str(threads),
        # On a busy machine the API takes longer than the usual 5 seconds: a task fails of that before it begins.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "BENCH_PROJECT": str(project),
        "GREENERY_DBT_DIR": str(project),
        **chosen[0].airflow.environment,
    }
    return Stack(home, silent(), extra_env=environment)


def compare(bench: Bench, part: Part) -> Result:
    """Run a part in all of its ways."""
    source, home = PROJECT_ROOT / "dbt", bench.home / part.name.replace(" ", "-")
    if part.project != "greenery":
        source = generated.write(home / "generated", part.project)
    project = _prepared(source, home / "dbt", part.threads)
    result = Result(part)
    for airflow in dict.fromkeys(way.airflow for way in part.chosen):
        together = [way for way in part.chosen if way.airflow is airflow]
        stack, since = _stack(bench.home, project, part.threads, together), datetime.now(UTC)
        try:
            with _airflow(stack, bench.server):
                measured = _dags(bench, stack, together, since, result)
                known = [bare for bare, _ in result.told if len(bare.runs) == 1]
                result.told.append((known[0] if known else bench.bare(project), measured))
        except StackError as error:
            bench.say(f"  {error}")
            result.failed += together
    return result


def _dags(bench: Bench, stack: Stack, together: list[Way], since: datetime, result: Result) -> list[Measured]:
    """The ways of an Airflow, without those that fail."""
    measured = []
    for way in together:
        try:
            measured.append(bench.dag(stack, way, since))
        except (AirflowApiError, httpx.HTTPError) as error:
            bench.say(f"  {way.name}: {error}")
            result.failed.append(way)
    return measured


@contextmanager
def _airflow(stack: Stack, server: LocalPostgres) -> Iterator[None]:
    try:
        stack.airflow(server)
        yield
    finally:
        stack.stop_airflow()


def table(result: Result) -> list[str]:
    """What became of a part, as lines of Markdown."""
    rows = [(way, bare) for bare, measured in result.told for way in (bare, *measured)]
    # One build is beside all ways where it takes long.
    rows = [(way, bare) for at, (way, bare) in enumerate(rows) if way not in [one for one, _ in rows[:at]]]
    lines = [
        f"### {result.part.name}",
        "",
        "| | seconds (least to most) | times `dbt build` | CPU seconds | times | peak MB | MB a task | others |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for way, bare in rows:
        cells = (
            way.name,
            _told(way),
            f"**{way.seconds / bare.seconds:.2f}**",
            f"{way.cpu:.1f}",
            f"{way.cpu / bare.cpu:.2f}",
            f"{way.memory.peak:,.0f}",
            f"{way.memory.task:.0f}" if way.memory.task else "",
            f"{statistics.median(one.others for one in way.runs):.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"| CPU seconds of | {' | '.join(SHARES.values())} |", f"|---{'|---:' * len(SHARES)}|"]
    for way, _ in rows:
        lines.append(f"| {way.name} | {' | '.join(f'{way.share(part):.1f}' for part in SHARES)} |")
    sentences = [
        f"The DAG processor reads the file of `{way.name}` in {way.parse_seconds:.2f} s."
        for way, _ in rows
        if way.parse_seconds is not None
    ]
    sentences += [f"`{way.name}` is not told: a run of it failed." for way in result.failed]
    if result.part.left_out:
        names = (f"`{way.name}` ({_duration(result.part.once(way))} a run)" for way in result.part.left_out)
        sentences.append(f"Left out, with what is reckoned: {', '.join(names)}.")
    return [*lines, "", *sentences, ""]


def summary(results: list[Result]) -> list[str]:
    """All parts side by side, as lines of Markdown: seconds, and times the `dbt build` beside each."""
    found = {way.name for result in results for _, measured in result.told for way in measured}
    names = [way.name for way in ways.GENERATED if way.name in found]
    lines = [f"| | goal | `dbt build` | {' | '.join(names)} |", f"|---{'|---:' * (len(names) + 2)}|"]
    for result in [one for one in results if one.told]:
        told = {way.name: (way, bare) for bare, measured in result.told for way in measured}
        cells = [f"{way.seconds:.1f} ({way.seconds / bare.seconds:.2f})" for way, bare in told.values()]
        by_name = dict(zip(told, cells, strict=True))
        goal = f"{result.part.goal:g}" if result.part.goal else ""
        bare = result.told[0][0]
        row = (result.part.name, goal, f"{bare.seconds:.1f}", *(by_name.get(name, "") for name in names))
        lines.append(f"| {' | '.join(row)} |")
    return ["### All of it", "", "Seconds, and times `dbt build`. The goal is for `ours`.", "", *lines, ""]


def _told(way: Measured) -> str:
    seconds = [one.seconds for one in way.runs]
    if len(seconds) == 1:
        return f"{seconds[0]:.1f} (one run)"
    return f"{way.seconds:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def main() -> None:
    """Run the benchmark, and print a table for each part as soon as it is done, and one of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=main.__doc__)
    parser.add_argument("projects", nargs="*", help="greenery, or generated ones; default: all that the plan has")
    parser.add_argument("--plan", action="store_true", help="say what would be run and how long it takes, and end")
    names = dict.fromkeys(way.name for way in (*ways.GREENERY, *ways.GENERATED))
    parser.add_argument("--ways", nargs="+", choices=names, default=[], help="these alone, beside `dbt build`")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[], help="tasks at a time, and dbt's threads; default: as planned"
    )
    parser.add_argument("--runs", type=int, default=Rounds.timed, help="timed runs of each way; default: %(default)s")
    parser.add_argument(
        "--patience",
        type=float,
        default=Rounds.patience,
        help="seconds: what takes longer is run once; default: %(default)s",
    )
    parser.add_argument("--keep", type=Path, help="a folder for all files, kept afterwards")
    arguments = parser.parse_args()
    rounds = Rounds(arguments.runs, arguments.patience)
    try:
        planned = plan.parts(arguments.projects, arguments.ways, arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    if arguments.plan:
        print(plan.told(planned, rounds))
        return
    say = Progress().say
    say(plan.told(planned, rounds))
    os.environ["GREENERY_UI_PORT"] = str(free_port())  # beside a stack that is being started
    results: list[Result] = []
    with folder.working(arguments.keep) as home, Stack(home, silent()).session() as server:
        print(f"{processes.machine()}\n", flush=True)
        warehouse.prepare(server)
        os.environ |= warehouse.as_transformer(server).environment()
        with connect("greenery bench", warehouse.as_loader(server)) as connection:
            demo_shop.play_day(connection, 1)
        bench = Bench(home, server, rounds, say)
        for at, part in enumerate(planned):
            left = sum(one.seconds(rounds) for one in planned[at:]) / 60
            say(f"{part.name}, part {at + 1} of {len(planned)}; some {left:.0f} minutes are left")
            results.append(compare(bench, part))
            print("\n".join(table(results[-1])), flush=True)
    if len(results) > 1:
        print("\n".join(summary(results)))


if __name__ == "__main__":
    main()
