"""The same life on a real Airflow: what differs is how a run goes, what kills it, and how people decide.

All processes of the deployment reach its warehouse by the wire, so a fault is as exact as elsewhere: who comes to the
commit that the life names is killed. What Airflow does about that is its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event

import psutil
from dbt.tests.util import get_manifest

from include.answers.__main__ import main as answer
from include.daily import DAG_ID
from include.dbt_project import manifest, release
from include.local import postgres, warehouse
from include.local.demo import Outcome
from include.publish.gate import NotPublishedError
from include.warehouse import migrate
from tests.dbt.conftest import KeptShop
from tests.dbt.days import ORDERS_PER_DAY, Project
from tests.dbt.lives.checker import reading
from tests.dbt.lives.life import VERSIONS, Cut, Fault, Held, Killed, Life, LoadedBetween, Restarted
from tests.dbt.lives.player import BEFORE_THE_LAST, Living, World
from tests.dbt.lives.versions import Version
from tests.dbt.lives.wire import Wire
from tests.deployment import EMPTY, Deployment
from tests.faulty import opened
from tests.meanwhile import meanwhile
from tests.waiting import wait_for

# What is part of another step of the run, where its name does not say so.
PART_OF = {"build_ahead": "transform", "cross_model_tests": "history"}
TWO_DAYS = "two_days"


def part(task_id: str) -> str:
    """The step of a run that a task belongs to."""
    first = task_id.split(".", 1)[0]
    return PART_OF.get(first, first)


def states_of(tasks: dict[str, str | None]) -> dict[str, str | None]:
    """How each step ended, its groups of models as one; what builds ahead may fail, as the models' tasks build then."""
    ended: dict[str, set[str | None]] = {}
    for task_id, state in tasks.items():
        ended.setdefault(task_id.split(".", 1)[0], set()).add(state)
    return {
        step: states.pop() if len(states) == 1 else "failed" if "failed" in states else "upstream_failed"
        for step, states in ended.items()
    }


class DeployedShop(KeptShop):
    """The warehouse of a deployment. Wherever a life begins, two days have been run there before."""

    name = warehouse.NAME

    def __init__(self, deployment: Deployment) -> None:
        self.server, self.deployment = deployment.server, deployment
        deployment.come_to(EMPTY)
        for _ in range(2):
            deployment.play_day(ORDERS_PER_DAY)
            assert deployment.run().state == "success"
        deployment.keep(TWO_DAYS)
        self.connect()

    def come_to(self, name: str, play: Callable[[], None]) -> None:  # noqa: ARG002 - as of another shop
        """The second day."""
        self.connection.close()
        self.deployment.come_to(TWO_DAYS)
        self.connect()


@dataclass
class DeployedVersions:
    """The versions of the deployment's project that were released so far, by their number."""

    deployment: Deployment
    work: Path
    made: dict[int, Version] = field(default_factory=dict)

    def of(self, _: Life, number: int) -> Version:
        """Deploy a version: the project's files are changed, and the DAG is drawn of them."""
        for change in filter(None, VERSIONS):
            name, was, becomes = change
            [file] = self.deployment.dbt_project.glob(f"models/**/{name}.sql")
            text = file.read_text().replace(becomes, was)
            if change == VERSIONS[number]:
                text = text.replace(was, becomes)
            if text != file.read_text():
                file.write_text(text)
        self.deployment.draw("transform.models.marts.core.int_orders_model_build")
        if number not in self.made:
            self.made[number] = self._read()
        return self.made[number]

    def _read(self) -> Version:
        """The current release, as dbt parsed it."""
        made = release.current()
        copy = shutil.copytree(made.path, self.work / made.stamp)  # a release is sealed, and dbt writes to its folder
        parsed = get_manifest(copy)
        parsed.build_flat_graph()  # our macros keep in it what they found of each node
        return Version(Project(copy, copy, parsed), manifest.read(made.manifest), made.stamp)


