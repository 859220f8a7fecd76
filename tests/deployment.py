"""A real deployment, one for all tests that need it: scheduler, API server, DAG processor, and a played Slack.

A run takes half a minute of a processor, so each is there for as many tests as can tell something of it: the days below
are run once, and their warehouse is kept. A test comes to the one that it wants (`come_to`).
"""

from __future__ import annotations

import filecmp
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from include.daily import DAG_ID
from include.demo_shop import demo as demo_shop
from include.local import demo, postgres, warehouse
from include.local.airflow_api import AirflowApi
from include.local.demo import Outcome
from include.local.stack import COMPONENTS, USER, Stack, _session
from include.raw import csv_loader
from include.settings import PROJECT_ROOT
from include.slack.notices import WATCHDOG
from include.warehouse import connect
from tests import in_memory
from tests.forks import Forks, fork_dbt
from tests.slack_server import Slack, slack_server
from tests.waiting import wait_for

if TYPE_CHECKING:
    from tests.dbt.lives.wire import Wire

_UP = pytest.StashKey[ExitStack]()
EMPTY = "empty"
# Whatever dbt creates for a model bears its name; this lets it fail as a full disk or a killed server would.
_FAIL_AT = """
create or replace function public.fail_at() returns event_trigger language plpgsql as $$
declare
    model text := (
        select min(substring(object_identity from '\\.({models})(?:__dbt_|$)')) from pg_event_trigger_ddl_commands()
    );
begin
    if model is not null then
        raise exception '% can not be written', model;
    end if;
end
$$
"""


_BACKSTOP = re.compile(r'"event":"([^"]+): the report has told what became of it')


class Day(NamedTuple):
    """A day of the demo shop that was run: how its runs ended, what people query since, and what Slack has then."""

    runs: tuple[Outcome, ...]
    published: dict[str, list[tuple]]
    told: list[str]  # by the webhook
    said: list[str]  # by the bot
    replied: list[str]
    calls: list[str]
    refused: list[str]


