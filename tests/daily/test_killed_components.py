"""`kill -9` of each component of Airflow at each task in turn, a power cut, and a worker that is frozen and comes back.

Each task is stopped in the middle of its work, at a lock that the test holds, and something is killed. It is started
again, as who keeps a deployment up would, and the lock is let go. A component is killed at every task of one run, one
after the other; each must end as if nothing had been: what people query is what it was, or a full build; the run has
said one thing, and that is so; nothing is left over; and the next run is a run like any other.

    make torture ARGS='-k killed_components' TASKS=all

plays each component at each task. Without TASKS, what takes long is played at some of them (`SLOW_ONES_AT`).
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

import httpx
import psutil
import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import DAG_ID
from include.local import postgres, warehouse
from include.local.stack import COMPONENTS, PARALLELISM, _session
from include.warehouse.roles import TRANSFORMER
from tests.deployment import Deployment, deployed
from tests.forks import Forks
from tests.include.preview.shop import write
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

LIMIT_SECONDS = 180
# A task whose machine died is tried again after a minute (airflow.cfg). Here the machine is this one, and sooner.
SILENT_SECONDS = 15
SOONER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(SILENT_SECONDS),
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_DETECTION_INTERVAL": "1",
}
SLOW_ONES_AT = ("build_ahead", "snapshot", "publish", "report")
FIRST, SECOND = "stg_orders", "orders"

# A project with every kind of task. What it builds waits at a gate: a lock that the test holds while the gate is shut.
PROJECT = """
name: kiosk
profile: greenery
version: 1.0.0
models:
  +pre-hook: ["{{ before_build() }}", "select public.gate('{{ this.name }}')"]
  +post-hook: "{{ after_build() }}"
  kiosk:
    staging: {+schema: staging, +materialized: view}
    marts: {+materialized: table, +incremental_strategy: replace_changed, +on_schema_change: fail}
snapshots:
  +schema: snapshots
  +pre-hook: ["{{ one_at_a_time() }}", "select public.gate('snapshot')"]
"""
FILES = {
    "dbt_project.yml": PROJECT,
    "models/staging/_sources.yml": "sources: [{name: shop, schema: raw, tables: [{name: orders}]}]",
    "models/staging/stg_orders.sql": "select order_id, order_total, _loaded_at from {{ source('shop', 'orders') }}",
    "models/marts/orders.sql": """
{{ config(materialized='incremental', meta={'key': 'order_id', 'follows': [{'of': 'stg_orders'}]}) }}
select order_id, order_total as paid from {{ ref('stg_orders') }} {{ only_changed() }}
""",
    "models/marts/versions.sql": "select order_id, count(*) as versions from {{ ref('orders_kept') }} group by 1",
    "models/_models.yml": """
models:
  - name: stg_orders
    columns: [{name: order_id, data_tests: [unique]}]
  - name: orders
    columns: [{name: order_id, data_tests: [unique]}]
""",
    "snapshots/_snapshots.yml": """
snapshots:
  - name: orders_kept
    relation: source('shop', 'orders')
    config: {strategy: check, check_cols: [order_total], unique_key: order_id}
""",
    "tests/nobody_is_paid.sql": """
select order_id from {{ source('shop', 'orders') }} where order_total < 0
union all
select 'no gate' where not public.gate('check_sources')
""",
    "tests/each_order_has_versions.sql": """
select order_id from {{ ref('orders') }} full join {{ ref('versions') }} using (order_id)
where paid is null or versions is null
union all
select 'no gate' where not public.gate('cross_model_tests')
""",
}
GATE = """
create function public.gate(name text) returns boolean language plpgsql as $$
begin
    perform pg_advisory_lock_shared(hashtext('gate ' || name));
    return pg_advisory_unlock_shared(hashtext('gate ' || name));
end
$$
"""
OTHER_LOCKS = {
    "publish": "select pg_advisory_lock(hashtext('greenery exchange'))",
    "report": "lock table ops.messages in exclusive mode",
}


_LOOKS_AFTER_TASKS = re.compile("airflow worker -- LocalExecutor")


def gate_of(task_id: str) -> str:
    """What a task waits at: a node's name, or its own."""
    name = task_id.rsplit(".", 1)[-1].removesuffix("_model_build")
    return FIRST if name == "build_ahead" else name


