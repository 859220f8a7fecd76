"""What a run costs where two Celery workers in containers run its tasks: `make bench BENCH=celery`.

docker-compose.yaml is really started (`benchmarks/containers.py`), with the CeleryExecutor and two workers on this one
machine. Each project is put into an image of its own, and run as

* `dbt build`, in a worker's container,
* `ours`, its DAG,
* `each by itself`: the same DAG, where nothing is built ahead of the tasks (generated projects alone),
* `floor`: a task a model that waits as long as the model, and does nothing.

The last two, which only say what the first two are to be compared with, run once.

The tables tell of each container: seconds of the processors of all that it ran, health checks left out, and memory.

    python -m benchmarks.celery greenery 100 100-slow
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import containers, folder, generated, processes, ways
from benchmarks.containers import Deployment
from benchmarks.orchestration import Measured, Timed
from benchmarks.processes import DBT, Processes
from include.daily import DAG_ID
from include.local.progress import Progress

PROJECTS = ("greenery", "100", "100-slow")
# What has a column; the total has the containers as well that mostly wait.
WORKERS = ("greenery-worker-1", "greenery-worker-2")
OTHERS = ("scheduler", "api-server", "dag-processor", "triggerer", "postgres", "redis")
PARTS = (*WORKERS, *(f"greenery-{service}-1" for service in OTHERS), DBT)
# Runs in a worker: a bare `dbt build` of the current release, begun as a run begins. Prints what it used.
_BUILD = """
import json, resource, shutil, subprocess, sys, time
from pathlib import Path
from include.daily import buffers
from include.dbt_project import release
from include.results import runs
from include.warehouse import connect

home = Path("/tmp/bare")
if not home.exists():
    shutil.copytree(release.current().path, home)
    home.chmod(0o755)
with connect("greenery bench") as connection:
    name = f"bench {time.time()}"
    runs.begin(connection, name, "bench")
    buffers.begin(connection, name, full_refresh=True)
command = [sys.executable, "-m", "dbt.cli.main", "build", "--exclude-resource-type", "unit_test", "--quiet"]
began = time.monotonic()
done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, text=True)
seconds, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
if done.returncode:
    sys.exit(f"dbt build failed: {done.stdout[-3000:]}")