@dataclass
class Deployment:
    """The stack that is up, and what the tests do with it."""

    stack: Stack
    server: postgres.LocalPostgres
    slack: Slack
    dbt_project: Path
    failed: Counter[str] = field(default_factory=Counter)

    @cached_property
    def api(self) -> AirflowApi:
        """A logged-in client of its Airflow."""
        return AirflowApi(self.stack.airflow(self.server).url, *self.stack.login())

    def keep(self, name: str) -> None:
        """Keep a copy of the warehouse as it is, to `come_to`. It has the oids of the original: `ops` goes by them."""
        self._copy(warehouse.NAME, name)

    def come_to(self, name: str) -> None:
        """The warehouse as it was kept under this name, and a Slack that has heard nothing."""
        self.wait_for_backstops()
        with postgres.admin(self.server) as cursor:
            cursor.execute(f"drop database {warehouse.NAME} with (force)")
        self._copy(name, warehouse.NAME)
        warehouse.prepare(self.server)  # what belongs to the database is not in a copy
        self.slack.accepted.clear()
        self.slack.posted.clear()
        self.slack.calls.clear()
        self.slack.taken.clear()

    def wait_for_backstops(self) -> None:
        """Wait until each run that failed has called its last one: it would speak of the run in another warehouse."""
        logs = self.stack.home / "airflow" / "logs" / "dag_processor"

        def called() -> Counter[str]:
            files = logs.glob("20*/**/greenery_daily.py.log")
            return Counter(run_id for file in files for run_id in _BACKSTOP.findall(file.read_text()))

        wanted = f"the DAG's on_failure_callback was called for each run that failed: {self.failed}"
        wait_for(lambda: self.failed <= called(), wanted, seconds=60, every=0.2)

    def _copy(self, this: str, to: str) -> None:
        with postgres.admin(self.server) as cursor:
            cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (this,))
            cursor.execute(f"create database {to} template {this} strategy file_copy")

    def query(self, statement: str) -> list[tuple]:
        """The rows of a query on the warehouse; [] for a statement that has none."""
        with connect("test", warehouse.as_admin(self.server)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def failing(self, *models: str) -> Iterator[None]:
        """For the time of the block these models can't be written."""
        self.query(_FAIL_AT.replace("{models}", "|".join(models)))
        self.query("create event trigger failing on ddl_command_end execute function public.fail_at()")
        try:
            yield
        finally:
            self.query("drop event trigger failing")

    def play_day(self, orders: int = demo_shop.ORDERS_PER_DAY) -> None:
        """The demo shop's next day."""
        with connect("test", warehouse.as_loader(self.server)) as connection:
            demo_shop.play_day(connection, demo_shop.next_day(connection), orders_per_day=orders)

    def load(self, folder: Path) -> None:
        """A day of a shop that delivers CSVs."""
        with connect("test", warehouse.as_loader(self.server)) as connection:
            csv_loader.load_folder(connection, folder)

    def run(self) -> Outcome:
        """One run of the daily DAG."""
        return self.outcome(self.api.trigger(DAG_ID))

    def outcome(self, run_id: str) -> Outcome:
        """How a run of it ends."""
        ended = demo.outcome(self.api, self.server, run_id)
        self.failed[run_id] += ended.state == "failed"
        return ended

    def day(self, *runs: Outcome) -> Day:
        """What these runs have led to."""
        slack = self.slack
        told = [message["text"] for message in slack.accepted]
        return Day(runs, self.published(), told, slack.said(), slack.replied(), list(slack.calls), list(slack.refused))

    def run_again(self, run_id: str, *task_ids: str, downstream: bool = False) -> Outcome:
        """Clear tasks of a run that ended, and wait for its end."""
        self.wait_for_backstops()  # one that is late speaks of what the run does then
        self.api.clear(DAG_ID, run_id, *task_ids, downstream=downstream)
        return self.outcome(run_id)

    def kill(self, *components: str) -> None:
        """Kill components and all that they started, tasks with them, as a power cut would: nobody is asked first."""
        for component in components:
            leader = self.stack._read_state().pids[component]
            while members := _session(leader):
                for process in members:
                    with suppress(psutil.Error):
                        process.kill()
                psutil.wait_procs(members, timeout=5)

    def start(self, *components: str, **environment: str) -> None:
        """Start components beside what is left of a stack; a scheduler takes over the tasks of one that was killed.

        It takes over, as it starts, from one that was silent for half a minute. That is noted here, not waited
        for; with a lower threshold it would take itself for dead while it warms up.
        """
        if "scheduler" in components:
            with connect("test", self.server.database("airflow")) as connection, connection.cursor() as cursor:
                cursor.execute("update job set state = 'failed' where job_type = 'SchedulerJob' and state = 'running'")
        left = self.stack._read_state()
        env = self.stack.environment(self.server, urlsplit(left.url).port) | environment
        for component in components:
            left.pids[component] = self.stack._spawn(component, env)
        self.stack._write_state(left)

    def decide(self, **params: str) -> str:
        """A run of `greenery_by_hand` with what its trigger form says; returns its state."""
        run_id = self.api.trigger("greenery_by_hand", params)
        return self.api.wait_for_run("greenery_by_hand", run_id)

    def read_again(self) -> None:
        """Have the DAG processor read the daily DAG's file soon: of itself it would here do so in an hour."""
        client = self.api.client
        token = client.get(f"/api/v2/dags/{DAG_ID}").raise_for_status().json()["file_token"]
        asked = client.put(f"/api/v2/parseDagFile/{token}")
        if asked.status_code != httpx.codes.CONFLICT:  # a request that is waiting already will do
            asked.raise_for_status()

    def draw(self, task: str) -> None:
        """Have the DAG drawn of the project as it is now, with this task among others."""
        project, current = self.dbt_project, self.stack.home / "dbt" / "current"
        models = [model.relative_to(project) for model in (project / "models").rglob("*.sql")]
        self.read_until(
            lambda tasks: task in tasks and filecmp.cmpfiles(project, current, models)[0] == models,
            f"{task} is drawn",
        )

    def read_until(self, is_drawn: Callable[[Container[str]], bool], what: str) -> None:
        """Have the DAG read until its tasks are as they should be; `what` says how."""

        def reads() -> bool:
            drawn = is_drawn(self.api.tasks(DAG_ID))
            if not drawn:
                self.read_again()  # a file that is just being read is not read once more
            return drawn

        wait_for(reads, what, 180, every=1)

    def watch(self) -> None:
        """A run of the watchdog, which rests otherwise: it would send what waits for Slack every five minutes."""
        dag = f"/api/v2/dags/{WATCHDOG}"
        self.api.client.patch(dag, json={"is_paused": False}).raise_for_status()
        state = self.api.wait_for_run(WATCHDOG, self.api.trigger(WATCHDOG))
        self.api.client.patch(dag, json={"is_paused": True}).raise_for_status()
        assert state == "success"

    def task_logs(self, run_id: str) -> dict[str, str]:
        """What the tasks of a run of the daily DAG have logged, all attempts of each together."""
        folder = self.stack.home / "airflow" / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
        logs: dict[str, str] = {}
        for attempt in sorted(folder.glob("task_id=*/attempt=*.log")):
            task_id = attempt.parent.name.removeprefix("task_id=")
            logs[task_id] = logs.get(task_id, "") + attempt.read_text()
        return logs

    def rendered_sql(self, run_id: str, task_id: str) -> str:
        """What Airflow shows as a task's rendered template."""
        return self.task(run_id, task_id)["rendered_fields"]["compiled_sql"]

    def task(self, run_id: str, task_id: str) -> dict[str, Any]:
        """What Airflow's API tells of a task of a run: its last try."""
        path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}"
        return self.api.client.get(path).raise_for_status().json()

    @contextmanager
    def bot(self) -> Iterator[None]:
        """For the time of the block Slack is spoken to by a bot, as Airflow's own connections say."""
        connection = json.loads(self.slack.bot())
        connection |= {"connection_id": "slack_bot", "extra": json.dumps(connection["extra"])}
        client = self.api.client
        client.post("/api/v2/connections", json=connection).raise_for_status()
        try:
            yield
        finally:
            client.delete("/api/v2/connections/slack_bot").raise_for_status()

    def published(self) -> dict[str, list[tuple]]:
        """What people query, row by row."""
        tables = self.query("select tablename from pg_tables where schemaname = 'analytics' order by 1")
        return {name: self.query(f"select * from analytics.{name} order by 1") for (name,) in tables}


