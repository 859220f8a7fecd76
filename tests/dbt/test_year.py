"""A year of days, one right after the other: what is there after each quarter, and what has grown since the one before.

Each day is what a day is without a scheduler: the shop's load, a run's begin, its dbt with models, tests and snapshots,
the gate, the exchange and the report to a played Slack, the watchdog, and people at the page. The project is a small
one, and is changed now and then. As with Airflow, what lives for a day is a fork of a process that lives for the year:
that has loaded the project, as a worker has, and serves the page. The warehouse's clock is moved on by a day each.
Autovacuum, which would look at each table once a minute, looks once a day here, by its own rule.

What is kept for a year is kept for a quarter here. `make torture` plays 80 days; `BACK_TO_BACK=364` plays the year.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import current_process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk.execution_time.context import set_current_context
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily import DAG_ID, admission, buffers, report, snapshots, watchdog
from include.daily.warm_up import WARM_UP
from include.dbt_project import manifest, release
from include.demo_shop import demo
from include.fast_cosmos import releases
from include.fast_cosmos.invocation import invoke
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.publish.publish import publish
from include.results import nodes
from include.results.record import record
from include.settings import PROJECT_ROOT
from include.warehouse import connect, migrate, roles
from plugins.data_health.access import may_see
from plugins.data_health.app import app
from tests.clock import ServerClock, today
from tests.conftest import named_by_the_environment
from tests.faulty import opened
from tests.forks import Forks, fork_dbt
from tests.include.preview import shop
from tests.slack_server import Slack, slack_server

pytestmark = [pytest.mark.db, pytest.mark.torture]

DAYS = int(os.environ.get("BACK_TO_BACK", "80"))
QUARTER = DAYS // 4
# A new release of the project each so many days.
DEPLOYED_EVERY = 15
ORDERS_PER_DAY = 8
LIMIT_SECONDS = 600
# What this process and its forks call locks that have a name.
LOCKS = f"/year-{os.getpid()}"

FILES = {
    "dbt_project.yml": shop.PROJECT,
    "models/staging/_sources.yml": """
sources:
  - name: shop
    schema: raw
    tables:
      - {name: orders, config: {event_time: created_at}}
      - {name: order_items}
      - {name: products}
models: [{name: stg_orders, columns: [{name: order_id, data_tests: [unique]}]}]
""",
    "models/staging/stg_orders.sql": """
select order_id, user_id, status, order_total, created_at, _loaded_at from {{ source('shop', 'orders') }}
""",
    "models/marts/orders.sql": """
{{ config(materialized='incremental', meta={'key': 'order_id', 'follows': [{'of': 'stg_orders'}]}) }}
select order_id, user_id, status, order_total, created_at from {{ ref('stg_orders') }} {{ only_changed() }}
""",
    "models/marts/daily_metrics.sql": """
select 'revenue' as metric, created_at::date as day, sum(order_total) as value from {{ ref('orders') }} group by 2
union all
select 'delivered', created_at::date, count(*) filter (where status = 'delivered') from {{ ref('orders') }} group by 2
""",
    # The second always finds some, which the message tells.
    "models/marts/_marts.yml": """
models:
  - name: orders
    columns:
      - {name: order_id, data_tests: [unique]}
      - {name: status, data_tests: [{accepted_values: {arguments: {values: [delivered]}, config: {severity: warn}}}]}
""",
    "snapshots/_snapshots.yml": """
snapshots:
  - name: orders_kept
    relation: source('shop', 'orders')
    config: {strategy: check, check_cols: [status], unique_key: order_id}
