"""A life is lived: each step by the functions that the daily run's tasks, the loaders and people at a shell call.

Real are Postgres, dbt, the gate, the exchange and the messages; played are Slack's side and Airflow, which says in what
order tasks come, which of them may still come when one has failed, and which is tried again.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

import psutil
import psycopg2
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import set_current_context

from include.answers import answers
from include.answers.answer import About, Kind
from include.daily import DAG_ID, admission, buffers, report, snapshots
from include.demo_shop import demo
from include.local import postgres
from include.publish import by_hand, exchange
from include.publish.gate import NotPublishedError
from include.publish.publish import publish
from include.raw.lease import LeaseHeldError
from include.raw.load import LoadError
from include.results import nodes, runs
from include.results.record import record
from include.slack.transport import UnavailableError
from include.warehouse import connect, migrate
from tests.clock import let_pass
from tests.conftest import FORGETFUL
from tests.dbt.conftest import KeptShop
from tests.dbt.days import A_FEW, EVERYTHING, ORDERS_PER_DAY, Days
from tests.dbt.edits import EDITS, Edit, Tables, deliver, replica
from tests.dbt.faults import FAULTS
from tests.dbt.lives import edits_that_pass
from tests.dbt.lives.checker import Broken, Checker, Reader, reading
from tests.dbt.lives.life import (
    MUTED_FOR,
    Cleared,
    Cut,
    Decided,
    Deployed,
    Edited,
    Fault,
    Held,
    Killed,
    Life,
    Load,
    LoadedBetween,
    Mended,
    Muted,
    Refused,
    Restarted,
    Run,
    Spoilt,
    Step,
    Upgraded,
    Waited,
)
from tests.dbt.lives.versions import Version, Versions
from tests.dbt.lives.wire import Wire, wired
from tests.slack_server import Slack

BEFORE_THE_LAST = "0023"
# What may end a task. Anything else is a fault of ours, and ends the life.
ENDS_A_TASK = (AirflowFailException, LeaseHeldError, LoadError, UnavailableError, psycopg2.Error)


class DbtFailedError(Exception):
    """A task of dbt's has failed: a model, a test, or dbt itself."""


