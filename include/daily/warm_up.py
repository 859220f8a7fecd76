"""Load once, in the process that forks tasks, what every task would load for itself: dbt, Cosmos, the project.

A task is a fork of the process that looks after it (a LocalExecutor's worker, itself a fork of the scheduler; a Celery
worker's), so what is loaded there is there in each, for nothing. `docs/speed.md` tells how, and what it saves.

Two of Airflow's own hooks call this: a listener, in the scheduler before it forks workers, and a coordinator, in the
worker right before it forks a task. What is kept of the project is the parse of one release, which never changes; when
the project does, its new release is loaded before the next task. No connection, thread or lock is left open. A warm-up
that fails is logged, and tasks are slower for it.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk import DAG
from airflow.sdk.execution_time.coordinator import BaseCoordinator, get_coordinator_manager

from include.dbt_project import release
from include.dbt_project.release import Release

# What dbt, Airflow and Cosmos import when they first need it.
LIBRARIES = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.dagbag",
    "airflow.providers.slack.hooks.slack_webhook",
    "airflow.sdk.execution_time.task_runner",
    "babel.dates",
    "cosmos.operators.local",
    "cosmos.profiles",
    "daff",
    "dbt.adapters.__about__",
    "dbt.adapters.postgres.impl",
    "dbt.cli.main",
    "dbt.task.build",
    "dbt.task.freshness",
    "dbt_common.clients.agate_helper",
    "multiprocessing.dummy",
)
OURS = ("include.daily.task_groups", "include.publish.publish", "include.daily.report")

log = logging.getLogger(__name__)
_loaded: list[Release | None] = []


class WarmCoordinator(BaseCoordinator):
    """Runs tasks as Airflow does, after it has warmed up the process that they are forked from."""

    def execute_task(self, **task: Any) -> BaseCoordinator.ExecutionResult:
        """Called by the worker for each task."""
        follow()
        # A queue that nobody has mapped is Airflow's own way to run Python.
        return get_coordinator_manager().for_queue("").execute_task(**task)


@hookimpl
def on_starting(component: Any) -> None:
    """Airflow calls this when a component's job starts, before it forks.

    The scheduler's tasks find all loaded. The DAG processor reads our files in forks as well: they find the libraries,
    and our own code as it is at that moment.
    """
    if type(component).__name__ != "Job":
        return
    if "scheduler" in sys.argv:
        follow()
    if "dag-processor" in sys.argv:
        _import(LIBRARIES)


def follow() -> None:
    """Load the code, and the current release of the project unless it is what was loaded last; never raises."""
    try:
        current = release.current()
        if _loaded == [current]:
            return
        start = time.monotonic()
        _loaded[:] = [current]  # once: a release that does not load is not tried before every task
        _load(current)
        log.info("Warm-up took %.1f s", time.monotonic() - start)
    except Exception:
        log.exception("Warm-up failed; tasks load dbt for themselves and are slower.")


def _load(project: Release | None) -> None:
    _import(LIBRARIES + OURS)
    if project:
        from dbt.adapters.factory import reset_adapters

        from include.daily import task_groups
        from include.dbt_project import invocation, manifest

        invocation.compile_macros(invocation.load(project.path))
        invocation.rehearse(project)
        reset_adapters()
        manifest.read(project.manifest).tests_of(manifest.CHECK_SOURCES)  # each task's process asks for its own
        # Cosmos and Airflow find out about their own classes when they first draw a task.
        with DAG(dag_id="warm_up", schedule=None):
            task_groups.transform(project)
    # Tasks share these pages for as long as nobody touches them, and the garbage collector would.
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _import(modules: Iterable[str]) -> None:
    for name in modules:
        try:
            import_module(name)
        except ImportError:
            log.warning("Warm-up: %s is not there; tasks that need it import it themselves.", name, exc_info=True)
