"""Tasks that need no process: one dbt has built what they build, in dbt's own order, before they came.

A worker asks for what was done (`WarmUp.done`) before it forks a task. Where that is all well, it tells Airflow's API
that the task began and succeeded, in the worker itself. A task that failed, that is retried or cleared, or of which
nobody knows anything runs as ever.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk.execution_time.coordinator import BaseCoordinator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """A task's work, done well: from when to when, the lines of its log, and what the UI shows as rendered."""

    began_at: datetime
    ended_at: datetime
    log: Sequence[str] = ()
    rendered: Mapping[str, str] = field(default_factory=dict)


def succeed(task: Any, client: Any, logger: Any, done: Done) -> BaseCoordinator.ExecutionResult:
    """Let a task end as well done that no process has run. Raises what Airflow's API answers, as a task's start does.

    `task`, `client` and `logger` are what Airflow hands to a coordinator.
    """
    instances = client.task_instances
    instances.start(task.id, os.getpid(), done.began_at)
    for line in done.log if logger else ():
        logger.info(line)
    if done.rendered:
        instances.set_rtif(task.id, _as_shown(done.rendered))
    instances.succeed(task.id, done.ended_at, task_outlets=[], outlet_events=[], rendered_map_index=None)
    if logger:
        _keep_log(task, client, logger)
    return BaseCoordinator.ExecutionResult(exit_code=0, final_state="success")


def _as_shown(rendered: Mapping[str, str]) -> dict[str, Any]:
    """Rendered fields as a task's own process would send them: without secrets, and cut where they are long."""
    from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

    task: Any = SimpleNamespace(template_fields=tuple(rendered), **rendered)
    return _serialize_rendered_fields(task)


def _keep_log(task: Any, client: Any, logger: Any) -> None:
    """Bring the log to where Airflow keeps logs, if that is elsewhere, as a task's supervisor does."""
    from airflow.sdk.execution_time.supervisor import _remote_logging_conn
    from airflow.sdk.log import upload_to_remote

    try:
        with _remote_logging_conn(client):
            upload_to_remote(logger, task)
    except Exception:
        log.exception("The log of %s stays on this machine.", task.task_id)
