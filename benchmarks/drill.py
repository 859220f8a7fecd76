"""The disaster drill: a deployed shop of two weeks is lost, and brought back from a backup and the shop: `make drill`.

The shop has a database of its own, on a server that is not lost. Beside it a deployment: Airflow, its database and the
warehouse. Each day the shop's day is loaded from there, built, snapshotted and published: most days without a
scheduler, in this process, the last ones by greenery_daily on the real Airflow. Then `make backup`; then all of the
deployment but its secrets is deleted while it runs; then `make restore` into a new server, Airflow is started, and
greenery_daily runs once. Every row of every published table has to be as it was, and what people did in Airflow there.

Prints what took how long. Exit code 1 with the differences, if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography.fernet import Fernet
from dbt.cli.main import dbtRunner

from benchmarks import folder
from include.command_line import log_to_stderr
from include.daily import DAG_ID, buffers
from include.dbt_project.manifest import Manifest
from include.demo_shop import demo
from include.local import postgres, warehouse
from include.local.airflow_api import AirflowApi
from include.local.demo import run_daily
from include.local.progress import Progress
from include.local.stack import Stack
from include.publish.publish import publish_run
from include.raw import live
from include.results import runs
from include.settings import LIVE, PROJECT_ROOT, Warehouse
from include.warehouse import connect

DAYS, BY_AIRFLOW = 14, 2
ORDERS_PER_DAY = 60
PROJECT = PROJECT_ROOT / "dbt"
# Tests of the data hold back no figure here: whether figures are the same is the question.
BUILD = ("build", "--select", "path:models", "path:snapshots", "--exclude-resource-type", "test", "unit_test")
NOTHING_TO_PROVE = Manifest({}, {})
# What somebody made in Airflow's UI: a connection with a password, and a variable.
MADE = {
    "connections": {
        "connection_id": "suppliers",
        "conn_type": "http",
        "host": "example.com",
        "password": "of the drill",
    },
    "variables": {"key": "season", "value": "autumn"},
}


@dataclass
class Watch:
    """What took how long, in seconds, in the order in which it was done."""

    progress: Progress
    took: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Time a block."""
        began = time.monotonic()
        with self.progress.step(what):
            yield
        self.took[what] = time.monotonic() - began


class Deployment:
    """A deployment in a folder, that loads a shop's database."""

    def __init__(self, home: Path, shop: Warehouse, progress: Progress) -> None:
        password = f":{shop.password}" if shop.password else ""
        self.shop = {
            "SHOP_DATABASE_URL": f"postgresql://{shop.user}{password}@/{shop.database}?host={shop.host}&port={shop.port}",
            "SHOP_DATABASE_SCHEMA": "raw",
        }
        self.stack = Stack(home, progress, extra_env={**self.shop, "GREENERY_SCHEDULE": ""})
        self.home = self.stack.home

    def make(self, *arguments: str) -> str:
        """What `make backup` and `make restore` call; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "include.local", *arguments],
            env={**os.environ, "GREENERY_STATE_DIR": str(self.home)},
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"python -m include.local {' '.join(arguments)} failed")
        return done.stdout.strip()

    def lose(self) -> None:
        """All of it at once, as a machine is lost: nobody is asked first. Its secrets are kept elsewhere."""
        running = self.stack.running()
        for pid in running.pids.values() if running else ():
            for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
                process.kill()
        postmaster = postgres.server_process(self.home / "postgres")
        family = psutil.Process(postmaster).children(recursive=True)
        psutil.Process(postmaster).kill()
        psutil.wait_procs(family, timeout=20)
        shutil.rmtree(self.home)


class Days:
    """Days of the pipeline without a scheduler: load, build, snapshot, publish."""

    def __init__(self, deployment: Deployment, server: postgres.LocalPostgres, work: Path) -> None:
        loader = warehouse.as_loader(server)
        os.environ.update(warehouse.as_transformer(server).environment())
        os.environ.update({"WAREHOUSE_LOADER_USER": loader.user, "WAREHOUSE_LOADER_PASSWORD": loader.password})
        os.environ.update(deployment.shop)
        self.work, self.runs = work, 0
        self.manifest = dbtRunner().invoke(["--quiet", "parse", *self._flags()]).result

    def run(self) -> None:
        """One day. Raises SystemExit where dbt fails."""
        self.runs += 1
        run_id = f"day {self.runs}"
        live.load_shop()
        with connect("greenery drill") as connection:
            runs.begin(connection, run_id, "the drill's")
            buffers.begin(connection, run_id, full_refresh=False)
        done = dbtRunner(manifest=self.manifest).invoke([*BUILD, "--quiet", *self._flags()])
        if not done.success:
            raise SystemExit(f"dbt failed: {done.exception or 'its output says why'}")
        publish_run(run_id, NOTHING_TO_PROVE)

    def _flags(self) -> list[str]:
        return [
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(self.work / "target"), "--log-path", str(self.work / "logs")),
        ]


def play_day(shop: Warehouse) -> None:
    """The shop's next day, in its own database."""
    with connect("greenery drill", shop) as connection:
        first = datetime.now(UTC).date() - timedelta(days=DAYS + 1)
        demo.play_day(connection, demo.next_day(connection), orders_per_day=ORDERS_PER_DAY, first_day=first)


