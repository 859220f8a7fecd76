"""What tasks inherit from the process that forks them: code and the current release, and nothing that is open."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from include import settings
from include.daily.warm_up import WARM_UP
from include.dbt_project import release
from include.demo_shop import demo
from include.fast_cosmos import invocation, warm_up
from include.fast_cosmos.releases import Release
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.settings import PROJECT_ROOT
from include.warehouse import connect, migrate
from tests.forks import Forks, fork_dbt
from tests.include.preview import shop

pytestmark = pytest.mark.db

# Runs in a process of its own, since what a process has imported can't be taken back: prints what the test asks about.
IN_A_PROCESS = """
import json, os, signal, sys, tempfile, threading
from multiprocessing.process import current_process
from pathlib import Path
import psutil

current_process()._config["semprefix"] = f"/of-{os.getpid()}"  # what locks are called, here and in forks
from include.daily.warm_up import WARM_UP
from include.dbt_project import manifest, release
from include.fast_cosmos import invocation

WARM_UP.follow()
told = {
    "threads": threading.active_count(),
    "connections": len(psutil.Process().net_connections()),
    "loaded": [one.stamp for one in WARM_UP.loaded if one],
}


def task(select, began=None):
    # Forks a task; returns its process id and where it writes what it found. `began` is called before dbt runs its SQL.
    read, write = os.pipe()
    if pid := os.fork():
        os.close(write)
        return pid, read
    before, misses = set(sys.modules), invocation.load.cache_info().misses
    tests = manifest.read(release.current().manifest).tests_of(f"model.small.{select}")
    done = invocation.invoke(release.current(), ["build", "--quiet", "--select", select], tests=tests, began=began)
    found = {
        "imported": sorted(set(sys.modules) - before),
        "loads": invocation.load.cache_info().misses - misses,
        "statuses": sorted({str(one.status) for one in done.result.results}),
    }
    os.write(write, json.dumps(found).encode())
    os._exit(0)


def found_by(pid, read):
    os.waitpid(pid, 0)
    return json.loads(os.read(read, 1_000_000) or "null")


told["killed"] = found_by(*task("stg_users", lambda _: os.kill(os.getpid(), signal.SIGKILL)))
told["folders"] = [len(list(Path(tempfile.gettempdir()).glob("fast-cosmos-*")))]
side_by_side = [task(name) for name in ("stg_promos", "stg_users", "stg_products")]
told["tasks"] = [found_by(*one) for one in side_by_side]
told["locks"] = len(list(Path("/dev/shm").glob(f"sem.of-{os.getpid()}-*")))
told["folders"] += [len(list(Path(tempfile.gettempdir()).glob("fast-cosmos-*")))]
print(json.dumps(told))
"""

# The same of a DAG processor: what a fork of it would import to read the file of the daily DAG.
READING = """
import json, sys
from airflow.jobs.job import Job
from airflow.serialization.serialized_objects import DagSerialization
from include.daily.warm_up import WARM_UP

sys.argv = ["airflow", "dag-processor"]
WARM_UP.on_starting(Job())
from airflow.dag_processing.dagbag import BundleDagBag

before = set(sys.modules)
bag = BundleDagBag(dag_folder="dags/greenery_daily.py", bundle_path="dags", bundle_name="dags-folder")
told = {dag_id: len(DagSerialization.to_dict(dag)["dag"]["tasks"]) for dag_id, dag in bag.dags.items()}
print(json.dumps([told, sorted(set(sys.modules) - before)]))
"""

FILES = {
    "dbt_project.yml": shop.PROJECT,
    "models/staging/_sources.yml": """
sources: [{name: shop, schema: raw, tables: [{name: promos}, {name: users}, {name: products}]}]
models:
  - {name: stg_promos, columns: [{name: promo_id, data_tests: [unique]}]}
  - {name: stg_users, columns: [{name: user_id, data_tests: [unique]}]}
  - {name: stg_products, columns: [{name: product_id, data_tests: [unique]}]}