@dataclass
class Gates:
    """The gates that are shut, each by a session of its own."""

    deployment: Deployment
    shut: dict[str, Connection] = field(default_factory=dict)

    def shut_at(self, *task_ids: str) -> None:
        """Let the tasks come this far."""
        for name in {gate_of(task_id) for task_id in task_ids} - self.shut.keys():
            where = self.deployment.server.database(warehouse.NAME)
            self.shut[name] = psycopg2.connect(**where.libpq(), application_name=f"gate {name}")
            with self.shut[name].cursor() as cursor:
                cursor.execute(OTHER_LOCKS.get(name, f"select pg_advisory_lock(hashtext('gate {name}'))"))

    def open(self, task_id: str) -> None:
        """Let the task go on, and its next try."""
        if gate := self.shut.pop(gate_of(task_id), None):
            with suppress(psycopg2.Error):  # its server may be gone
                gate.close()

    def waits_at(self, task_id: str) -> psutil.Process | None:
        """The living process that waits at a task's gate; a session of one that was killed waits on."""
        gate = self.shut[gate_of(task_id)].info.backend_pid
        ports = self.deployment.query(
            f"select client_port from pg_stat_activity where {gate} = any(pg_blocking_pids(pid))"
        )
        for (port,) in ports:
            for one in psutil.net_connections("tcp"):
                if one.laddr.port == port and one.raddr and one.raddr.port == self.deployment.server.port and one.pid:
                    return psutil.Process(one.pid)
        return None


@dataclass
class Kiosk:
    """The small project as the deployment runs it: its days, and what has to be so after each."""

    deployment: Deployment
    tasks: list[str]
    day: int = 0
    schedulers: set[int] = field(default_factory=set)
    recovered: dict[str, list[float]] = field(default_factory=dict)

    def next_day(self) -> None:
        """A new order comes in, and the first one has another total."""
        self.day += 1
        self.deployment.query(
            f"insert into raw.orders (order_id, order_total, _loaded_at) values ('{self.day:03}', 7, now());"
            f"update raw.orders set order_total = {100 + self.day}, _loaded_at = now()"
            " where order_id = '001'"
        )

    def expected(self, day: int) -> list[tuple]:
        """A full build of the raw of a day: of each order what was paid, and how many totals it had."""
        return [(f"{one:03}", 7.0 if one > 1 else 100.0 + day, 1 if one > 1 else day) for one in range(1, day + 1)]

    def published(self) -> list[tuple]:
        """What people read of both marts, in one statement."""
        return self.deployment.query(
            "select order_id, paid::float, versions from analytics.orders full join analytics.versions using (order_id)"
            " order by order_id"
        )

    def is_as_before(self) -> None:
        """People read yesterday's marts."""
        assert self.published() == self.expected(self.day - 1)

    def has_ended(self, run_id: str) -> None:
        """The run has published the day, has said so once, and left nothing."""
        self.is_published(run_id)
        self.nothing_is_left()

    def is_published(self, run_id: str) -> None:
        """The run has published the day, and has said so once."""
        outcome = self.deployment.outcome(run_id)
        assert (outcome.state, {*outcome.task_states.values()}) == ("success", {"success"}), outcome
        assert self.published() == self.expected(self.day)
        assert [message.splitlines()[0] for message in outcome.messages] == self.heard(), outcome.messages
        [said] = self.heard()
        assert said.startswith("✅"), said
        for word in ("failed", "killed", "error"):
            assert word not in outcome.messages[0]
        assert self.deployment.query(f"select count(*) from ops.publications where run_id = '{run_id}'") == [(1,)]

    def heard(self) -> list[str]:
        """What Slack was told since it was asked last to forget."""
        return [message["text"] for message in self.deployment.slack.accepted]

    def forget(self) -> None:
        """Slack has heard nothing."""
        self.deployment.slack.accepted.clear()

    def scheduler(self) -> int:
        """The process id of the one that is up."""
        self.schedulers.add(leader := self.deployment.stack._read_state().pids["scheduler"])
        return leader

    def nothing_is_left(self) -> None:
        """No session, lock, lease, half-built relation, task's process or file."""
        left = (
            "select application_name, state, left(query, 80) from pg_stat_activity"
            f" where datname = '{warehouse.NAME}' and application_name not in ('', 'test')"
            " and backend_type = 'client backend'"
        )
        wait_for(lambda: not self.deployment.query(left), "no session is left of who ended", LIMIT_SECONDS)
        query = self.deployment.query
        assert query("select holder from ops.leases where released_at is null") == []
        assert query("select from pg_locks where locktype = 'advisory'") == []
        assert query("select relname from pg_class where relname ~ '__dbt_(tmp|backup)'") == []
        self.scheduler()
        wait_for(lambda: not self.at_work(), "no task is at work", LIMIT_SECONDS)

    def at_work(self) -> list[psutil.Process]:
        """The processes of tasks, those that have lost their supervisor among them."""
        return [one for one in self._titled() if not _LOOKS_AFTER_TASKS.match(one.info["title"])]

    def workers(self) -> list[psutil.Process]:
        """The processes of which each looks after one task at a time, and starts it."""
        return [one for one in self._titled() if _LOOKS_AFTER_TASKS.match(one.info["title"])]

    def _titled(self) -> Iterator[psutil.Process]:
        """Those of this deployment that call themselves a worker, as tasks do too."""
        for process in psutil.process_iter(["cmdline"]):
            process.info["title"] = " ".join(process.info["cmdline"] or ())
            with suppress(psutil.Error, ProcessLookupError):
                if process.info["title"].startswith("airflow worker -- ") and os.getsid(process.pid) in self.schedulers:
                    yield process

    def ordinary_run(self) -> None:
        """A day on which nothing happens: each task is tried once."""
        self.next_day()
        self.forget()
        run_id = self.deployment.api.trigger(DAG_ID)
        self.has_ended(run_id)
        assert {task: self.of(run_id, task)["try_number"] for task in self.tasks} == dict.fromkeys(self.tasks, 1)

    def of(self, run_id: str, task_id: str) -> Mapping:
        """A task's last try; nothing while Airflow's API is away."""
        with suppress(httpx.HTTPError):
            return self.deployment.task(run_id, task_id)
        return {"state": None}


