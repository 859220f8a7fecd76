"""A dbt project that isn't Greenery's, run by Cosmos with `include.fast_cosmos`: all that such a project has to write.

`tasks` has its operator and its task group, `benchmarks/dags/fast.py` the DAG, `plugins/` the listener. `ENVIRONMENT`
is what `airflow.cfg` would say. `docs/fast-cosmos.md` explains each.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from include.fast_cosmos.releases import Release, Releases
from include.fast_cosmos.warm_up import LIBRARIES, WarmUp

PROJECT = Path(os.environ.get("BENCH_PROJECT", "."))
RELEASES = Releases(
    source=PROJECT,
    home=PROJECT.with_name(f"{PROJECT.name}-releases"),
    profile="greenery",
    target="warehouse",
    depends_on=(version("dbt-postgres"),),
)
ENVIRONMENT = {
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path(__file__).with_name("plugins")),
    "AIRFLOW__SDK__COORDINATORS": json.dumps(
        {
            "warm": {
                "classpath": "include.fast_cosmos.warm_up.WarmCoordinator",
                "kwargs": {"warm_up": "benchmarks.other_project.WARM_UP"},
            }
        }
    ),
}


def _draw(release: Release) -> Any:
    from benchmarks.other_project import tasks  # with Cosmos and dbt, which not every process of Airflow needs

    return tasks.draw(release)


WARM_UP = WarmUp(
    current=RELEASES.current,
    libraries=(*LIBRARIES, "dbt.adapters.postgres.impl"),
    modules=("benchmarks.other_project.tasks",),
    draw=_draw,
)
