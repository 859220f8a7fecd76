"""A dbt project that isn't Greenery's, run by Cosmos with `include.fast_cosmos`: all that such a project has to write.

`tasks` has its operator and its task group, `benchmarks/dags/fast.py` the DAG, `plugins/` the listener;
`benchmarks/orchestration.py` names the coordinator. `docs/fast-cosmos.md` explains each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from include.fast_cosmos.releases import Release, Releases
from include.fast_cosmos.warm_up import LIBRARIES, WarmUp

PROJECT = Path(os.environ["BENCH_PROJECT"])
RELEASES = Releases(
    source=PROJECT,
    home=PROJECT.with_name(f"{PROJECT.name}-releases"),
    profile="greenery",
    target="warehouse",
    packages=("dbt-core", "dbt-postgres"),
)


def _draw(release: Release) -> Any:
    from benchmarks.other_project import tasks  # with Cosmos and dbt, which not every process of Airflow needs

    return tasks.draw(release)


WARM_UP = WarmUp(
    current=RELEASES.current,
    libraries=(*LIBRARIES, "dbt.adapters.postgres.impl"),
    modules=("benchmarks.other_project.tasks",),
    draw=_draw,
)
