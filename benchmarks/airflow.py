"""What Airflow itself comes to after a thousand runs: memory, its database, `airflow db clean`: a part of `make bench`.

A real Airflow runs ten days of the demo shop one right after the other, a thousand runs of a DAG of the same number
of tasks, none of which needs a worker, and a thousand tasks on its workers that do nothing. Then its database gets a
thousand days of the daily DAG and of the watchdog as rows, copied from a run of each: nobody has pruned it in all that
time. What was a run is said in the table that is printed, and what only rows.

    python -m benchmarks.airflow --daily 10 --runs 1000 --days 1000
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from benchmarks import folder, processes
from benchmarks.processes import Processes, memory_of
from include import words
from include.daily import DAG_ID
from include.demo_shop import demo as demo_shop
from include.local import warehouse
from include.local.airflow_api import AirflowApi
from include.local.postgres import LocalPostgres
from include.local.progress import Progress, silent
from include.local.stack import COMPONENTS, Stack
from include.settings import PROJECT_ROOT
from include.slack.notices import WATCHDOG
from include.warehouse import connect

DAGS = PROJECT_ROOT / "benchmarks" / "dags"
KEPT_DAYS = 90
# Nine layers of four: the daily DAG has 35 tasks, and its longest way through them is as long.
WIDE, LONG = 4, 9
LIMIT_SECONDS = 1200
# Airflow's tables that a run leaves rows in, in the order in which one refers to another.
TABLES = ("dag_run", "task_instance", "rendered_task_instance_fields", "xcom", "log")
VIEWS = (
    "/ui/dags?limit=50",
    f"/ui/grid/runs/{DAG_ID}?limit=14&order_by=-run_after",
    f"/api/v2/dags/{DAG_ID}/dagRuns?limit=50&order_by=-run_after",
    "/api/v2/dags/~/dagRuns/~/taskInstances?limit=50&order_by=-start_date",
)


@dataclass(frozen=True)
class Look:
    """Airflow at one moment: MB of each component with its processes, shared pages counted once, and of its database.

    `files` are those that each has open, its connections among them, and `sessions` what Postgres has in all. `daily`
    are the seconds of a run of the daily DAG, `views` the milliseconds of some pages of the UI.
    """

    when: str
    memory: dict[str, float]
    files: dict[str, int]
    sessions: int
    database: float
    rows: int
    daily: float | None = None
    views: tuple[float, ...] = ()


class Bench:
    """An Airflow that is up, and what it came to so far."""

    def __init__(self, stack: Stack, server: LocalPostgres, progress: Progress) -> None:
        self.server, self.progress = server, progress
        self.running = stack.airflow(server)
        self.api = AirflowApi(self.running.url, *stack.login())
        self.environment = stack.environment(server, int(self.running.url.rsplit(":", 1)[1]))
        self.looks: list[Look] = []

    def look(self, when: str, *, run: bool = False) -> None:
        """Look at all of it, after a run of the daily DAG where that is asked for."""
        daily = self.run(DAG_ID) if run else None
        views = tuple(min(self._ask(view) for _ in range(3)) for view in VIEWS) if run else ()
        with self._database() as connection, connection.cursor() as cursor:
            cursor.execute("select pg_database_size(current_database()) / 1e6")
            [[size]] = cursor.fetchall()
            cursor.execute("select (select count(*) from dag_run) + (select count(*) from task_instance)")
            [[rows]] = cursor.fetchall()
            cursor.execute("select count(*) from pg_stat_activity where backend_type = 'client backend'")
            [[sessions]] = cursor.fetchall()
        leaders = {name: psutil.Process(pid) for name, pid in self.running.pids.items()}
        families = {name: [leader, *leader.children(recursive=True)] for name, leader in leaders.items()}
        memory = {name: memory_of(family).peak for name, family in families.items()}
        files = {name: sum(map(_open_files, family)) for name, family in families.items()}
        self.looks.append(Look(when, memory, files, sessions, float(size), rows, daily, views))
        each = (f"{name} {mb:.0f} MB and {files[name]} open files" for name, mb in memory.items())
        self.progress.say(f"{when}: {', '.join(each)}, {sessions} sessions")

    def run(self, dag_id: str) -> float:
        """Run a DAG once; its seconds."""
        self.api.wait_for_dag(dag_id, limit_seconds=LIMIT_SECONDS)
        began = time.monotonic()
        state = self.api.wait_for_run(dag_id, self.api.trigger(dag_id), limit_seconds=LIMIT_SECONDS)
        if state != "success":
            raise SystemExit(f"{dag_id} ended as {state}")
        return time.monotonic() - began

    def run_days(self, days: int, every: int) -> None:
        """Play so many days of the shop, a run of the daily DAG after each, with a look every so many."""
        for day in range(1, days + 1):
            with connect("greenery bench", warehouse.as_loader(self.server)) as connection:
                demo_shop.play_day(connection, demo_shop.next_day(connection))
            self.run(DAG_ID)
            if day % every == 0:
                self.look(f"after {words.count(day, 'day')} more")

    def run_many(self, dag_id: str, runs: int, tasks: int) -> str:
        """Run a DAG of so many tasks so often, some runs at a time, until all have ended; what that took."""
        self.api.wait_for_dag(dag_id, limit_seconds=LIMIT_SECONDS)
        began, before = time.monotonic(), self._cpu()
        for _ in range(runs):
            self.api.trigger(dag_id)
        with self._database() as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while time.monotonic() < began + LIMIT_SECONDS:
                cursor.execute(
                    "select count(*) filter (where state in ('queued', 'running')),"
                    " count(*) filter (where state = 'failed') from dag_run where dag_id = %s",
                    (dag_id,),
                )
                [[left, failed]] = cursor.fetchall()
                if failed:
                    raise SystemExit(f"{failed} runs of {dag_id} failed")
                if not left:
                    each = 1000 / runs / tasks
                    spent = {who: each * (seconds - before[who]) for who, seconds in self._cpu().items()}
                    whose = ", ".join(f"{who} {ms:.1f}" for who, ms in spent.items())
                    return (
                        f"{runs:,} runs of `{dag_id}`, of {tasks} tasks each, took {time.monotonic() - began:.0f} s, "
                        f"and a task {sum(spent.values()):.0f} ms of the processors: {whose} "
                        f"(load {os.getloadavg()[0]:.0f})."
                    )
                time.sleep(1)
        raise SystemExit(f"{left} runs of {dag_id} have not ended after {LIMIT_SECONDS} s")

    def _cpu(self) -> dict[str, float]:
        """Seconds of the processors that each part of Airflow has had so far, and Postgres."""
        used = Processes(self.server.data, self.running.pids).cpu_seconds()
        return {
            "scheduler": used[processes.SCHEDULER],
            "workers and their tasks": used[processes.TASKS],
            "API server": used["api-server"],
            "DAG processor and triggerer": used["dag-processor"] + used["triggerer"],
            "Postgres": used[processes.AIRFLOWS] + used[processes.WAREHOUSES],
        }

    def copy(self, days: int) -> None:
        """Give the database so many days of the daily DAG's last run, and of one of the watchdog every five minutes."""
        with self._database() as connection, connection.cursor() as cursor:
            for dag_id, times, apart in (
                (DAG_ID, days, timedelta(days=1)),
                (WATCHDOG, days * 288, timedelta(minutes=5)),
            ):
                cursor.execute("select max(id) from dag_run where dag_id = %s and state = 'success'", (dag_id,))
                [[of]] = cursor.fetchall()
                for table in TABLES:
                    _copy(cursor, table, of, times, apart)
        with self._database() as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("vacuum analyze")

    def clean(self) -> float:
        """Seconds of what docs/operations.md says to call once a week; a vacuum then gives the disk back."""
        before = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
        command = (
            *(sys.executable, "-m", "airflow", "db", "clean", "--clean-before-timestamp", before.isoformat()),
            *("--skip-archive", "--yes", "--error-on-cleanup-failure"),
        )
        began = time.monotonic()
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=PROJECT_ROOT)
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"airflow db clean failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        with self._database() as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("vacuum full")
        return seconds

    def _ask(self, view: str) -> float:
        began = time.monotonic()
        self.api.client.get(view).raise_for_status()
        return (time.monotonic() - began) * 1000

    def _database(self) -> AbstractContextManager[Connection]:
        return connect("greenery bench", self.server.database("airflow"))