""",
    "models/staging/stg_promos.sql": "select promo_id from {{ source('shop', 'promos') }}",
    "models/staging/stg_users.sql": "select user_id from {{ source('shop', 'users') }}",
    "models/staging/stg_products.sql": "select product_id from {{ source('shop', 'products') }}",
}


@pytest.fixture(scope="module")
def home(server: LocalPostgres, dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a release of a small project, and a warehouse with the shop's first day."""
    project = tmp_path_factory.mktemp("project")
    shop.write(project, FILES)
    postgres.ensure_database(server, "warm")
    where = server.database("warm")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in where.environment().items():
            environment.setenv(name, value)
        environment.setenv("GREENERY_DBT_DIR", str(project))
        environment.setenv("GREENERY_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        fork_dbt(dbts, environment)
        migrate.upgrade()
        with connect() as connection:
            demo.play_day(connection, 1, orders_per_day=3)
        release.refresh()
        yield settings.state_dir()


@pytest.fixture(scope="module")
def told(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a warm process and tasks forked from it say of themselves."""
    command = [sys.executable, "-c", IN_A_PROCESS]
    environment = os.environ | {"TMPDIR": str(tmp_path_factory.mktemp("temporary"))}
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_fork_copies_nothing_that_is_open(told: dict) -> None:
    assert told["loaded"] == [release.current().stamp]
    assert (told["threads"], told["connections"]) == (1, 0)


def test_tasks_side_by_side_and_after_a_killed_one_find_everything_loaded(told: dict) -> None:
    assert told["killed"] is None
    assert [one["imported"] for one in told["tasks"]] == [[], [], []]
    assert [one["loads"] for one in told["tasks"]] == [0, 0, 0]
    assert [one["statuses"] for one in told["tasks"]] == [["pass", "success"]] * 3


def test_neither_the_warm_up_nor_a_task_leaves_a_lock_of_dbts_nor_does_one_that_is_killed(told: dict) -> None:
    """In /dev/shm, which is 64 MB in a container. The killed one had begun to build."""
    assert told["locks"] == 0


def test_the_folder_that_a_killed_task_leaves_goes_with_the_next_one(told: dict) -> None:
    """It holds the SQL that dbt compiled."""
    assert told["folders"] == [1, 0]


def test_a_dag_processor_imports_nothing_to_read_the_daily_dag(home: Path) -> None:
    command = [sys.executable, "-c", READING]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told, imported = json.loads(done.stdout.splitlines()[-1])
    assert told == {"greenery_daily": 3 + 6}, "the three models, and what the DAG has besides"
    assert [name for name in imported if not name.endswith("_greenery_daily")] == []


def test_a_new_release_is_loaded_once_and_before_the_next_task(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Release | None] = []
    monkeypatch.setattr(WARM_UP, "loaded", loads)
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    shutil.copytree(home / "dbt", tmp_path / "dbt", symlinks=True)
    first = release.current()
    WARM_UP.follow()
    assert loads == [first]
    kept = invocation.load.cache_info()
    WARM_UP.follow()
    assert invocation.load.cache_info() == kept, "the same release was loaded twice"

    other = replace(first, path=first.path.with_name("other"))
    shutil.copytree(first.path, other.path)
    release.releases()._point_current_at(other.path)
    WARM_UP.follow()
    assert loads == [other]
    assert invocation.load.cache_info().misses == kept.misses + 1


def test_a_module_that_is_not_there_is_told_and_the_rest_is_loaded(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(WARM_UP, "libraries", ("no_such_module",))
    monkeypatch.setattr(WARM_UP, "loaded", [])
    invocation.load.cache_clear()
    with caplog.at_level(logging.WARNING, warm_up.__name__):
        WARM_UP.follow()
    assert "no_such_module" in caplog.text
    assert invocation.load.cache_info().currsize == 1


def test_a_warm_up_that_fails_is_told_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(WARM_UP, "loaded", [])
    empty = tmp_path / "dbt" / "releases" / "empty"
    empty.mkdir(parents=True)
    release.releases()._point_current_at(empty)
    with caplog.at_level(logging.ERROR, warm_up.__name__):
        WARM_UP.follow()
        WARM_UP.follow()
    assert caplog.text.count("Warm-up failed") == 1
