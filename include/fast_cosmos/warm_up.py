"""Load once, in the process that forks tasks, what every task would load for itself: dbt, Cosmos, the project.

A task is a fork of the process that looks after it (a LocalExecutor's worker, itself a fork of the scheduler; a Celery
worker's), so what is loaded there is there in each, for nothing.

Two of Airflow's own hooks call a `WarmUp`: a listener, in the scheduler before it forks workers, and a coordinator, in
the worker right before it forks a task. What is kept of the project is the parse of one release, which never changes;
when the project does, its new release is loaded before the next task. No connection, thread or lock is left open. A
warm-up that fails is logged, and tasks are slower for it.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk import DAG
from airflow.sdk.execution_time.coordinator import BaseCoordinator, get_coordinator_manager

from . import ahead
from .releases import Release

# What dbt, Airflow and Cosmos import when they first need it.
LIBRARIES = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.operators.trigger_dagrun",
    "airflow.providers.standard.sensors.external_task",
    "airflow.sdk.execution_time.task_runner",
    "airflow.timetables.trigger",
    "airflow.version",
    "babel.dates",
    "cosmos.operators.local",
    "cosmos.profiles",
    "daff",
    "dbt.adapters.__about__",
    "dbt.cli.main",
    "dbt.task.build",
    "dbt.task.freshness",
    "dbt_common.clients.agate_helper",
    "multiprocessing.dummy",
)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class WarmUp:
    """What is loaded before tasks are forked.

    `current` finds the release that the next task runs on; None where there is none yet. `libraries` are modules that
    never change while Airflow is up, the adapter's among them; `modules` are the project's own. `draw` draws the tasks
    of a release, so that Cosmos and Airflow find out about their own classes, and may load what else is kept of it.
    `done` is asked before a task is forked whether its work is done already (`ahead`), and may wait for that.
    """

    current: Callable[[], Release | None]
    libraries: tuple[str, ...] = LIBRARIES
    modules: tuple[str, ...] = ()
    draw: Callable[[Release], object] = lambda _: None
    done: Callable[[Any], ahead.Done | None] = lambda _: None
    loaded: list[Release | None] = field(default_factory=list)

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """Airflow calls this when a component's job starts, before it forks.

        The scheduler's tasks find all loaded. The DAG processor reads files in forks as well, and no dbt runs in them.
        """
        if type(component).__name__ != "Job":
            return
        if "scheduler" in sys.argv:
            self.follow()
        if "dag-processor" in sys.argv:
            self._once(self._draw)

    def follow(self) -> None:
        """Load the code, and the current release unless it is what was loaded last; never raises."""
        self._once(self._load)

    def _once(self, load: Callable[[Release | None], None]) -> None:
        try:
            current = self.current()
            if self.loaded == [current]:
                return
            start = time.monotonic()
            self.loaded[:] = [current]  # once: a release that does not load is not tried before every task
            load(current)
            # Tasks share these pages for as long as nobody touches them, and the garbage collector would. What was
            # frozen before stays so: a worker that loads another release shares the rest with the scheduler.
            gc.collect()
            gc.freeze()
            log.info("Warm-up took %.1f s", time.monotonic() - start)
        except Exception:
            log.exception("Warm-up failed; tasks load dbt for themselves and are slower.")

    def _load(self, project: Release | None) -> None:
        _import(self.libraries + self.modules)
        if project:
            from dbt.adapters.factory import reset_adapters

            from . import invocation

            invocation.compile_macros(invocation.load(project))
            invocation.rehearse(project)
            reset_adapters()
        self._draw(project)

    def _draw(self, project: Release | None) -> None:
        _import(self.libraries + self.modules)
        if project:
            with DAG(dag_id="warm_up", schedule=None):
                self.draw(project)


class WarmCoordinator(BaseCoordinator):
    """Runs tasks as Airflow does, after the process that they are forked from was warmed up.

    `warm_up` is where a `WarmUp` is: "my_module.WARM_UP". `[sdk] coordinators` names both, the second as an argument.
    """

    def __init__(self, warm_up: str) -> None:
        self._warm_up: WarmUp = resolve_name(warm_up)

    def execute_task(self, **task: Any) -> BaseCoordinator.ExecutionResult:
        """Called by the worker for each task."""
        if done := self._done(task["what"]):
            return ahead.succeed(task["what"], task["client"], task.get("logger"), done)
        self._warm_up.follow()
        # A queue that nobody has mapped is Airflow's own way to run Python.
        return get_coordinator_manager().for_queue("").execute_task(**task)

    def _done(self, task: Any) -> ahead.Done | None:
        try:
            return self._warm_up.done(task)
        except Exception:
            log.exception("Nobody can say whether %s is done already; it runs as ever.", task.task_id)
            return None


def _import(modules: Iterable[str]) -> None:
    for name in modules:
        try:
            import_module(name)
        except ImportError:
            log.warning("Warm-up: %s is not there; tasks that need it import it themselves.", name, exc_info=True)
