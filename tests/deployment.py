"""A real deployment, one for all tests that need it: scheduler, API server, DAG processor, and a played Slack."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from include.local import demo, postgres, warehouse
from include.local.airflow_api import AirflowApi
from include.local.demo import Outcome
from include.local.stack import USER, Stack, _session
from include.settings import PROJECT_ROOT
from include.shop import csv_loader
from include.shop import demo as demo_shop
from include.warehouse import connect
from tests.slack_server import Slack, slack_server


@dataclass
class Deployment:
    """The stack that is up, and what the tests do with it."""

    stack: Stack
    server: postgres.LocalPostgres
    slack: Slack
    dbt_project: Path

    @property
    def api(self) -> AirflowApi:
        """A logged-in client of its Airflow."""
        return AirflowApi(self.stack.airflow(self.server).url, *self.stack.login())

    def fresh_warehouse(self) -> None:
        """An empty warehouse, and a Slack that has heard nothing."""
        with postgres.admin(self.server) as cursor:
            cursor.execute("drop database warehouse with (force)")
        warehouse.prepare(self.server)
        self.slack.accepted.clear()
        self.slack.posted.clear()
        self.slack.taken.clear()

    def query(self, statement: str) -> list[tuple]:
        """The rows of a query on the warehouse; [] for a statement that has none."""
        with connect("test", warehouse.as_admin(self.server)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def play_day(self) -> None:
        """The demo shop's next day."""
        with connect("test", warehouse.as_loader(self.server)) as connection:
            demo_shop.play_day(connection, demo_shop.next_day(connection))

    def load(self, folder: Path) -> None:
        """A day of a shop that delivers CSVs."""
        with connect("test", warehouse.as_loader(self.server)) as connection:
            csv_loader.load_folder(connection, folder)

    def run(self) -> Outcome:
        """One run of the daily DAG."""
        return demo.run_daily(self.stack, self.server)

    def run_again(self, run_id: str, *task_ids: str, downstream: bool = False) -> Outcome:
        """Clear tasks of a run that ended, and wait for its end."""
        self.api.clear(demo.DAG_ID, run_id, *task_ids, downstream=downstream)
        return demo.outcome(self.api, self.server, run_id)

    def kill_scheduler(self) -> None:
        """Kill the scheduler and all that it started, tasks with it, as a power cut would: nobody is asked first."""
        leader = self.stack.running().pids["scheduler"]
        while members := _session(leader):
            for process in members:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(members, timeout=5)

    def start_scheduler(self) -> None:
        """Start a scheduler beside what is left of a stack whose scheduler was killed, and let it take over the tasks.

        A scheduler takes over, as it starts, from one that was silent for half a minute. That is noted
        here, not waited for; with a lower threshold it would take itself for dead while it warms up.
        """
        with connect("test", self.server.database("airflow")) as connection, connection.cursor() as cursor:
            cursor.execute("update job set state = 'failed' where job_type = 'SchedulerJob' and state = 'running'")
        left = self.stack._read_state()
        left.pids["scheduler"] = self.stack._spawn(
            "scheduler", self.stack.environment(self.server, urlsplit(left.url).port)
        )
        self.stack._write_state(left)

    def decide(self, **params: str) -> str:
        """A run of `greenery_by_hand` with what its trigger form says; returns its state."""
        run_id = self.api.trigger("greenery_by_hand", params)
        return self.api.wait_for_run("greenery_by_hand", run_id)

    def task_logs(self, run_id: str) -> dict[str, str]:
        """What the tasks of a run of the daily DAG have logged, all attempts of each together."""
        folder = self.stack.home / "airflow" / "logs" / f"dag_id={demo.DAG_ID}" / f"run_id={run_id}"
        logs: dict[str, str] = {}
        for attempt in sorted(folder.glob("task_id=*/attempt=*.log")):
            task_id = attempt.parent.name.removeprefix("task_id=")
            logs[task_id] = logs.get(task_id, "") + attempt.read_text()
        return logs

    def rendered_sql(self, run_id: str, task_id: str) -> str:
        """What Airflow shows as a task's rendered template."""
        path = f"/api/v2/dags/{demo.DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}"
        answer = self.api._client.get(path).raise_for_status().json()
        return answer["rendered_fields"]["compiled_sql"]

    @contextmanager
    def bot(self) -> Iterator[None]:
        """For the time of the block Slack is spoken to by a bot, as Airflow's own connections say."""
        connection = json.loads(self.slack.bot())
        connection |= {"connection_id": "slack_bot", "extra": json.dumps(connection["extra"])}
        client = self.api._client
        client.post("/api/v2/connections", json=connection).raise_for_status()
        try:
            yield
        finally:
            client.delete("/api/v2/connections/slack_bot").raise_for_status()

    def published(self) -> dict[str, list[tuple]]:
        """What people query, row by row."""
        tables = self.query("select tablename from pg_tables where schemaname = 'analytics' order by 1")
        return {name: self.query(f"select * from analytics.{name} order by 1") for (name,) in tables}


@pytest.fixture(scope="session")
def _deployment() -> Iterator[Deployment]:
    home = Path(tempfile.mkdtemp(prefix="greenery-stack-"))
    home.chmod(0o755)
    project = home / "dbt_project"
    shutil.copytree(PROJECT_ROOT / "dbt", project, ignore=shutil.ignore_patterns("target", "logs"))
    with slack_server() as slack:
        stack = Stack(
            home / "state",
            extra_env={
                "AIRFLOW_CONN_SLACK_DEFAULT": slack.connection(),
                # For the test that has a bot as well; without one, this names nothing.
                "GREENERY_SLACK_CHANNEL": "C0STATE",
                "GREENERY_SCHEDULE": "",
                # Somebody who may log in and see nothing.
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,guest:",
                "GREENERY_DBT_DIR": str(project),
            },
        )
        with pytest.MonkeyPatch.context() as environment:
            # Not the port that everybody tries first.
            environment.setenv("GREENERY_UI_PORT", str(postgres.free_port()))
            with stack.session() as server:
                stack.airflow(server)
                yield Deployment(stack, server, slack, project)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def deployment(_deployment: Deployment) -> Deployment:
    """The deployment, with an empty warehouse."""
    _deployment.fresh_warehouse()
    return _deployment
