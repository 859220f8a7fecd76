"""Airflow's own database fails in the middle of a run: the run ends well all the same, and is told as it is.

The database is on a server of its own, made as deploy/postgres makes it, in a network where only this deployment is.
Components that end are started again, as compose and Kubernetes do, and by nobody else.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg2
import pytest

from include.daily import DAG_ID
from include.local import postgres, warehouse
from include.local.postgres import LocalPostgres
from include.local.stack import COMPONENTS, _is_airflow, _session
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect
from tests import faulty, in_memory
from tests.daily.test_own_project import A_DAY, TILL
from tests.deployment import Deployment, deployed
from tests.faulty import opened
from tests.forks import Forks
from tests.meanwhile import meanwhile
from tests.own_project.page import blocks, follow
from tests.slow_disk import Disk, slow_disk
from tests.test_replica import Pair, ask, copy, cut_off, promote
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

NAME = "airflow"
PASSWORDS = {postgres.SUPERUSER: "secret", NAME: "its own"}
SETTINGS = {"shared_buffers": "64MB", "max_connections": "70"}
# How long what lasts does: longer than Airflow's own tries. What the docs say was seen with 60.
LONG_SECONDS = float(os.environ.get("OUTAGE", "40"))
SHORT_SECONDS = LONG_SECONDS / 4
# Nobody does anything by hand for so long.
recovers = partial(wait_for, seconds=240, every=0.2)


@dataclass
class Apart:
    """A deployment whose Airflow has its database on a server of its own, with a disk that can be slow."""

    deployment: Deployment
    server: LocalPostgres
    disk: Disk
    until_it_ends: ExitStack
    day: int = 0
    failovers: int = 0

    @property
    def database(self) -> Warehouse:
        """Airflow's database, as its administrator."""
        return self.server.database(NAME)

    def ask(self, statement: str) -> list[tuple]:
        """Rows of Airflow's database."""
        with opened(self.database) as db, db.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def serves_again(self) -> None:
        """Start the server that was ended."""
        assert start(self.server.data, self.disk).port == self.server.port

    def begins_a_run(self) -> str:
        """A day of the shop, and a run of it; returns the run's id."""
        self.day += 1
        self.deployment.query(A_DAY.format(day=self.day))
        self.deployment.slack.accepted.clear()
        return self.deployment.api.trigger(DAG_ID)

    def state(self, run_id: str, task_id: str | None = None) -> str | None:
        """Of a run, or of a task of it."""
        of = f"task_instance where task_id = '{task_id}' and" if task_id else "dag_run where"
        [(state,)] = self.ask(f"select state from {of} run_id = '{run_id}'")
        return state

    def processes(self) -> dict[str, int]:
        """How many processes each component has."""
        pids = self.deployment.stack._read_state().pids
        return {component: len(_session(pids[component])) for component in COMPONENTS}

    def is_healthy(self) -> bool:
        """Whether all components say so."""
        with suppress(httpx.HTTPError):
            answer = self.deployment.api.client.get("/api/v2/monitor/health", timeout=10)
            return answer.is_success and {part["status"] for part in answer.json().values()} == {"healthy"}
        return False


def start(data: Path, disk: Disk, port: int | None = None) -> LocalPostgres:
    with disk.below():
        return postgres.start(data, passwords=PASSWORDS, settings=SETTINGS, port=port)