""",
}
# What people ask the page for each day.
PAGES = (
    "/",
    "/history?days=365",
    "/models",
    "/models/orders",
    "/tests",
    "/messages",
    "/figures",
    "/unusual",
    "/unusual/series?about=source.small.shop.orders&measure=rows&days=365",
    "/runs?days=90",
    "/next",
)


@dataclass(frozen=True)
class Look:
    """What there was on a day. `memory` is what the process that lives on has for itself, sizes are in MB."""

    day: int
    rows: dict[str, int]
    sessions: int
    open_files: int
    threads: int
    children: int
    locks: int
    memory: float
    files: int
    releases: int
    schemas: int
    relations: int
    catalog: float
    warehouse: float
    transactions: int


class Year:
    """The days that were played so far."""

    def __init__(self, db: Connection, project: Path, slack: Slack, page: TestClient) -> None:
        self.db, self.project, self.slack, self.page = db, project, slack, page
        self.clock, self.played = ServerClock(db), 0
        self.first_day = today() - timedelta(days=DAYS + 1)
        self.clock.begin()
        self.clock.put_to(self.morning)
        migrate.upgrade()
        with connect("test") as connection:
            roles.ensure(connection, login=True)

    @property
    def morning(self) -> datetime:
        """Six in the morning after the last day that was played."""
        return datetime(*self.first_day.timetuple()[:3], 6, tzinfo=UTC) + timedelta(days=self.played)

    @property
    def run_id(self) -> str:
        """The run of the day."""
        return f"run {self.played}"

    def query(self, statement: str) -> list[tuple]:
        """The rows of a query, none for a statement that has no result."""
        with self.db.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str) -> Any:
        """The one value of a query."""
        [[value]] = self.query(statement)
        return value

    def play_day(self) -> None:
        """The next day."""
        self.played += 1
        self.clock.put_to(self.morning)
        if self.played % DEPLOYED_EVERY == 1:
            self._deploy()
        WARM_UP.follow()
        for what_lives_for_a_day in (self._load, self._run, self._watch):
            in_a_fork(what_lives_for_a_day)
        for path in PAGES if self.played % 7 == 0 else PAGES[:1]:
            self.page.get(path).raise_for_status()
        self._vacuum()
        [said] = self.slack.accepted
        assert said["text"].startswith("✅"), said["text"]
        self.slack.accepted.clear()

    def _deploy(self) -> None:
        """Another release of the project; those of before are as old as the warehouse's clock says."""
        (self.project / "models" / "marts" / "notes.md").write_text(
            f"{{% docs version %}}{self.played}{{% enddocs %}}\n"
        )
        release.refresh()
        for old in (settings.state_dir() / "dbt" / "releases").iterdir():
            then = old.stat().st_mtime - DEPLOYED_EVERY * 24 * 3600
            os.utime(old, (then, then))

    def _load(self) -> None:
        with connect("a loader") as connection:
            demo.play_day(connection, self.played, orders_per_day=ORDERS_PER_DAY, first_day=self.first_day)

    def _run(self) -> None:
        """The tasks of the daily DAG, one after the other."""
        with self._task("check_sources") as context:
            made = admission.admit(context, builds=False)
            with connect("greenery check_sources") as connection:
                buffers.begin(connection, self.run_id, full_refresh=False)
        with self._task("build_ahead") as context:
            admission.admit(context, builds=True)
            with connect("greenery build") as connection:
                buffers.mark(connection)
            facts = manifest.read(made.manifest)
            done = invoke(made, ["build", "--quiet"], tests=None)
            assert done.exception is None, done.exception
            results = nodes.from_dbt(done.result.results)
            record(self.run_id, "build_ahead", 1, results, facts)
            assert {one.status for one in results} <= {"success", "pass", "warn", "no-op"}, results
            snapshots.remember(facts, self.run_id)
        with self._task("publish"):
            publish.function()
        with self._task("report"):
            report.report.function()

    @contextmanager
    def _task(self, task_id: str) -> Iterator[dict[str, Any]]:
        """What Airflow gives to a task."""
        states = dict.fromkeys(("check_sources", "build_ahead", "publish"), "success")
        instance = SimpleNamespace(
            dag_id=DAG_ID,
            run_id=self.run_id,
            task_id=task_id,
            try_number=1,
            max_tries=0,
            get_dr_count=lambda *_, **__: 0,
            get_task_states=lambda **_: {self.run_id: states},
        )
        context: Any = {
            "run_id": self.run_id,
            "dag": SimpleNamespace(dag_id=DAG_ID),
            "dag_run": SimpleNamespace(run_type="scheduled", start_date=None),
            "ti": instance,
        }
        with set_current_context(context):
            yield context

    def _watch(self) -> None:
        assert watchdog.check(self.value("select now()")).code == watchdog.FINE

    def _vacuum(self) -> None:
        """What autovacuum would vacuum."""
        for (name,) in self.query(
            "select format('%I.%I', schemaname, pg_class.relname) from pg_stat_all_tables"
            " join pg_class on pg_class.oid = relid"
            " where n_dead_tup > 50 + 0.2 * greatest(reltuples, 0) and schemaname <> 'pg_toast'"
        ):
            self.query(f"vacuum (analyze) {name}")

    def look(self) -> Look:
        """What there is now."""
        gc.collect()
        process, state = psutil.Process(), settings.state_dir()
        tables = [name for (name,) in self.query("select tablename from pg_tables where schemaname = 'ops' order by 1")]
        return Look(
            day=self.played,
            rows={name: self.value(f"select count(*) from ops.{name}") for name in tables},
            sessions=self.value("select count(*) from pg_stat_activity where datname = current_database()"),
            open_files=process.num_fds(),
            threads=threading.active_count(),
            children=len(process.children()),
            locks=len(list(Path("/dev/shm").glob(f"sem{LOCKS.replace('/', '.')}-*"))),  # noqa: S108
            memory=process.memory_full_info().uss / 1e6,
            files=sum("releases" not in path.parts for path in state.rglob("*")),
            releases=len(list((state / "dbt" / "releases").iterdir())),
            schemas=self.value("select count(*) from pg_namespace where nspname !~ '^pg_(toast_)?temp_'"),
            relations=self.value("select count(*) from pg_class"),
            catalog=float(
                self.value(
                    "select sum(pg_total_relation_size(oid)) / 1e6 from pg_class"
                    " where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r'"
                )
            ),
            warehouse=float(self.value("select pg_database_size(current_database()) / 1e6")),
            transactions=self.value("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"),
        )


