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
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from statistics import median

import httpx
import psutil
import pytest

from include.daily import DAG_ID
from include.local import postgres, warehouse
from include.local.stack import COMPONENTS, PARALLELISM, _session
from include.warehouse.roles import TRANSFORMER
from tests.daily.kiosk import FILES, FIRST, GATE, LIMIT_SECONDS, Gates, Kiosk, gate_of, in_order
from tests.deployment import Deployment, deployed
from tests.forks import Forks
from tests.include.preview.shop import write
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

# A task whose machine died is tried again after a minute (airflow.cfg). Here the machine is this one, and sooner.
SILENT_SECONDS = 15
SOONER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(SILENT_SECONDS),
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_DETECTION_INTERVAL": "1",
}
SLOW_ONES_AT = ("build_ahead", "snapshot", "publish", "report")


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


# --- what is done to a task that waits ------------------------------------------------------------------------------

# Does it to the deployment, where this process is the task's, and leaves what was killed running again.
Deed = Callable[[Deployment, psutil.Process], None]


def _a_task(deployment: Deployment, process: psutil.Process) -> None:
    process.kill()


def _a_supervisor(deployment: Deployment, process: psutil.Process) -> None:
    psutil.Process(process.ppid()).kill()


def _a_scheduler(deployment: Deployment, process: psutil.Process) -> None:
    """It alone: what it has started ends with it."""
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
    with shut(deployment, victims) as gates:
        run_id = begin(kiosk)
        for after, task_id in enumerate(victims, 1):
            process = reached(kiosk, gates, run_id, task_id, own=ends_tasks(what))
            if gate_of(task_id) != "report":
                kiosk.is_as_before()
            leader, killed_at[task_id] = kiosk.scheduler(), datetime.now(UTC)
            deed(deployment, process)
            if what == "the scheduler alone":
                wait_for(lambda: not _session(leader), "workers and tasks end with their scheduler", LIMIT_SECONDS)  # noqa: B023
            let_go_on(gates, task_id, victims[after:])
        comes_back(deployment)
        kiosk.has_ended(run_id)
    note(kiosk, run_id, what, killed_at)
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


def let_go_on(gates: Gates, task_id: str, later: list[str]) -> None:
    """Open a task's gate, unless the first model's task is to come there next."""
    if not (task_id == "build_ahead" and FIRST in map(gate_of, later)):
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
    with letting_go_sooner(deployment):
        for some in (victims[at : at + at_once] for at in range(0, len(victims), at_once)):
            with ExitStack() as frozen, shut(deployment, some) as gates:
                run_id = begin(kiosk)
                for after, task_id in enumerate(some, 1):
                    process = reached(kiosk, gates, run_id, task_id, own=True)
                    killed_at[task_id] = datetime.now(UTC)
                    frozen.enter_context(stopped(psutil.Process(process.ppid()), process))
                    let_go_on(gates, task_id, some[after:])
                kiosk.is_published(run_id)
                before = written(deployment)
            # They are awake.
            kiosk.nothing_is_left()
            assert written(deployment) == before
            assert len(kiosk.heard()) == 1
            note(kiosk, run_id, "frozen", killed_at)
    kiosk.ordinary_run()


@contextmanager
def letting_go_sooner(deployment: Deployment) -> Iterator[None]:
    """In this block a frozen task keeps what it has locked for some seconds, and not for ten minutes."""
    bound = f"alter role {TRANSFORMER} in database {warehouse.NAME} set idle_in_transaction_session_timeout = "
    deployment.query(f"{bound}'{SILENT_SECONDS}s'")
    try:
        yield
    finally:
        deployment.query(f"{bound}'10min'")


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