def _open_files(process: psutil.Process) -> int:
    """None of one that has ended."""
    try:
        return process.num_fds()
    except psutil.Error:
        return 0


def _copy(cursor: Cursor, table: str, dag_run: int, times: int, apart: timedelta) -> None:
    """Copy what a run has in one of Airflow's tables into the past, so many times."""
    cursor.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name = %s order by ordinal_position",
        (table,),
    )
    values: dict[str, sql.Composable] = {}
    for name, kind in cursor.fetchall():
        column = sql.Identifier("one", name)
        if name == "id" and kind != "uuid":
            continue  # a sequence
        if name == "id":
            value = sql.SQL("gen_random_uuid()")
        elif name == "run_id":
            value = sql.SQL("'past__' || back")
        elif name == "dag_run_id":
            value = sql.SQL("past.id")
        elif name == "logical_date" and table == "dag_run":
            value = sql.SQL("one.run_after - back * {}").format(sql.Literal(apart))
        elif kind == "timestamp with time zone":
            value = sql.SQL("{} - back * {}").format(column, sql.Literal(apart))
        else:
            value = column
        values[name] = value
    past = sql.SQL(
        ""
        if table == "dag_run"
        else "join dag_run as past on past.dag_id = run.dag_id and past.run_id = 'past__' || back"
    )
    cursor.execute(
        sql.SQL(
            "insert into {table} ({columns}) select {values} from dag_run as run"
            " join {table} as one using (dag_id, run_id) cross join generate_series(1, {times}) as back {past}"
            " where run.id = {dag_run}"
        ).format(
            table=sql.Identifier(table),
            columns=sql.SQL(", ").join(map(sql.Identifier, values)),
            values=sql.SQL(", ").join(values.values()),
            times=sql.Literal(times),
            past=past,
            dag_run=sql.Literal(dag_run),
        )
    )