@contextmanager
def deployed(
    dbts: Forks, source: Path = PROJECT_ROOT / "dbt", wire: Wire | None = None, **environment: str
) -> Iterator[Deployment]:
    """A deployment of a copy of a project, for the time of the block. The project is parsed in a fork.

    With a wire, its processes reach the warehouse by that.
    """
    with in_memory.folder("greenery-stack-") as home, slack_server() as slack:
        project = home / "dbt_project"
        shutil.copytree(source, project, ignore=shutil.ignore_patterns("target", "logs"))
        stack = Stack(
            home / "state",
            extra_env={
                "AIRFLOW_CONN_SLACK_DEFAULT": slack.connection(),
                # For the test that has a bot as well; without one, this names nothing.
                "GREENERY_SLACK_CHANNEL": "C0STATE",
                "GREENERY_SCHEDULE": "",
                # Reading files every quarter of a minute takes a tenth of a core: a test asks for it (`read_again`).
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
                # Somebody who may log in and see nothing.
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,guest:",
                "GREENERY_DBT_DIR": str(project),
                **environment,
                **({"WAREHOUSE_PORT": str(wire.port)} if wire else {}),
            },
        )
        with pytest.MonkeyPatch.context() as ours:
            # Not the port that everybody tries first.
            ours.setenv("GREENERY_UI_PORT", str(postgres.free_port()))
            with stack.session() as server:
                if wire:
                    wire.server = warehouse.as_admin(server)
                with pytest.MonkeyPatch.context() as parsing:
                    fork_dbt(dbts, parsing)
                    stack.airflow(server)
                with postgres.admin(server) as cursor:  # it is thrown away, as that of the other tests is
                    for setting in ("fsync", "full_page_writes"):
                        cursor.execute(f"alter system set {setting} = off")
                    cursor.execute("select pg_reload_conf()")
                up = Deployment(stack, server, slack, project)
                up.keep(EMPTY)
                up.api.wait_for_dag(DAG_ID)
                up.api.wait_for_dag(WATCHDOG)
                up.api.client.patch(f"/api/v2/dags/{WATCHDOG}", json={"is_paused": True}).raise_for_status()
                yield up
                up.kill(*COMPONENTS)  # asked to, they would take a quarter of a minute to end


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest, dbts: Forks) -> Iterator[Deployment]:
    """The deployment, in whatever state the last test left it."""
    with ExitStack() as until_it_ends:
        request.config.stash[_UP] = until_it_ends
        yield until_it_ends.enter_context(deployed(dbts))


def end(config: pytest.Config) -> None:
    """Stop the deployment, if it is up: at rest it takes a sixth of a core from the tests that don't want it."""
    if up := config.stash.get(_UP, None):
        up.close()


@pytest.fixture(scope="session")
def first_day(deployment: Deployment) -> Day:
    """The first day."""
    deployment.come_to(EMPTY)
    deployment.play_day()
    day = deployment.day(deployment.run())
    deployment.keep("first_day")
    return day


@pytest.fixture(scope="session")
def second_day(deployment: Deployment, first_day: Day) -> Day:
    """The day after, told by a bot."""
    deployment.come_to("first_day")
    deployment.play_day()
    with deployment.bot():
        day = deployment.day(deployment.run())
    deployment.keep("second_day")
    return day


@pytest.fixture(scope="session")
def failed_day(deployment: Deployment, first_day: Day) -> Day:
    """The same day with one model that fails its test and another that can't be written."""
    deployment.come_to("first_day")
    deployment.play_day()
    # Of int_orders: an order's total disagrees with its items.
    deployment.query(
        "update raw.orders set order_total = order_total + 1 where order_id = (select min(order_id) from raw.orders)"
    )
    with deployment.failing("int_product_kinds"):
        day = deployment.day(deployment.run())
    deployment.keep("failed_day")
    return day