class Living(Days):
    """A life under way. Who reads meanwhile makes a `pause` of so many seconds between two queries."""

    pause = 0.01

    def __init__(self, shop: KeptShop, versions: Versions, life: Life, wire: Wire, slack: Slack) -> None:
        self.life, self.versions, self.wire, self.slack = life, versions, wire, slack
        self.version = versions.of(life, 0)
        super().__init__(shop, self.version.project, life.seed)
        self.models = A_FEW if life.few else EVERYTHING
        self.fill_both_buffers("a_few" if life.few else "everything")
        # What is told to be committed has to outlive a server that is killed; each process forgets this otherwise.
        shop.query(f"alter database {shop.name} set synchronous_commit = on")
        shop.query("set synchronous_commit = on")
        self.active: set[str] = set()
        self.begun = datetime.now(UTC)
        self.fault: object = None
        self.working = ""
        self.sound: Tables | None = None
        self.first = self.runs
        self.tally: Counter[str] = Counter()
        self.tries: Counter[tuple[str, str]] = Counter()  # by run and task
        self.said: dict[str, int] = {}
        self.checker = Checker(shop, self)

    def live(self) -> None:
        """All of it. Raises Broken at the step after which a rule does not hold."""
        for number, day in enumerate(self.life.days):
            for step in day:
                where, broke, self.fault = f"day {number}: {step}", self.wire.broke, None
                try:
                    self.take(step)
                    self.checker.check(step)
                except Broken as broken:
                    raise Broken(broken.rule, where, broken.why) from broken
                except Exception as error:
                    raise Broken("a step is taken", where, f"{type(error).__name__}: {error}") from error
                finally:
                    if self.fault and (self.wire.broke > broke or isinstance(self.fault, Held | LoadedBetween)):
                        self.tally[f"fault {type(self.fault).__name__}"] += 1
                    self.tally[type(step).__name__] += 1

    def take(self, step: Step) -> None:
        """A step."""
        match step:
            case Load(fault, again):
                self._load(fault, again=again)
            case Edited(seed, times):
                self._deliver_changed(seed, edits_that_pass.EDITS if self.life.tested else EDITS, times)
            case Refused(seed):
                self._deliver_half(seed)
            case Spoilt(seed):
                self.sound = replica(self.shop.connection)
                self._deliver_changed(seed, FAULTS, 1)
            case Mended():
                if self.sound:
                    deliver(self.shop.connection, self.sound)
                self.sound = None
            case Run(fault, everything, tells):
                self.runs += 1
                self._begin_run()
                self.run_dag(fault, everything=everything, tells=tells)
            case Cleared(fault):
                if self.runs > self.first:
                    self.run_dag(fault)
            case Decided(action):
                self._decide(action)
            case Muted(seed):
                test = Random(seed).choice(self._to_mute())  # noqa: S311
                self._mute(test, datetime.now(UTC).date() + timedelta(days=MUTED_FOR))
            case Waited(days):
                let_pass(self.shop.query, days)
                # What was observed of days that are no longer before it: in two steps, since a day is there once.
                for later in (-10_000, 10_000 - days):
                    self.shop.query(f"update ops.observations set day = day + {later}")
                # The marts hold moments of their own, so they are made anew.
                self.shop.query("update ops.buffer_models set checksum = null")
                self.checker.waited(timedelta(days=days))
            case Deployed(version):
                self.version = self.versions.of(self.life, version)
                self.project = self.version.project
            case Upgraded():
                self._upgrade()

    def _load(self, fault: Fault | None, *, again: bool) -> None:
        self.working, day = "load", demo.next_day(self.shop.connection)
        before = self.checker.raw()

        def load() -> None:
            with connect("a loader") as connection:
                demo.play_day(connection, day, orders_per_day=ORDERS_PER_DAY)

        with self._breaking(fault), suppress(*ENDS_A_TASK) if fault else nullcontext():
            load()
        loaded = demo.next_day(self.shop.connection) > day
        self.checker.holds("a load is whole or nothing", loaded or self.checker.raw() == before, "raw has changed")
        if again:
            load()
            self.checker.holds("a load is whole or nothing", demo.next_day(self.shop.connection) == day + 1, "not once")

    def _to_mute(self) -> list[str]:
        """The tests that failed or warned in the last run, or else all."""
        bad = self.shop.query(
            "select unique_id from ops.last_words where status in ('fail', 'warn') and unique_id like 'test.%'"
            " and run_id = (select run_id from ops.runs order by started_at desc limit 1)"
        )
        tests = [test for (test,) in bad] or [test.unique_id for test in self.version.facts.data_tests]
        return sorted(tests) or ["test.greenery.none"]

    @property
    def run_id(self) -> str:
        """The run that began last."""
        return f"run {self.runs}"

    def version_of(self, run_id: str) -> Version:
        """With which version a run was made."""
        [(stamp,)] = self.shop.query("select release from ops.runs where run_id = %s", run_id)
        return next(one for one in self.versions.made.values() if one.stamp == stamp)

    @contextmanager
    def of(self, run_id: str) -> Iterator[None]:
        """As if the version of a run were deployed."""
        now, self.project = self.project, self.version_of(run_id).project
        yield
        self.project = now

    def _begin_run(self) -> None:
        with connect() as connection:
            runs.begin(connection, self.run_id, self.version.stamp)

    def _upgrade(self) -> None:
        migrate.downgrade(BEFORE_THE_LAST)
        migrate.upgrade()

    def _mute(self, test: str, until: date) -> None:
        with connect() as connection:
            answers.give(connection, Kind.MUTE, About(test), "ada", "known", until)

    def run_dag(self, fault: Fault | None, *, everything: bool = False, tells: str = "report") -> None:
        """The tasks of the daily DAG, in its order, by its rules."""
        self.begun, self.active = datetime.now(UTC), {self.run_id}
        version = self.version_of(self.run_id)
        between = self.load_a_day_past_everybody if isinstance(fault, LoadedBetween) else None
        states: dict[str, str | None] = {}

        def task(name: str, work: Callable[[Any], None], *after: str) -> None:
            failed = any(states[one] not in ("success", "skipped") for one in after)
            states[name] = "upstream_failed" if failed else self._task(name, work, {"full_refresh": everything})

        broke = self.wire.broke
        with self._breaking(fault):
            task("check_sources", lambda context: self._check_sources(context, version))
            task("transform", lambda context: self._transform(context, version), "check_sources")
            if between:
                between()
            task("snapshot", lambda context: self._snapshot(context, version))
            task("history", lambda context: self._history(context, version), *states)
            with self._held() if isinstance(fault, Held) else nullcontext(), reading(self.shop, self.pause) as reader:
                task("publish", self._publish, *states)
            if tells == "report":
                states["report"] = None  # it is under way
                self._task("report", lambda _: report.report.function(), {}, states=states, retries=3)
            else:
                with suppress(*ENDS_A_TASK):
                    report.report_backstop(self._context("report", {}, states))
            self.wire.mend()
        self.active = set()
        disturbed = self.wire.broke > broke or isinstance(fault, Held | LoadedBetween)
        self.has_ended(states, reader, tells, disturbed=disturbed)

    def has_ended(
        self, states: dict[str, str | None], reader: Reader, tells: str = "report", *, disturbed: bool
    ) -> None:
        """What has to be so of a run that has just ended."""
        self.checker.reader_saw(reader, server_went=isinstance(self.fault, Restarted))
        self.checker.of_run(states, tells)
        if not disturbed and not self.sound:
            self.checker.is_published(states)
        self.tally[f"publish {states['publish']}"] += 1

    def _task(
        self,
        name: str,
        work: Callable[[Any], None],
        params: dict[str, Any],
        *,
        states: dict[str, str | None] | None = None,
        retries: int = 1,
    ) -> str:
        """A task as Airflow has it: what state it ends in. It is tried again where the wire broke.

        Tries of a task that was cleared are counted on.
        """
        self.working, of_before = name, self.tries[self.run_id, name]
        for attempt in range(of_before + 1, of_before + retries + 2):
            self.tries[self.run_id, name] = attempt
            context = self._context(name, params, states or {}, max_tries=of_before + retries)
            broken = self.wire.broke
            try:
                with set_current_context(context):
                    work(context)
                state = "success"
            except AirflowSkipException:
                state = "skipped"
            except (*ENDS_A_TASK, DbtFailedError):
                state = "failed"
            if self.wire.broke == broken:
                return state
            self.tally[f"struck {name}"] += 1
            self.wire.mend()
            if isinstance(self.fault, Killed):
                # Whatever it was about to say, nobody heard so.
                if not self.fault.tries_again and name != "report":
                    return "failed"
            elif state != "failed":
                return state
        return "failed"

    def _context(self, task_id: str, params: dict[str, Any], states: dict[str, str | None], max_tries: int = 0) -> Any:
        """What Airflow gives to a task."""
        instance = SimpleNamespace(
            dag_id=DAG_ID,
            run_id=self.run_id,
            task_id=task_id,
            try_number=self.tries[self.run_id, task_id],
            max_tries=max_tries,
            get_dr_count=lambda _dag, run_ids, **_: len(self.active & set(run_ids)),
            get_task_states=lambda **_: {self.run_id: states},
            xcom_push=lambda **_: None,
            xcom_pull=lambda **_: None,
        )
        return {
            "run_id": self.run_id,
            "dag": SimpleNamespace(dag_id=DAG_ID),
            "dag_run": SimpleNamespace(run_type="scheduled", start_date=self.begun),
            "ti": instance,
            "params": params,
        }

    def _check_sources(self, context: Any, version: Version) -> None:
        admission.admit(context, builds=False)
        admission.refuse_if(context, snapshots.problem(version.facts))
        with connect("greenery check_sources") as connection:
            asked = bool(context["params"].get("full_refresh"))
            buffers.begin(connection, self.run_id, full_refresh=asked, overlap=self.overlap)
        if self.life.tested:
            self._dbt(context, version, "test", "--selector", "sources")

    def _transform(self, context: Any, version: Version) -> None:
        admission.admit(context, builds=True)
        with connect("greenery build") as connection:
            buffers.mark(connection)
        views = () if self.life.tested else ("config.materialized:view",)
        self._dbt(
            context,
            version,
            "build",
            "--select",
            *self.models,
            "--exclude",
            "path:snapshots+",
            *views,
            "--indirect-selection",
            "cautious",
        )

    def _snapshot(self, context: Any, version: Version) -> None:
        admission.admit(context, builds=False)
        admission.refuse_if(context, snapshots.problem(version.facts))
        try:
            select = ("--selector", "snapshot") if self.life.tested else ("--select", "path:snapshots")
            self._dbt(context, version, "build", *select)
        finally:
            snapshots.remember(version.facts, self.run_id)

    def _history(self, context: Any, version: Version) -> None:
        admission.admit(context, builds=True)
        names = sorted(version.facts.nodes[one]["name"] for one in version.facts.history)
        # Where tests run, those that span models and snapshots too, which have a task of their own in the DAG.
        self._dbt(context, version, "build", "--select", *names, "--indirect-selection", "buildable")

    def _publish(self, _: Any) -> None:
        publish.function()

    def _dbt(self, context: Any, version: Version, *command: str) -> None:
        """As an operator of ours does: run it, keep what became of each node, and fail where something did."""
        dbt = version.project if self.life.tested else version.project.untested
        tested = self.life.tested and command[0] == "build"
        # Where a fault counts commits, the one that it meets is the same each time.
        in_order = ("--threads", "1") if self.is_struck() else ()
        done = dbt.invoke(*command, *(("--exclude-resource-type", "unit_test") if tested else ()), *in_order)
        results = nodes.from_dbt(getattr(done.result, "results", ()))
        instance = context["ti"]
        record(self.run_id, instance.task_id, instance.try_number, results, version.facts)
        if done.exception and not results:
            admission.leave_reason(context, f"dbt did not get to run anything: {done.exception}")
        if done.exception or {one.status for one in results} & {"fail", "error", "skipped"}:
            raise DbtFailedError(str(done.exception or ""))

    def load_a_day_past_everybody(self) -> None:
        """A loader that asks for no lease."""
        tables = replica(self.shop.connection)
        edit = Random(self.runs).choice(edits_that_pass.EDITS)  # noqa: S311
        edit(tables, Random(self.runs))  # noqa: S311
        with connect("a loader") as connection:
            held = "update ops.leases set released_at = clock_timestamp() where released_at is null returning lease_id"
            with connection.cursor() as cursor:
                cursor.execute(held)
                leases = [one for (one,) in cursor.fetchall()]
                deliver(connection, tables)
                cursor.execute("update ops.leases set released_at = null where lease_id = any(%s)", (leases,))

    def _deliver_changed(self, seed: int, edits: tuple[Edit, ...], times: int) -> None:
        random, tables = Random(seed), replica(self.shop.connection)  # noqa: S311
        for edit in random.choices(edits, k=times):
            edit(tables, random)
        deliver(self.shop.connection, tables)

    def _deliver_half(self, seed: int) -> None:
        """The last table has a row that no column of its takes."""
        tables = replica(self.shop.connection)
        before = self.checker.raw()
        Random(seed).choice(EDITS)(tables, Random(seed))  # noqa: S311
        tables["events"].append(tables["events"][0] | {"event_id": "half", "created_at": "no time at all"})
        try:
            deliver(self.shop.connection, tables)
        except psycopg2.Error:
            self.checker.holds("a load is whole or nothing", self.checker.raw() == before, "raw has changed")
        else:
            raise Broken("a load is whole or nothing", "", "it was taken, though a row of it says no time")

    def _decide(self, action: str) -> None:
        if action == "publish" and self.runs == self.first:
            return
        decided = self.checker.decisions()
        with reading(self.shop, self.pause) as reader:
            try:
                self.take_effect(action)
            except NotPublishedError:
                self.tally[f"{action} refused"] += 1
        self.checker.reader_saw(reader)
        self.checker.are_told(self.checker.decisions() - decided)

    def take_effect(self, action: str) -> None:
        """Raises NotPublishedError where it is refused."""
        {
            "roll back": lambda: by_hand.roll_back("ada", "to see"),
            "hold": lambda: by_hand.hold("ada", "to see"),
            "release": lambda: by_hand.release("ada", "to see"),
            "publish": lambda: by_hand.publish_anyway(self.run_id, "ada", "to see"),
        }[action]()

    def under_way(self) -> set[str]:
        """The tasks at work, or `load`."""
        return {self.working}

    def processes(self) -> set[int]:
        """Those that we have started."""
        return {child.pid for child in psutil.Process().children()}

    def is_struck(self) -> bool:
        """Whether what is at work is what the fault is about."""
        return getattr(self.fault, "task", None) in self.under_way()

    @contextmanager
    def _breaking(self, fault: object) -> Iterator[None]:
        """Lead by the wire, and break it, where a fault says so; the server itself is reached at less cost."""
        self.fault = fault
        match fault:
            case Killed(_, at, heard, _):
                how = self.wire.breaking(at, self.is_struck, heard=heard, altogether=True)
            case Cut(_, at, heard):
                how = self.wire.breaking(at, self.is_struck, heard=heard)
            case Restarted(_, at, heard):
                how = self.wire.breaking(at, self.is_struck, heard=heard, strikes=lambda _: self._restart())
            case _:
                how = nullcontext()
        with _told(self.wire) if isinstance(fault, Killed | Cut | Restarted) else nullcontext(), how:
            yield
        if isinstance(fault, Restarted):
            self.shop.connect()

    def _restart(self) -> None:
        """The server dies as in a crash, and comes up again."""
        data = self.shop.server.data
        server = psutil.Process(postgres.server_process(data))
        server.send_signal(signal.SIGQUIT)
        server.wait(120)
        postgres.start(data, settings=FORGETFUL, stays=True)  # who ends it in the end is told already

    @contextmanager
    def _held(self) -> Iterator[None]:
        """A reader who leaves their transaction open, where a publish is soon out of patience."""
        attempts, exchange.ATTEMPTS = exchange.ATTEMPTS, 1
        holder = psycopg2.connect(**self.shop.where.libpq())
        try:
            with holder.cursor() as cursor:
                cursor.execute("select * from analytics.fact_orders limit 1")
            yield
        finally:
            holder.close()
            exchange.ATTEMPTS = attempts


@dataclass
class World:
    """What lives need: they come one after the other, each from the same beginning."""

    shop: KeptShop
    versions: Versions
    slack: Slack

    def live(self, life: Life) -> tuple[Broken | None, Counter[str]]:
        """Live a life: what was broken first, if anything, and what there was in it."""
        with self._begun(life) as living:
            try:
                living.checker.begin()
                living.live()
            except Broken as broken:
                return broken, living.tally
            return None, living.tally

    @contextmanager
    def _begun(self, life: Life) -> Iterator[Living]:
        """Who lives it, before its first day."""
        with wired(self.shop.where) as wire:
            yield Living(self.shop, self.versions, life, wire, self.slack)


@contextmanager
def _told(wire: Wire) -> Iterator[None]:
    """The environment leads to the warehouse by the wire."""
    with pytest.MonkeyPatch.context() as environment:
        for key, value in wire.where.environment().items():
            environment.setenv(key, value)
        yield