@pytest.fixture(scope="module")
def apart(dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    """The project of test_own_project.py, deployed, and its first day published."""
    project = tmp_path_factory.mktemp("projects") / "coffee"
    shutil.copytree(Path(__file__).parent / "projects/coffee", project)
    follow(project)
    with ExitStack() as until_it_ends:
        enter = until_it_ends.enter_context
        enter(faulty.a_network_of_our_own())
        disk = enter(slow_disk())
        home = enter(in_memory.folder("greenery-airflow-database-"))
        server = start(home / "postgres", disk)
        of_servers = enter(ExitStack())
        of_servers.callback(postgres.stop, server.data)
        make_databases(server)
        enter(faulty.small_disk(server, NAME, megabytes=128))
        address = server.url(NAME, NAME)
        deployment = enter(deployed(dbts, project, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=address))
        deployment.query(TILL)
        deployment.query(blocks("sql")[0])
        made = Apart(deployment, server, disk, of_servers)
        is_published(made, made.begins_a_run())
        yield made


def make_databases(server: LocalPostgres) -> None:
    """As compose's Postgres does."""
    environment = os.environ | {
        "PATH": f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGPASSWORD": PASSWORDS[postgres.SUPERUSER],
        "POSTGRES_USER": postgres.SUPERUSER,
        "POSTGRES_DB": "postgres",
        "AIRFLOW_DB_PASSWORD": PASSWORDS[NAME],
    }
    subprocess.run([PROJECT_ROOT / "deploy" / "postgres" / "databases.sh"], env=environment, check=True)


@contextmanager
def kept_up(deployment: Deployment) -> Iterator[Counter[str]]:
    """For the time of the block a component that ended is started again, and what it had left is ended before."""
    stack, again = deployment.stack, Counter[str]()

    def watches(over: Event) -> None:
        while not over.wait(1):
            running = stack._read_state()
            for component, pid in running.pids.items():
                if not _is_airflow(pid):
                    deployment.kill(component)
                    environment = stack.environment(deployment.server, urlsplit(running.url).port)
                    running.pids[component] = stack._spawn(component, environment)
                    stack._write_state(running)
                    again[component] += 1

    with meanwhile(watches):
        yield again


# --- what fails ------------------------------------------------------------------------------------------------------


def stops(apart: Apart, number: signal.Signals, seconds: float = 0) -> None:
    faulty.end(apart.server, number)
    time.sleep(seconds)
    apart.serves_again()


def ends_all_sessions(apart: Apart) -> None:
    apart.ask(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{NAME}'")


def has_no_connection_left(apart: Apart) -> None:
    """Nor had those any that Airflow had before."""
    end = time.monotonic() + SHORT_SECONDS
    others: list[psycopg2.extensions.connection] = []
    try:
        with postgres.admin(apart.server) as cursor:
            while time.monotonic() < end:
                cursor.execute(
                    f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{NAME}'"
                    " and application_name <> 'others'"
                )
                with suppress(psycopg2.OperationalError):
                    while True:
                        where = apart.server.database(NAME, NAME)
                        others.append(psycopg2.connect(**where.libpq(), application_name="others"))
    finally:
        for connection in others:
            connection.close()


def is_full(apart: Apart) -> None:
    with opened(apart.database) as db, faulty.full(db):
        time.sleep(SHORT_SECONDS)


def is_silent(apart: Apart, seconds: float) -> None:
    """No packet arrives for a while."""
    faulty.drop(apart.server.port)
    try:
        time.sleep(seconds)
    finally:
        faulty.let_through()


def is_forgotten(apart: Apart) -> None:
    """As by a firewall that was restarted: of no connection that was open a packet arrives any more; new ones work."""
    faulty.drop(*clients(apart.server))


def clients(server: LocalPostgres) -> list[int]:
    """The ports of who is connected to a server."""
    return [one.laddr.port for one in psutil.net_connections("tcp") if one.raddr and one.raddr.port == server.port]


def is_locked(apart: Apart) -> None:
    with opened(apart.database) as db, db.cursor() as cursor:
        cursor.execute("begin; lock table task_instance in access exclusive mode")
        time.sleep(LONG_SECONDS)


def has_a_disk(apart: Apart, seconds: float, **takes: int) -> None:
    with apart.disk.taking(**takes):
        time.sleep(seconds)


def has_a_raw_table_locked(apart: Apart) -> None:
    with connect("test", warehouse.as_admin(apart.deployment.server)) as connection, connection.cursor() as cursor:
        cursor.execute("lock table till.raw_tickets in access exclusive mode")
        time.sleep(SHORT_SECONDS)


FAULTS: dict[str, Callable[[Apart], None]] = {
    "Airflow's database restarts": partial(stops, number=signal.SIGINT),
    "Airflow's database loses its power": partial(stops, number=signal.SIGQUIT),
    "Airflow's database is down for long": partial(stops, number=signal.SIGQUIT, seconds=LONG_SECONDS),
    "Airflow's database ends all sessions": ends_all_sessions,
    "Airflow's database has no connection left": has_no_connection_left,
    "Airflow's database is full": is_full,
    "Airflow's database is silent for a while": partial(is_silent, seconds=SHORT_SECONDS),
    "Airflow's database is silent for long": partial(is_silent, seconds=LONG_SECONDS),
    "Airflow's database is forgotten by a firewall": is_forgotten,
    "Airflow's database has a table locked for long": is_locked,
    "Airflow's database has a slow disk": partial(has_a_disk, seconds=SHORT_SECONDS, call=20, flush=200),
    "Airflow's database has a disk that hangs": partial(
        has_a_disk, seconds=SHORT_SECONDS, flush=1000 * int(SHORT_SECONDS)
    ),
    "a raw table of the warehouse is locked for a while": has_a_raw_table_locked,
}


# --- what comes of it ------------------------------------------------------------------------------------------------


def is_published(apart: Apart, run_id: str) -> None:
    """A run ends well: all of its day is published, in one message, and nothing is left of it."""
    outcome = apart.deployment.outcome(run_id)
    [told] = [message["text"] for message in apart.deployment.slack.accepted]
    assert outcome.state == "success", outcome
    assert [message.splitlines()[0] for message in outcome.messages] == [told]
    assert told.startswith("✅")
    guests = "select guest_id, visits, spent, is_regular from analytics.guests order by 1"
    visits = {guest: apart.day + 1 - guest for guest in range(1, apart.day + 1)}
    assert apart.deployment.query(guests) == [(guest, n, 4 * n, n > 1) for guest, n in visits.items()]
    assert apart.deployment.query("select holder from ops.leases where released_at is null") == []
    of_tasks = "select pid, query from pg_stat_activity where usename = 'greenery_transformer'"
    wait_for(lambda: apart.deployment.query(of_tasks) == [], "no session of a task is left")
    assert apart.ask("select task_id, state from task_instance where state in ('running', 'queued', 'scheduled')") == []


@pytest.fixture
def network(apart: Apart) -> Iterator[None]:
    """All packets arrive again after the test. Wanted with `apart` alone, which is in a network of its own."""
    yield
    faulty.let_through()


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_in_whose_middle(apart: Apart, fault: str) -> None:
    before = apart.processes()
    with kept_up(apart.deployment) as again:
        run_id = apart.begins_a_run()
        wait_for(lambda: apart.state(run_id, "check_sources") == "success", "the sources were checked")
        FAULTS[fault](apart)
        ends_well(apart, run_id, fault, again, before)


def ends_well(apart: Apart, run_id: str, fault: str, again: Counter[str], before: dict[str, int]) -> None:
    """After a fault nobody does anything, and the run is published, and one after it; processes are as before."""
    over = time.monotonic()
    recovers(apart.is_healthy, "all components are healthy")
    healthy = time.monotonic() - over
    recovers(lambda: apart.state(run_id) in ("success", "failed"), "the run ended")
    print(f"{fault}: healthy after {healthy:.1f} s, run after {time.monotonic() - over:.1f} s, again: {dict(again)}")
    is_published(apart, run_id)

    is_published(apart, apart.begins_a_run())
    now = datetime.now(UTC)
    apart.deployment.read_again()
    apart.deployment.api.wait_for_dag(DAG_ID, since=now)
    recovers(apart.is_healthy, "all components are healthy")
    recovers(lambda: apart.processes() == before, f"as many processes as before: {before}")


# --- a failover ------------------------------------------------------------------------------------------------------


@contextmanager
def followed(apart: Apart) -> Iterator[Pair]:
    """For the time of the block a replica follows the server; then that is gone, and the replica has its address."""
    port = apart.server.port
    apart.failovers += 1
    # Not by the name of what is copied: pg_basebackup takes a disk's path of 99 characters at most.
    data = apart.server.data.with_name(f"replica-{apart.failovers}")
    copy(apart.server, data)
    apart.until_it_ends.callback(postgres.stop, data)
    pair = Pair(apart.server, start(data, apart.disk))
    pair.follow()
    yield pair
    promote(pair)
    postgres.stop(data)
    apart.server = start(data, apart.disk, port)
    assert apart.server.port == port


def test_a_run_in_whose_middle_airflows_database_fails_over_to_a_replica_that_has_all(apart: Apart) -> None:
    before = apart.processes()
    with kept_up(apart.deployment) as again:
        with followed(apart) as pair:
            with postgres.admin(pair.primary) as cursor:
                cursor.execute("alter system set synchronous_standby_names = '*'")
                cursor.execute("select pg_reload_conf()")
                is_waited_for = "select exists (select from pg_stat_replication where sync_state = 'sync')"
                wait_for(lambda: ask(cursor, is_waited_for), "commits wait for the replica")
            run_id = apart.begins_a_run()
            wait_for(lambda: apart.state(run_id, "check_sources") == "success", "the sources were checked")
        assert apart.state(run_id, "check_sources") == "success"
        ends_well(apart, run_id, "failover", again, before)


@pytest.mark.parametrize("task", ["check_sources", "transform.models.marts.guests_model_build", "publish", "report"])
def test_a_run_in_whose_middle_airflows_database_fails_over_to_a_replica_that_lacks_the_end_of(
    apart: Apart, task: str
) -> None:
    """What Airflow noted last is gone: the task is done, and Airflow thinks that it is under way."""
    before = apart.processes()
    with kept_up(apart.deployment) as again:
        with followed(apart) as pair:
            run_id = apart.begins_a_run()
            wait_for(lambda: apart.state(run_id, task) in ("queued", "running"), f"{task} is under way")
            with cut_off(pair):
                wait_for(lambda: apart.state(run_id, task) == "success", f"{task} is done")
        assert apart.state(run_id, task) in ("queued", "running")
        ends_well(apart, run_id, f"failover, {task} forgotten", again, before)


def test_a_run_that_is_lost_as_airflows_database_fails_over_to_a_replica(apart: Apart) -> None:
    """Airflow knows nothing of it any more: the next run publishes its day, too."""
    before = apart.processes()
    with kept_up(apart.deployment) as again:
        with followed(apart) as pair, cut_off(pair):
            lost = apart.begins_a_run()
            wait_for(lambda: apart.state(lost, "check_sources") == "success", "the sources were checked")
        assert apart.ask(f"select state from dag_run where run_id = '{lost}'") == []
        recovers(apart.is_healthy, "all components are healthy")
        ends_well(apart, apart.begins_a_run(), "failover, run forgotten", again, before)
        assert lost not in str(apart.deployment.query("select run_id from ops.publications"))
