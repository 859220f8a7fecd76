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

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    begins: bool = True


@dataclass(frozen=True)
class Way:
    """A DAG with its file. `dag` is its id, where that is not the way's name; `conf` is what a run is started with.

    `seconds` is what an empty model takes by the clock, on two cores and with four threads. By it the bench says how
    long a way would take that it leaves out.
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


OURS = Airflow("ours")
FLOOR = Airflow("floor")
# What the Airflow of `benchmarks/other_project` has of its own.
OTHER = Airflow(
    "other",
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
    "stock",
    {"AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS / "no_plugins"), "AIRFLOW__SDK__QUEUE_TO_COORDINATOR": "{}"},
    begins=False,
)

# A bare `dbt build`, which is no DAG.
BARE = Way("dbt build", DAGS, STOCK, 0.11)
# What matters most comes first: where the time is short, the last are left out.
ANY = (
    Way("floor", DAGS / "floor.py", FLOOR, 0.25),
    Way("watcher", DAGS / "stock.py", STOCK, 1.2),
    Way("bash", DAGS / "stock.py", STOCK, 0.12),
    Way("local_build", DAGS / "stock.py", STOCK, 2.5),
    Way("local_after_each", DAGS / "stock.py", STOCK, 5),
)
_DAILY = PROJECT_ROOT / "dags" / f"{DAG_ID}.py"
GREENERY = (
    Way(DAG_ID, _DAILY, OURS, 0.4, {"full_refresh": True}),
    *ANY,
)
GENERATED = (
    Way("generated", DAGS / "generated.py", OURS, 0.2, dag=DAG_ID),
    *ANY[:3],
    Way("fast", DAGS / "fast.py", OTHER, 0.5),
    *ANY[3:],
)


@dataclass(frozen=True)
class Costs:
    """By what one estimates how long a project takes: its models, what they wait all together, how it is run."""

    models: int
    waited: float
    threads: int
    runs: int
    patience: float

    def once(self, way: Way) -> float:
        """Seconds of a run."""
        work, wait = self.models * way.seconds, self.waited / self.threads
        return 5 + max(work, wait) + min(work, wait) / 3  # most of the work is done while others wait

    def all(self, way: Way) -> float:
        """Seconds of all runs: one, or those that are timed with one before and one after."""
        return self.once(way) * (self.runs + 2 if self.once(way) < self.patience else 1)


def choose(offered: list[Way], costs: Costs, seconds: float) -> tuple[list[Way], list[Way]]:
    """The ways that can be run in so many seconds, the first ones first, and those that are left out."""
    left = seconds - costs.all(BARE)
    chosen: list[Way] = []
    for way in offered:
        needs = costs.all(way)
        # Starting an Airflow takes a while, and so do the builds beside its ways.
        if way.airflow not in {one.airflow for one in chosen}:
            needs += 30 + (costs.all(BARE) if costs.once(BARE) < costs.patience else 0)
        if needs <= left:
            left -= needs
            chosen.append(way)
    return chosen, [way for way in offered if way not in chosen]