def rows(where: Warehouse, schema: str) -> dict[str, list[str]]:
    """Every row of every table of a schema, as text."""
    found = {}
    with connect("greenery drill", where) as connection, connection.cursor() as cursor:
        cursor.execute("select tablename from pg_tables where schemaname = %s order by 1", (schema,))
        for (name,) in cursor.fetchall():
            cursor.execute(f"select whole::text from {schema}.{name} as whole order by 1")  # noqa: S608 - ours
            found[name] = [row for (row,) in cursor.fetchall()]
    return found


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """What is not as it was: by table how many rows, and the first of them."""
    said = []
    for name in sorted(before.keys() | after.keys()):
        lacking = sorted(set(before.get(name, ())) - set(after.get(name, ())))
        new = sorted(set(after.get(name, ())) - set(before.get(name, ())))
        if lacking or new or len(before.get(name, ())) != len(after.get(name, ())):
            said.append(f"{name}: {len(lacking)} rows are gone and {len(new)} are new")
            said += [f"  - {row}" for row in lacking[:3]] + [f"  + {row}" for row in new[:3]]
    return said


def in_airflow(server: postgres.LocalPostgres, fernet: str) -> dict[str, list[str]]:
    """What people would miss of Airflow: runs that ended, connections with their passwords, variables."""
    where = server.database("airflow")
    with connect("greenery drill", where) as connection, connection.cursor() as cursor:
        cursor.execute("select dag_id || ' ' || run_id || ' ' || state from dag_run where state = 'success' order by 1")
        ended = [row for (row,) in cursor.fetchall()]
        cursor.execute("select conn_id, password from connection order by 1")
        opened = [f"{name} {Fernet(fernet).decrypt(secret.encode()).decode()}" for name, secret in cursor.fetchall()]
        cursor.execute("select key, val from variable order by 1")
        variables = [f"{key} {Fernet(fernet).decrypt(value.encode()).decode()}" for key, value in cursor.fetchall()]
    return {"runs": ended, "connections": opened, "variables": variables}


def drill(work: Path, watch: Watch) -> list[str]:
    """Play it; returns what is not as it was."""
    shops = postgres.start(work / "shop" / "postgres", settings={"fsync": "off"})
    postgres.ensure_database(shops, "shop")
    return _lose_and_recover(work, shops.database("shop"), watch)


def _lose_and_recover(work: Path, shop: Warehouse, watch: Watch) -> list[str]:
    former = Deployment(work / "former", shop, watch.progress)
    with former.stack.session(keep=True) as server:
        with watch.step(f"{DAYS - BY_AIRFLOW} days without a scheduler"):
            days = Days(former, server, work / "dbt")
            for _ in range(DAYS - BY_AIRFLOW):
                play_day(shop)
                days.run()
        with watch.step(f"{BY_AIRFLOW} days on Airflow"):
            for _ in range(BY_AIRFLOW):
                play_day(shop)
                _run(former, server)
        api = AirflowApi(former.stack.airflow(server).url, *former.stack.login())
        for kind, made in MADE.items():
            api.make(kind, made)
        secrets = (former.home / "secrets.json").read_text()
        figures = rows(warehouse.as_admin(server), LIVE)
        airflow = in_airflow(server, json.loads(secrets)["fernet"])
    with watch.step("Backup"):
        backup = Path(former.make("backup", "save", str(work / "backups")))
    size = sum(file.stat().st_size for file in backup.iterdir())
    former.lose()
    lost_at = time.monotonic()
    counted = sum(map(len, figures.values()))
    watch.progress.say(
        f"All is lost but the shop, the secrets and a backup of {size:,} bytes. Published: {counted:,} rows."
    )

    new = Deployment(work / "new", shop, watch.progress)
    new.home.mkdir()
    (new.home / "secrets.json").touch(mode=0o600)
    (new.home / "secrets.json").write_text(secrets)
    with new.stack.session() as server:
        with watch.step("Restore"):
            new.make("backup", "restore", str(backup))
        with watch.step("Start of Airflow"):
            new.stack.airflow(server)
        with watch.step("First run: load of all, build, publish"):
            _run(new, server)
        watch.took["**From the loss to the publish**"] = time.monotonic() - lost_at
        said = differences(figures, rows(warehouse.as_admin(server), LIVE))
        after = in_airflow(server, json.loads(secrets)["fernet"])
        said += [
            f"In Airflow: no {one} among {kind}" for kind in airflow for one in airflow[kind] if one not in after[kind]
        ]
        return said


def _run(deployment: Deployment, server: postgres.LocalPostgres) -> None:
    outcome = run_daily(deployment.stack, server)
    if outcome.state != "success":
        raise SystemExit(f"{DAG_ID} ended as {outcome.state}:\n" + "\n".join(outcome.messages))


def main() -> int:
    """Play the drill in a folder of its own, and print its times."""
    argparse.ArgumentParser(prog="python -m benchmarks.drill", description=__doc__).parse_args()
    log_to_stderr()
    began, watch = time.monotonic(), Watch(Progress())
    with folder.working() as work:
        said = drill(work, watch)
    print("| | seconds |\n|---|---:|")
    for what, seconds in {**watch.took, "The whole drill": time.monotonic() - began}.items():
        print(f"| {what} | {seconds:.0f} |")
    if said:
        print("\nNot as it was:\n" + "\n".join(said))
        return 1
    print("\nEvery published figure is as it was, and so is what people did in Airflow.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
