"""What is loaded before Greenery's tasks are forked. `docs/speed.md` tells what that saves.

`airflow.cfg` names it for the worker; `plugins/greenery_warm_up.py` for the scheduler and the DAG processor.
"""

from __future__ import annotations

from typing import Any

from include.dbt_project import release
from include.fast_cosmos.ahead import Done
from include.fast_cosmos.releases import Release
from include.fast_cosmos.warm_up import LIBRARIES, WarmUp


def _draw(project: Release) -> None:
    from include.daily import task_groups
    from include.dbt_project import manifest

    manifest.read(project.manifest).tests_of(manifest.CHECK_SOURCES)  # each task's process asks for its own
    task_groups.transform(project)


def _done(task: Any) -> Done | None:
    from include.daily import ahead

    return ahead.done(task, within=ahead.QUEUED_SECONDS)


WARM_UP = WarmUp(
    current=release.current,
    libraries=(*LIBRARIES, "airflow.providers.slack.hooks.slack_webhook", "dbt.adapters.postgres.impl"),
    modules=(
        *("include.daily.task_groups", "include.daily.load_shop", "include.publish.publish", "include.daily.report"),
        *("include.daily.watchdog", "include.publish.by_hand", "include.erase.by_hand"),
    ),
    draw=_draw,
    done=_done,
)