print(json.dumps({"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1e3}))
"""


@dataclass
class Ran(Measured):
    """One way to run a project, and who ran the tasks of its last run.

    `megabytes` is the most that each container had at a time; `tasks` are those of each worker, `ahead` those of them
    that only told what `build_ahead` had done, and `builder` is the worker that ran that one. `task` is how many
    seconds a model's task took, the median.
    """

    megabytes: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    ahead: Counter[str] = field(default_factory=Counter)
    builder: str = ""
    task: float | None = None


class Bench:
    """The deployment that is up, with the image of one project."""

    def __init__(self, here: Deployment, progress: Progress) -> None:
        self._here, self._progress = here, progress
        self._workers = {here.hostname(one): one for one in here.workers()}
        self._family = Processes(None, here.pids())

    def warm_ups(self) -> list[str]:
        """What each worker says of the project that it loaded before it forked."""
        told = []
        for worker in sorted(self._here.workers()):
            said = self._here.said_by(worker, r" ready\.", containers.RUN_SECONDS)
            before = re.findall(r"Warm-up took ([\d.]+) s", said[: said.index(" ready.")])
            loaded = f"loaded the project in {before[0]} s before it forked" if before else "was not warm"
            told.append(f"{_short(worker)} {loaded}.")
        return told

    def build(self, runs: int) -> Ran:
        """So many runs of `dbt build` of everything, in the first worker's container."""
        measured = Ran("dbt build")
        worker = sorted(self._here.workers())[0]

        def run() -> tuple[float, float]:
            used = json.loads(self._here.run("podman", "exec", worker, "python", "-c", _BUILD).splitlines()[-1])
            measured.megabytes |= Counter({DBT: used["megabytes"]})
            return used["seconds"], used["cpu"]

        return self._measure(measured, run, runs)

    def dag(self, name: str, dag_id: str, runs: int, **conf: object) -> Ran:
        """So many runs of a DAG."""
        measured = Ran(name)

        def look() -> None:
            time.sleep(2)
            measured.megabytes |= self._family.megabytes()

        def run() -> tuple[float, float]:
            run_id = f"bench-{time.time():.0f}"
            self._here.trigger(run_id, dag_id, **conf)
            this = f"dag_id = '{dag_id}' and run_id = '{run_id}'"
            ended = f"select count(*) from dag_run where {this} and end_date is not null"  # noqa: S608 - ours
            self._here.wait_for("airflow", ended, "1", containers.RUN_SECONDS, pause=look)
            told = f"select state, extract(epoch from end_date - queued_at) from dag_run where {this}"  # noqa: S608
            state, seconds = self._here.sql("airflow", told).split("|")
            if state != "success":
                raise SystemExit(f"{name}: the run {run_id} is {state}")
            self._note(measured, dag_id, run_id)
            return float(seconds), 0

        return self._measure(measured, run, runs)

    def _measure(self, measured: Ran, run: Callable[[], tuple[float, float]], runs: int) -> Ran:
        """One run, or several after one that fills the caches.

        `run` returns its seconds, and those of the processors that no container's own process had.
        """

        def timed() -> Timed:
            began, before, busy = time.monotonic(), self._cpu(), processes.busy_seconds()
            seconds, build = run()
            cpu = self._cpu()
            cpu.subtract(before)
            cpu[DBT] = build
            others = (processes.busy_seconds() - busy - cpu.total()) / (time.monotonic() - began)
            return Timed(seconds, cpu, max(others, 0))

        if runs > 1:
            timed()
        measured.runs = [timed() for _ in range(runs)]
        self._progress.say(f"  {measured.name}: {', '.join(f'{one.seconds:.1f}' for one in measured.runs)} s")
        return measured

    def _cpu(self) -> Counter[str]:
        used = self._family.cpu_seconds()
        del used[DBT]  # what we have started ourselves, to look at the others
        return used

    def _note(self, measured: Ran, dag_id: str, run_id: str) -> None:
        """Who ran the tasks of a run."""
        ran = {task: self._workers[host] for task, host in self._here.machines(run_id, dag_id).items()}
        measured.tasks = Counter(ran.values())
        measured.ahead = Counter(ran[task] for task in self._here.built_ahead(run_id, dag_id))
        measured.builder = ran.get("build_ahead", "")
        this = f"dag_id = '{dag_id}' and run_id = '{run_id}' and (dag_id = 'floor' or task_id like 'transform.%')"
        middle = "percentile_cont(0.5) within group (order by duration)"
        measured.task = float(self._here.sql("airflow", f"select {middle} from task_instance where {this}"))  # noqa: S608


def measure(here: Deployment, home: Path, name: str, runs: int, progress: Progress) -> list[str]:
    """Run a project in every way; its tables, as lines of Markdown."""
    progress.say(name)
    with progress.step("Putting it into an image and starting that"):
        deployment = _with_project(here, home / name, name)
    bench = Bench(deployment, progress)
    ours = {"full_refresh": True} if name == "greenery" else {}
    # Ours before anything else: the first run makes the tables that later ones replace.
    told = [bench.dag("ours", DAG_ID, runs, **ours)]
    if name != "greenery":
        told.append(bench.dag("each by itself", DAG_ID, 1, ahead=False))
    told.append(bench.dag("floor", "floor", 1))
    return table(name, [bench.build(runs), *told], bench.warm_ups())


def _with_project(here: Deployment, home: Path, name: str) -> Deployment:
    """The deployment with a project, and `floor` beside its DAG, once Airflow has read both."""
    (home / "dags").mkdir(parents=True)
    home.chmod(0o755)
    shutil.copy(ways.DAGS / "floor.py", home / "dags")
    change = "cp /bench/dags/*.py dags/"
    if name != "greenery":
        generated.write(home / "dbt", name)
        shutil.copy(ways.DAGS / "generated.py", home / "dags" / f"{DAG_ID}.py")
        change += " && rm -r dbt/* && cp -r /bench/dbt/. dbt/"
    deployment = here.upgraded(change, "--volume", f"{home}:/bench:ro")
    began = here.sql("airflow", "select now()")
    deployment.compose(*containers.UP)
    known = f"dag_id in ('{DAG_ID}', 'floor') and last_parsed_time > '{began}'"
    read = f"select count(*) from dag where {known}"  # noqa: S608 - ours
    deployment.wait_for("airflow", read, "2", 300)
    deployment.wait_until_idle()
    return deployment


def table(name: str, ways: list[Ran], notes: list[str]) -> list[str]:
    """What became of a project, with the bare build first, as lines of Markdown."""
    bare, *dags = ways
    lines = [
        f"### {name}",
        "",
        "| | seconds (least to most) | times `dbt build` | CPU seconds | times | others |",
        f"|---{'|---:' * 5}|",
    ]
    for way in ways:
        seconds = [one.seconds for one in way.runs]
        cells = (
            way.name,
            f"{way.seconds:.1f} ({min(seconds):.1f} to {max(seconds):.1f})",
            f"**{way.seconds / bare.seconds:.2f}**",
            f"{way.cpu:.1f}",
            f"{way.cpu / bare.cpu:.2f}",
            f"{statistics.median(one.others for one in way.runs):.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"| tasks of | {' | '.join(map(_short, WORKERS))} | of them built ahead | seconds of a model's "
        "| CPU seconds a task, workers | all |",
        f"|---{'|---:' * (len(WORKERS) + 4)}|",
    ]
    for way in dags:
        number, workers = way.tasks.total(), sum(way.share(one) for one in WORKERS)
        cells = (
            way.name,
            *(str(way.tasks[one]) for one in WORKERS),
            " + ".join(str(way.ahead[one]) for one in WORKERS),
            f"{way.task:.2f}",
            f"{workers / number:.2f}",
            f"{way.cpu / number:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    head = [f"{' | '.join(map(_short, PARTS))} |", f"|---{'|---:' * len(PARTS)}|"]
    lines += ["", f"| CPU seconds of | {head[0]}", head[1]]
    lines += [f"| {way.name} | {' | '.join(f'{way.share(part):.1f}' for part in PARTS)} |" for way in ways]
    lines += ["", f"| peak MB of | {head[0]}", head[1]]
    lines += [f"| {way.name} | {' | '.join(f'{way.megabytes[part]:,.0f}' for part in PARTS)} |" for way in ways]
    built = [
        f"In the last run of `{way.name}`, {_short(way.builder)} ran `build_ahead`." for way in dags if way.builder
    ]
    return [*lines, "", *built, *notes, ""]


def _short(container: str) -> str:
    """A container's name as the tables have it; only of the workers there are two."""
    name = container.removeprefix("greenery-")
    return name if container in WORKERS else name.removesuffix("-1")


def main() -> None:
    """Run the benchmark and print the tables of each project as soon as it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.celery", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=2, help="timed runs of ours and dbt build; default: %(default)s")
    parser.add_argument(
        "projects", nargs="*", default=PROJECTS, help="greenery, or generated ones; default: " + " ".join(PROJECTS)
    )
    arguments = parser.parse_args()
    if reason := containers.missing():
        print(f"Celery in containers was not measured: {reason}.", file=sys.stderr)
        return
    progress = Progress()
    print(f"{processes.machine()}; two Celery workers in containers, 4 tasks at a time, 4 threads\n", flush=True)
    with folder.working() as home, ExitStack() as stack:
        with progress.step("Building the image and starting docker-compose.yaml"):
            here = stack.enter_context(containers.up(home, profiles="demo,celery", executor="CeleryExecutor"))
        for name in arguments.projects:
            print("\n".join(measure(here, home, name, arguments.runs, progress)), flush=True)


if __name__ == "__main__":
    main()