class LivingOnAScheduler(Living):
    """A life under way whose runs are Airflow's. The callback has the last word where a run takes too long."""

    shop: DeployedShop
    pause = 0.25  # who reads does so all through a run
    asked: str | None = None  # the run that was triggered last
    timed_out = False  # whether Airflow ended it before its report

    @property
    def run_id(self) -> str:
        """The run that began last."""
        return self.asked or "none"

    def _begin_run(self) -> None:
        self.asked = None

    def run_dag(self, fault: Fault | None, *, everything: bool = False, tells: str = "report") -> None:
        """The run, triggered, or cleared where it has been."""
        self.begun, self.working, broke = datetime.now(UTC), "", self.wire.broke
        self.timed_out = False
        with (
            self._breaking(fault) if tells == "report" else self._out_of_time(),
            self._held() if isinstance(fault, Held) else nullcontext(),
            reading(self.shop, self.pause) as reader,
        ):
            ended = self._airflow_runs(everything=everything)
        disturbed = self.wire.broke > broke or isinstance(fault, Held) or self._is_raw_old()
        self.has_ended(states_of(ended.task_states), reader, tells if self.timed_out else "report", disturbed=disturbed)

    def _is_raw_old(self) -> bool:
        """Whether nothing was loaded since days passed: freshness, which Airflow's runs ask for, holds the publish."""
        return self.shop.value("select max(loaded_at) < now() - interval '1 day' from raw.loads")

    def _airflow_runs(self, *, everything: bool) -> Outcome:
        deployment = self.shop.deployment
        if self.asked:
            ended = deployment.run_again(self.asked, "check_sources", downstream=True)
        else:
            self.asked = deployment.api.trigger(DAG_ID, {"full_refresh": everything})
            ended = deployment.outcome(self.asked)
        if self.timed_out:
            deployment.failed[self.asked] -= 1  # its callback has something to say
            said = f"select true from ops.messages where run_id = '{self.asked}' and sent_at is not null"
            wait_for(lambda: bool(self.shop.query(said)), "the callback has told what became of the run", seconds=60)
        deployment.wait_for_backstops()  # one that has something to say would be a second message
        return ended

    @contextmanager
    def _out_of_time(self) -> Iterator[None]:
        """Airflow ends the run as one that takes too long, while `history` is at work: its report never runs."""
        times_out = "update dag_run set start_date = start_date - interval '5 hours' where run_id = %s"

        def strikes(_: int) -> None:
            with opened(self.shop.server.database("airflow")) as airflow, airflow.cursor() as cursor:
                cursor.execute(times_out, (self.asked,))
            self.timed_out = True
            self.tally["runs timed out"] += 1

        with self.wire.breaking(1, lambda: "history" in self.under_way(), goes_on=True, strikes=strikes):
            yield

    def under_way(self) -> set[str]:
        """The steps whose tasks are running, as Airflow has it."""
        if self.working == "load":
            return {self.working}
        with opened(self.shop.server.database("airflow")) as airflow, airflow.cursor() as cursor:
            cursor.execute("select task_id from task_instance where dag_id = %s and state = 'running'", (DAG_ID,))
            return {part(task_id) for (task_id,) in cursor.fetchall()}

    def is_struck(self) -> bool:
        """Whether what is at work is what the fault is about."""
        return "snapshot" in self.under_way() if isinstance(self.fault, LoadedBetween) else super().is_struck()

    @contextmanager
    def _breaking(self, fault: object) -> Iterator[None]:
        """As elsewhere for a load, which is this process' own; tasks are killed where they run."""
        if getattr(fault, "task", None) == "load":
            with super()._breaking(fault):
                yield
            return
        self.fault = fault
        match fault:
            case Killed(_, at, heard, tries_again):
                strikes = self._kill_the_task if tries_again else self._kill_the_scheduler
                how = self.wire.breaking(at, self.is_struck, heard=heard, strikes=strikes)
            case Cut(_, at, heard):
                how = self.wire.breaking(at, self.is_struck, heard=heard)
            case Restarted(_, at, heard):
                how = self.wire.breaking(at, self.is_struck, heard=heard, strikes=lambda _: self._restart())
            case LoadedBetween():
                loads = lambda _: self.load_a_day_past_everybody()  # noqa: E731
                how = self.wire.breaking(1, self.is_struck, goes_on=True, strikes=loads)
            case _:
                how = nullcontext()
        with how:
            yield
        if isinstance(fault, Restarted):
            self.shop.connect()

    def _kill_the_task(self, port: int) -> None:
        """Whoever has this end of a connection to the wire."""
        ends = (one for one in psutil.net_connections("tcp") if one.laddr.port == port and one.raddr)
        for pid in {one.pid for one in ends if one.raddr.port == self.wire.port and one.pid}:
            assert pid != os.getpid()
            psutil.Process(pid).kill()
            self.tally["tasks killed"] += 1

    def _kill_the_scheduler(self, _: int) -> None:
        """With all that it started, as where the power goes; it comes up again."""
        self.shop.deployment.kill("scheduler")
        self.shop.deployment.start("scheduler")
        self.tally["schedulers killed"] += 1

    def _restart(self) -> None:
        """All of the warehouse's sessions end. The server itself is Airflow's as well."""
        with postgres.admin(self.shop.server) as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (self.shop.name,)
            )

    @contextmanager
    def _held(self) -> Iterator[None]:
        """A reader who leaves their transaction open until a publish waits for it."""
        waits = "select from pg_stat_activity where application_name = 'greenery publish' and wait_event_type = 'Lock'"

        def holds(over: Event) -> None:
            with (
                opened(self.shop.where) as holder,
                holder.cursor() as cursor,
                postgres.admin(self.shop.server) as looks,
            ):
                cursor.execute("begin")
                cursor.execute("select * from analytics.fact_orders limit 1")

                def is_over() -> bool:
                    looks.execute(waits)
                    return over.is_set() or bool(looks.rowcount)

                wait_for(is_over, "a publish waits for a reader", seconds=900)

        with meanwhile(holds):
            yield

    def take_effect(self, action: str) -> None:
        """By the trigger form. Raises NotPublishedError where it is refused."""
        of_run = {"run_id": self.run_id} if action == "publish" else {}
        if self.shop.deployment.decide(action=action, reason="to see", **of_run) != "success":
            raise NotPublishedError(f"{action} was refused")

    def _upgrade(self) -> None:
        """As a deployment does: the roles too."""
        migrate.downgrade(BEFORE_THE_LAST)
        warehouse.prepare(self.shop.server)

    def _mute(self, test: str, until: date) -> None:
        assert answer(["mute", test, "--until", str(until), "--reason", "known"]) == 0

    def processes(self) -> set[int]:
        """Those that we have started and that are no component of Airflow's."""
        started = {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}
        return started - {*self.shop.deployment.stack._read_state().pids.values()}


@dataclass
class DeployedWorld(World):
    """What lives on a scheduler need: one deployment for all, and its wire."""

    wire: Wire

    @contextmanager
    def _begun(self, life: Life) -> Iterator[Living]:
        yield LivingOnAScheduler(self.shop, self.versions, life, self.wire, self.slack)
