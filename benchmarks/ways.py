"""The ways to run a dbt project that `benchmarks.orchestration` compares, each a DAG.

To add one, write its DAG file into `benchmarks/dags` and name it here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from include.daily import DAG_ID
from include.settings import PROJECT_ROOT

DAGS = PROJECT_ROOT / "benchmarks" / "dags"


@dataclass(frozen=True, eq=False)
class Airflow:
    """An Airflow in which ways run, and what its environment has of its own.

    `begins`: `ops` is told that a run began by the run itself, and otherwise by the bench.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    begins: bool = True


@dataclass(frozen=True)
class Way:
    """A DAG with its file. `dag` is its id, where that is not the way's name; `conf` is what a run is started with.

    `seconds` is what an empty model takes by the clock, on two idle cores and with four threads. By it the bench says
    beforehand how long a part takes, and how long a way would take that it leaves out.
    """

    name: str
    file: Path
    airflow: Airflow
    seconds: float
    conf: Mapping[str, object] | None = None
    dag: str = ""

    @property
    def dag_id(self) -> str:
        """The id of the DAG, after which its file is called."""
        return self.dag or self.name


OURS = Airflow()
FLOOR = Airflow()
# What the Airflow of `benchmarks/other_project` has of its own.
OTHER = Airflow(
    {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "benchmarks" / "other_project" / "plugins"),
        "AIRFLOW__SDK__COORDINATORS": json.dumps(
            {
                "warm": {
                    "classpath": "include.fast_cosmos.warm_up.WarmCoordinator",
                    "kwargs": {"warm_up": "benchmarks.other_project.WARM_UP"},
                }
            }
        ),
    },
)
# As it comes: without our plugins and the warm worker.
STOCK = Airflow(
    {"AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS / "no_plugins"), "AIRFLOW__SDK__QUEUE_TO_COORDINATOR": "{}"},
    begins=False,
)

# A bare `dbt build`, which is no DAG.
BARE = Way("dbt build", DAGS, STOCK, 0.07)
_DAILY = PROJECT_ROOT / "dags" / f"{DAG_ID}.py"
_STOCK = DAGS / "stock.py"
# Ours come first: the first run makes the tables that later ones replace.
GREENERY = (
    Way("ours", _DAILY, OURS, 0.25, {"full_refresh": True}, dag=DAG_ID),
    Way("floor", DAGS / "floor.py", FLOOR, 0.16),
    Way("bash", _STOCK, STOCK, 0.12),
    Way("watcher", _STOCK, STOCK, 1.2),
    Way("local_build", _STOCK, STOCK, 2.5),
    Way("local_after_each", _STOCK, STOCK, 5),
)
GENERATED = (
    Way("ours", DAGS / "generated.py", OURS, 0.1, dag=DAG_ID),
    *GREENERY[1:],
    Way("fast", DAGS / "fast.py", OTHER, 0.5),
)


def offered(project: str) -> tuple[Way, ...]:
    """The ways in which a project can be run."""
    return GREENERY if project == "greenery" else GENERATED
