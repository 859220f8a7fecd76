"""Load once, in the process that forks tasks, what every task would load for itself: dbt, its adapter, Cosmos.

A LocalExecutor's tasks are forks of the scheduler, so what is imported there before the first fork is there in each.
Only code and dbt's own tables are kept warm: nothing of the project's state, no connection, no thread. Registered as an
Airflow listener by `plugins/greenery_warm_up.py`; a warm-up that fails is logged, and tasks are slower for it.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from importlib import import_module
from typing import Any

from airflow.listeners import hookimpl

from include.dbt_project import release

MODULES = (
    "airflow.providers.slack.hooks.slack_webhook",
    "dbt.adapters.postgres.impl",
    "include.dbt_project.cosmos",
    "include.publish",
    "include.report",
    "openlineage.common.provider.dbt.local",
)

log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: Any) -> None:
    """Airflow calls this when a component's job starts; only the scheduler's is of interest."""
    if "scheduler" not in sys.argv or type(component).__name__ != "Job":
        return
    start = time.monotonic()
    try:
        _warm_up()
    except Exception:
        log.exception("Warm-up failed; tasks load dbt for themselves and are slower.")
    else:
        log.info("Warm-up took %.1f s", time.monotonic() - start)


def _warm_up() -> None:
    for name in MODULES:
        import_module(name)
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner

    project = release.current()
    if project is None:
        return
    # dbt builds its schemas and registers its adapter at the first call in a process; `ls` connects to nothing.
    with tempfile.TemporaryDirectory() as target:
        dbtRunner().invoke(
            [
                *("--quiet", "--no-partial-parse", "ls", "--select", "stg_greenery__promos", "--target-path", target),
                *("--log-path", target, "--project-dir", str(project.path), "--profiles-dir", str(project.path)),
            ]
        )
    reset_adapters()