@pytest.fixture(scope="module")
def kiosk(dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kiosk]:
    """The small project, published once, on a deployment of its own that soon misses a task's machine."""
    project = tmp_path_factory.mktemp("projects") / "kiosk"
    write(project, FILES)
    with deployed(dbts, project, **SOONER) as deployment:
        deployment.query(GATE)
        shop = Kiosk(deployment, in_order(deployment.api.tasks(DAG_ID)))
        shop.ordinary_run()
        yield shop
        for what, seconds in shop.recovered.items():
            print(f"{what}: {len(seconds)} kills, median {median(seconds):.1f} s, longest {max(seconds):.1f} s")


def in_order(tasks: set[str]) -> list[str]:
    """The tasks of a run as they come to their gates."""
    kinds = ("check_sources", "build_ahead", "transform", "snapshot", "history", "cross", "publish", "report")
    order = sorted(tasks, key=lambda task: ([task.startswith(kind) for kind in kinds].index(True), -len(task)))
    assert [gate_of(task) for task in order if task.startswith("transform")] == [FIRST, SECOND]
    return order


# --- what is done to a task that waits ------------------------------------------------------------------------------

# Does it to the deployment, where this process is the task's, and leaves what was killed running again.
Deed = Callable[[Deployment, psutil.Process], None]


def _a_task(deployment: Deployment, process: psutil.Process) -> None:
    process.kill()


def _a_supervisor(deployment: Deployment, process: psutil.Process) -> None:
    psutil.Process(process.ppid()).kill()


def _a_scheduler(deployment: Deployment, process: psutil.Process) -> None:
    """It alone: its workers, and the task, live on beside the next one."""
    psutil.Process(deployment.stack._read_state().pids["scheduler"]).kill()
    deployment.start("scheduler")


def _with_all_that_it_started(component: str) -> Deed:
    def kill(deployment: Deployment, process: psutil.Process) -> None:
        deployment.kill(component)
        deployment.start(component)

    return kill


DEEDS: dict[str, Deed] = {
    "a task's process": _a_task,
    "its supervisor": _a_supervisor,
    "the scheduler alone": _a_scheduler,
    **{f"the {one} and its processes": _with_all_that_it_started(one) for one in COMPONENTS},
}
SLOW = ("its supervisor",)