def in_a_fork(does: Callable[[], None]) -> None:
    """Do it in a process of its own, as a task is one, and wait for its end."""
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_SECONDS)
        code = 1
        try:
            does()
            code = 0
        except BaseException:  # this process must not go on as if it were the tests'
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture(scope="module")
def looks(server: LocalPostgres, dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Look]]:
    """What there was at the end of each quarter."""
    home = tmp_path_factory.mktemp("year")
    shop.write(home / "dbt", FILES)
    postgres.ensure_database(server, "year")
    where = server.database("year")
    with (
        slack_server() as slack,
        named_by_the_environment(where, server),
        pytest.MonkeyPatch.context() as environment,
        opened(where) as db,
    ):
        fork_dbt(dbts, environment)
        settled = {
            "GREENERY_STATE_DIR": str(home / "state"),
            "GREENERY_DBT_DIR": str(home / "dbt"),
            "GREENERY_SCHEDULE": "0 6 * * *",
            "AIRFLOW_CONN_SLACK_DEFAULT": slack.connection(),
            "GREENERY_KEEP_SAMPLES_DAYS": str(QUARTER // 2),
        }
        settled |= {f"GREENERY_KEEP_{what}_DAYS": str(QUARTER) for what in ("RESULTS", "MESSAGES", "OBSERVATIONS")}
        for name, value in settled.items():
            environment.setenv(name, value)
        environment.setitem(current_process()._config, "semprefix", LOCKS)
        environment.setitem(app.dependency_overrides, may_see.dependency, lambda: None)
        environment.setattr(logging.root.manager, "disable", logging.INFO)  # pytest would keep each line
        with TestClient(app) as page:
            year, found = Year(db, home / "dbt", slack, page), []
            while year.played < 4 * QUARTER:
                year.play_day()
                if year.played % QUARTER == 0:
                    found.append(year.look())
                    print(found[-1], flush=True)  # for docs/reliability.md
            yield found


# What `ops` keeps for good, since it says what was decided, told and built: some rows a day. Nothing else grows.
FOR_GOOD = {
    "runs",
    "leases",
    "publications",
    "publication_loads",
    "publication_marts",
    "publication_models",
    "rows_of_raw",
    "metrics",
    "told",
    "moves",
    "moved_rows",
    "explanations",
}
# In MB. Python's allocator gives back what it has in pieces of one.
MEMORY_TOLERANCE = 5.0


def test_ops_grows_by_what_is_kept_for_good_alone(looks: list[Look]) -> None:
    *_, third, fourth = looks
    a_day_more = 1 + 1 / QUARTER
    grew = {name for name, rows in fourth.rows.items() if rows > a_day_more * third.rows[name] + 1}
    assert grew - FOR_GOOD == set()
    for name in ("node_results", "messages", "observations"):
        assert fourth.rows[name] > 0, "it is kept for a while"


def test_what_is_kept_for_good_is_in_the_docs_and_grows_by_as_much_as_it_did(looks: list[Look]) -> None:
    _, second, third, fourth = looks
    table = (PROJECT_ROOT / "docs" / "operations.md").read_text().partition("## What grows")[2]
    said = {name for row in table.splitlines() if "| nothing" in row for name in re.findall(r"`(?:ops\.)?(\w+)`", row)}
    assert said >= FOR_GOOD
    grew = {name: (third.rows[name] - second.rows[name], fourth.rows[name] - third.rows[name]) for name in FOR_GOOD}
    assert {name: by for name, by in grew.items() if by[1] > 1.2 * by[0] + 10} == {}


def test_what_lives_on_keeps_no_connection_file_thread_process_or_lock_more(looks: list[Look]) -> None:
    *_, third, fourth = looks
    for what in ("sessions", "open_files", "threads", "children", "locks"):
        assert getattr(fourth, what) <= getattr(third, what), what


def test_what_lives_on_takes_no_more_memory(looks: list[Look]) -> None:
    *_, third, fourth = looks
    assert fourth.memory <= third.memory + MEMORY_TOLERANCE


def test_no_file_is_left_and_of_releases_the_newest(looks: list[Look]) -> None:
    *_, third, fourth = looks
    assert fourth.files == third.files
    assert fourth.releases == min(releases.KEPT, -(-fourth.day // DEPLOYED_EVERY))


def test_neither_schemas_nor_relations_nor_postgres_catalog_grow(looks: list[Look]) -> None:
    *_, third, fourth = looks
    assert (fourth.schemas, fourth.relations) == (third.schemas, third.relations)
    assert fourth.catalog <= 1.05 * third.catalog


def test_a_day_takes_as_many_transaction_ids_as_one_before(looks: list[Look]) -> None:
    """Which vacuum has to freeze; there are two thousand million."""
    _, second, third, fourth = looks
    assert fourth.transactions - third.transactions <= 1.1 * (third.transactions - second.transactions)
