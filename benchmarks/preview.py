"""What a preview costs on a large history, beside a full build of what it touches: `make bench BENCH=preview`.

Plays the demo shop into a Postgres of its own until it has so many events, builds and publishes all of it, then changes
`fact_orders`. That model and all downstream of it are built in full with their tests, as a daily run has them, and the
change is previewed: with nothing parsed before, again, and after a day was loaded, when the base has to be built too.

    python -m benchmarks.preview --events 1000000
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbt.cli.main import dbtRunner

from benchmarks import folder
from benchmarks.size import PROJECT, SERVER, STEPS, Bench
from include import settings
from include.daily import buffers
from include.dbt_project import release
from include.local import postgres
from include.local.progress import Progress
from include.preview.preview import make
from include.preview.report import Report
from include.publish.publish import publish_run
from include.results import node_results, nodes, runs
from include.warehouse import connect, roles

ORDERS_PER_DAY = 1_000
CHANGED = Path("models/marts/core/fact_orders.sql")
BEFORE, AFTER = "orders.is_late\n", "orders.delivery_hours > 48 as is_late\n"


class Steps:
    """What a preview is about, with the seconds of each step. A step within one is its part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """The block is under way."""
        began = time.monotonic()
        self.seconds[what] = 0.0  # in the order in which they begin
        try:
            yield
        finally:
            self.seconds[what] = time.monotonic() - began

    def at(self, how_far: str) -> None:
        """How far the step is."""

    def say(self, line: str) -> None:
        """A line beside the steps."""


class Shop(Bench):
    """A demo shop whose runs are published with all that they leave in `ops`."""

    def _flags(self) -> list[str]:
        """A copy of the project that knows its macros, as a release does."""
        project = self.work / "project"
        if not project.exists():
            copy_project(project)
            release.write_macros_hash(project)
        return [flag if flag != str(PROJECT) else str(project) for flag in super()._flags()]

    def publish(self) -> None:
        """Build everything in full, test it, and publish."""
        self._begin()
        for step, command in (STEPS | {"tests": ("test",)}).items():
            results = nodes.from_dbt(self._invoke(*command, "--exclude-resource-type", "unit_test"))
            with connect("bench") as connection:
                node_results.record(connection, f"run {self.runs}", step, 1, results)
                node_results.keep_compiled(connection, f"run {self.runs}", results)
        if not publish_run(f"run {self.runs}", self.facts):
            raise SystemExit("Nothing was published: ops.publications and the log above say why")

    def full_build(self, models: list[str]) -> float:
        """The seconds of a full build of these models with all their tests, as a daily run builds; the less of two."""
        self._begin()
        self._invoke("run")  # what they read
        seconds = []
        for _ in range(2):
            self._begin()
            began = time.monotonic()
            self._invoke("build", "--select", *models)
            seconds.append(time.monotonic() - began)
        return min(seconds)

    def _begin(self) -> None:
        self.runs += 1
        with connect("bench") as connection:
            runs.begin(connection, f"run {self.runs}", "bench")
            buffers.begin(connection, f"run {self.runs}", full_refresh=True)

    def _invoke(self, *command: str) -> list:
        done = dbtRunner(manifest=self.manifest).invoke([*command, "--quiet", *self._flags()])
        if not done.success:
            raise SystemExit(f"dbt {command[0]} failed: {done.exception or 'its output says why'}")
        return list(done.result.results)


def copy_project(folder: Path) -> None:
    """The dbt project, into a new folder."""
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("target", "logs"))


def repository(work: Path) -> Path:
    """The project in a git repository, with the change in its folder."""
    folder = work / "repository" / "dbt"
    copy_project(folder)
    git = ["git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    for command in (["init", "--quiet", "--initial-branch", "main"], ["add", "."], ["commit", "--quiet", "-m", "base"]):
        subprocess.run([*git, *command], check=True)
    text = (folder / CHANGED).read_text()
    if BEFORE not in text:
        raise SystemExit(f"{CHANGED} does not say {BEFORE.strip()!r} any more: let the bench change something else")
    (folder / CHANGED).write_text(text.replace(BEFORE, AFTER))
    return folder


def preview() -> tuple[Report, dict[str, float]]:
    """A preview of the change, as who develops it; the report, and the seconds of each step."""
    steps = Steps()
    with connect("bench", settings.warehouse_developer()) as connection:
        report = make(connection, "main", "bench", steps)
    return report, steps.seconds


def table(built: float, previews: dict[str, tuple[Report, dict[str, float]]]) -> str:
    """What was measured, as Markdown."""
    lines = [
        "| | seconds | full builds |",
        "|---|---:|---:|",
        f"| full build of what it touches | {built:.1f} | 1.0 |",
    ]
    for name, (report, seconds) in previews.items():
        lines.append(f"| **{name}** | **{report.seconds:.1f}** | **{report.seconds / built:.1f}** |")
        lines += [f"| - {step} | {taken:.1f} | {taken / built:.1f} |" for step, taken in seconds.items()]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preview", description=main.__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="default: %(default)s")
    arguments = parser.parse_args()
    first_day = datetime.now(UTC).date() - timedelta(days=arguments.events // (8 * ORDERS_PER_DAY) + 30)
    say = Progress().say
    with folder.working() as work:
        server = postgres.start(work / "postgres", settings=SERVER)
        shop = Shop(server, work, ORDERS_PER_DAY, first_day, say)
        shop.grow(arguments.events)
        with connect("bench") as connection:
            roles.ensure(connection, login=True)
        shop.publish()
        say("Published")
        os.environ["GREENERY_DBT_DIR"] = str(repository(work))
        os.environ["GREENERY_STATE_DIR"] = str(work / "state")
        os.environ["WAREHOUSE_DEVELOPER_USER"] = roles.DEVELOPER
        previews = {}
        for name in ("preview, nothing parsed before", "preview again", "preview after a load"):
            if name == "preview after a load":
                shop.load_a_day(datetime.now(UTC))  # after the publish, which is of now
            previews[name] = report, _ = preview()
            say(f"{name}: {report.seconds:.1f} s, {report.versus.why or 'beside what is published'}")
        touched = [one.name for one in report.plan.built()]
        built = shop.full_build(touched)
        say(f"Full build of {len(touched)} models: {built:.1f} s")
        print(f"{shop.events:,} events, {len(touched)} models touched\n\n{table(built, previews)}")


if __name__ == "__main__":
    main()