@pytest.mark.parametrize("what", DEEDS)
def test_killed_at_each_task_in_turn_and_started_again(kiosk: Kiosk, what: str) -> None:
    deployment, deed = kiosk.deployment, DEEDS[what]
    victims = [
        one for one in kiosk.tasks if os.environ.get("TASKS") == "all" or what not in SLOW or one in SLOW_ONES_AT
    ]
    killed_at: dict[str, datetime] = {}
    kiosk.scheduler()
    with shut(deployment, victims) as gates:
        run_id = begin(kiosk)
        for after, task_id in enumerate(victims, 1):
            process = reached(kiosk, gates, run_id, task_id, own=ends_tasks(what))
            if gate_of(task_id) != "report":
                kiosk.is_as_before()
            tries = kiosk.of(run_id, task_id)["try_number"]
            killed_at[task_id] = datetime.now(UTC)
            deed(deployment, process)
            kiosk.scheduler()
            if what == "the scheduler alone":  # the next one has to meet the task that lives on
                wait_for(
                    lambda: kiosk.of(run_id, task_id)["try_number"] > tries or not process.is_running(),  # noqa: B023
                    f"the next scheduler takes {task_id} over",
                    LIMIT_SECONDS,
                )
            let_go_on(gates, task_id, victims[after:], own=ends_tasks(what))
        comes_back(deployment)
        kiosk.has_ended(run_id)
    note(kiosk, run_id, what, killed_at)
    for leader in kiosk.schedulers - {kiosk.scheduler()}:  # workers that wait for what a scheduler that is gone gives
        for process in _session(leader):
            process.kill()
    kiosk.ordinary_run()


def ends_tasks(what: str) -> bool:
    """Whether the task itself ends of it, now or once it is missed."""
    return what not in ("the dag-processor and its processes", "the api-server and its processes") and (
        what != "the triggerer and its processes"
    )


def note(kiosk: Kiosk, run_id: str, what: str, killed_at: dict[str, datetime]) -> None:
    """Note how long after each kill its task had ended well; forgets the kills."""
    while killed_at:
        task_id, at = killed_at.popitem()
        ended = datetime.fromisoformat(kiosk.of(run_id, task_id)["end_date"])
        kiosk.recovered.setdefault(what, []).append((ended - at).total_seconds())


@contextmanager
def shut(deployment: Deployment, task_ids: list[str]) -> Iterator[Gates]:
    """All gates of these tasks are shut; whatever happens, they are open afterwards."""
    gates = Gates(deployment)
    try:
        gates.shut_at(*task_ids)
        yield gates
    finally:
        for task_id in task_ids:
            gates.open(task_id)


def begin(kiosk: Kiosk) -> str:
    """A run of a new day; its id."""
    kiosk.next_day()
    kiosk.forget()
    return kiosk.deployment.api.trigger(DAG_ID)


def reached(kiosk: Kiosk, gates: Gates, run_id: str, task_id: str, *, own: bool) -> psutil.Process:
    """Wait until a task works, and is at its gate; returns the process that is there.

    It is the task's own. Without `own` it may be the dbt that builds ahead, while the task waits in its worker.
    """
    found: list[psutil.Process] = []

    def waits() -> bool:
        task = kiosk.of(run_id, task_id)
        if task["state"] not in ("queued", "running") or not (process := gates.waits_at(task_id)):
            return False
        found[:] = [process]
        return bearing(task["id"], process) or (
            not own and any(bearing(task["id"], worker) for worker in kiosk.workers())
        )

    wait_for(waits, f"{task_id} is at its gate", LIMIT_SECONDS, every=0.2)
    return found[0]


def bearing(task: str, process: psutil.Process) -> bool:
    """Whether a process has a task's try in its title, as those of Airflow that work on it have."""
    with suppress(psutil.Error):
        return task in " ".join(process.cmdline())
    return False


def let_go_on(gates: Gates, task_id: str, later: list[str], *, own: bool) -> None:
    """Open a task's gate, unless the first model's own task is to come there next."""
    if not (own and task_id == "build_ahead" and FIRST in map(gate_of, later)):
        gates.open(task_id)


def comes_back(deployment: Deployment) -> None:
    """Wait until Airflow's API answers."""

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            return deployment.api.client.get("/api/v2/version").is_success
        return False

    wait_for(answers, "the API server answers", LIMIT_SECONDS, every=0.2)


