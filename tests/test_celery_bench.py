"""How `make bench BENCH=celery` tells what it measured."""

from __future__ import annotations

from collections import Counter

from benchmarks import celery
from benchmarks.celery import WORKERS, Ran
from benchmarks.orchestration import Timed


def test_a_task_costs_what_the_workers_used_by_the_tasks_of_both() -> None:
    build = Ran("dbt build", runs=[Timed(10, Counter({"dbt build": 8.0}), 0)])
    used = Counter({WORKERS[0]: 6.0, WORKERS[1]: 4.0, "greenery-redis-1": 10.0})
    tasks, ahead = Counter({WORKERS[0]: 15, WORKERS[1]: 25}), Counter({WORKERS[1]: 24})
    ours = Ran("ours", runs=[Timed(12, used, 0)], tasks=tasks, ahead=ahead, builder=WORKERS[0], task=0.3)
    lines = celery.table("100", [build, ours], [])
    assert "| ours | 12.0 (12.0 to 12.0) | **1.20** | 20.0 | 2.50 | 0.0 |" in lines
    assert "| ours | 15 | 25 | 0 + 24 | 0.30 | 0.25 | 0.50 |" in lines
    assert "In the last run of `ours`, worker-1 ran `build_ahead`." in lines