def _table(looks: list[Look]) -> list[str]:
    lines = [
        f"| | {' MB | '.join(COMPONENTS)} MB | open files of each | sessions | database MB | runs and tasks |"
        f" a run of `{DAG_ID}`, s | pages, ms |",
        f"|---|{'---:|' * (len(COMPONENTS) + 6)}",
    ]
    for look in looks:
        cells = (
            look.when,
            *(f"{look.memory[name]:.0f}" for name in COMPONENTS),
            ", ".join(str(look.files[name]) for name in COMPONENTS),
            f"{look.sessions}",
            f"{look.database:,.0f}",
            f"{look.rows:,}",
            f"{look.daily:.1f}" if look.daily else "",
            ", ".join(f"{one:.0f}" for one in look.views),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.airflow", description=main.__doc__)
    parser.add_argument(
        "--daily", type=int, default=10, help="days of the shop, one right after the other; default: %(default)s"
    )
    parser.add_argument(
        "--runs", type=int, default=1000, help="runs without a worker, and tasks on one; default: %(default)s"
    )
    parser.add_argument("--days", type=int, default=1000, help="days that are copied as rows; default: %(default)s")
    arguments = parser.parse_args()
    os.environ["GREENERY_SCHEDULE"] = ""
    lines = []
    with folder.working() as home:
        dags = home / "dags"
        shutil.copytree(PROJECT_ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(DAGS / "played.py", dags)
        environment = {"AIRFLOW__CORE__DAGS_FOLDER": str(dags), "BENCH_TASKS": f"{WIDE} {LONG}"}
        stack = Stack(home, silent(), extra_env=environment)
        with stack.session() as server:
            warehouse.prepare(server)
            with connect("greenery bench", warehouse.as_loader(server)) as connection:
                demo_shop.play_day(
                    connection, 1, first_day=datetime.now(UTC).date() - timedelta(days=arguments.daily + 2)
                )
            bench = Bench(stack, server, Progress())
            bench.run(DAG_ID)
            bench.look("after its first run", run=True)
            bench.run_days(arguments.daily, every=max(1, arguments.daily // 2))
            if arguments.runs:
                lines.append(bench.run_many("without_workers", arguments.runs, WIDE * LONG))
                bench.look(f"after {arguments.runs:,} runs whose tasks need no worker")
                lines.append(bench.run_many("on_workers", arguments.runs // WIDE, WIDE))
                bench.look(f"after {arguments.runs:,} tasks on workers", run=True)
            if arguments.days:
                bench.run(WATCHDOG)
                bench.copy(arguments.days)
                bench.look(f"with {arguments.days:,} days that nobody pruned, as rows", run=True)
                seconds = bench.clean()
                lines.append(f"`airflow db clean` took {seconds:.0f} s (load {os.getloadavg()[0]:.0f}).")
                bench.look(f"pruned to {KEPT_DAYS} days, after `vacuum full`", run=True)
    print(
        f"{processes.machine()}; pages: {', '.join(f'`{view}`' for view in VIEWS)}",
        "",
        *_table(bench.looks),
        "",
        *lines,
        sep="\n",
    )


if __name__ == "__main__":
    main()