# --- all at once ----------------------------------------------------------------------------------------------------


def test_killed_all_at_once_as_where_the_power_goes(kiosk: Kiosk) -> None:
    """Airflow and Postgres, which flushes what it commits, at each of some tasks."""
    deployment = kiosk.deployment
    victims = [one for one in kiosk.tasks if os.environ.get("TASKS") == "all" or one in SLOW_ONES_AT]
    killed_at: dict[str, datetime] = {}
    with flushing(deployment), shut(deployment, victims) as gates:
        run_id = begin(kiosk)
        for at, task_id in enumerate(victims):
            reached(kiosk, gates, run_id, task_id, own=True)
            killed_at[task_id] = datetime.now(UTC)
            kill_postgres(deployment)
            deployment.kill(*COMPONENTS)
            for one in victims:
                gates.open(one)
            postgres.start(deployment.server.data, passwords=deployment.server.passwords, stays=True)
            if gate_of(task_id) != "report":
                kiosk.is_as_before()
            gates.shut_at(*victims[at + 1 :])
            deployment.start(*COMPONENTS)
            kiosk.scheduler()
            comes_back(deployment)
        kiosk.has_ended(run_id)
    note(kiosk, run_id, "all at once", killed_at)
    kiosk.ordinary_run()


@contextmanager
def flushing(deployment: Deployment) -> Iterator[None]:
    """Postgres flushes what it commits, as where it is not thrown away."""

    def switch(to: str) -> None:
        with postgres.admin(deployment.server) as cursor:
            for setting in ("fsync", "full_page_writes"):
                cursor.execute(f"alter system set {setting} = {to}")
            cursor.execute(f"alter role all set synchronous_commit = {to}")
            cursor.execute("select pg_reload_conf()")

    switch("on")
    try:
        yield
    finally:
        switch("off")


def kill_postgres(deployment: Deployment) -> None:
    """All of its processes."""
    first = psutil.Process(postgres.server_process(deployment.server.data))
    family = [first, *first.children()]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=LIMIT_SECONDS)


# --- frozen ---------------------------------------------------------------------------------------------------------


def test_frozen_until_another_try_took_over_and_then_woken(kiosk: Kiosk) -> None:
    """A task and its supervisor. Once they wake, they publish, write and say nothing."""
    deployment = kiosk.deployment
    victims = [one for one in kiosk.tasks if os.environ.get("TASKS") == "all" or one in SLOW_ONES_AT]
    killed_at: dict[str, datetime] = {}
    at_once = PARALLELISM - 1  # a frozen task keeps its worker
    # What it has locked it keeps for ten minutes as Greenery's roles are.
    sooner = f"alter role {TRANSFORMER} in database {warehouse.NAME} set idle_in_transaction_session_timeout = "
    deployment.query(f"{sooner}'{SILENT_SECONDS}s'")
    for some in (victims[at : at + at_once] for at in range(0, len(victims), at_once)):
        with ExitStack() as frozen, shut(deployment, some) as gates:
            run_id = begin(kiosk)
            for after, task_id in enumerate(some, 1):
                process = reached(kiosk, gates, run_id, task_id, own=True)
                killed_at[task_id] = datetime.now(UTC)
                frozen.enter_context(stopped(psutil.Process(process.ppid()), process))
                let_go_on(gates, task_id, some[after:], own=True)
            kiosk.is_published(run_id)
            before = written(deployment)
        # They are awake.
        kiosk.nothing_is_left()
        assert written(deployment) == before
        assert len(kiosk.heard()) == 1
        note(kiosk, run_id, "frozen", killed_at)
    deployment.query(f"{sooner}'10min'")
    kiosk.ordinary_run()


@contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """For the time of the block these are frozen."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)


def written(deployment: Deployment) -> dict[str, list[tuple]]:
    """All that a task writes: what is published and built, history, and what is kept of runs and messages.

    But for when the snapshots were looked at last, which is so whoever looked.
    """
    tables = deployment.query(
        "select schemaname, tablename from pg_tables"
        " where schemaname in ('analytics', 'analytics_next', 'snapshots', 'ops') order by 1, 2"
    )
    rows = "select to_jsonb(t) - 'seen_at' from {}.{} as t order by t::text"
    return {f"{schema}.{name}": deployment.query(rows.format(schema, name)) for schema, name in tables}
