"""A task for each model of `BENCH_PROJECT` that waits as long as the model and does nothing else.

Forked, started and drawn as ours are: what is left of a run when dbt is taken out of it is Airflow's own.
"""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import DAG, BaseOperator, get_parsing_context

from include.daily import admission
from include.dbt_project import manifest


class Wait(BaseOperator):
    """Sleeps for the seconds that the model's `meta` names."""

    def execute(self, context: Any) -> None:  # noqa: ARG002
        """Nothing comes of it."""
        time.sleep(_nodes[self.task_id]["config"]["meta"].get("seconds", 0))


_facts = manifest.read(admission.current_release().manifest)
_nodes = {_facts.nodes[one]["name"]: _facts.nodes[one] for one in _facts.drawn}

with DAG(dag_id="floor", schedule=None, default_args={"retries": 0}):
    _running = get_parsing_context().task_id
    _tasks = {name: Wait(task_id=name) for name in ([_running] if _running else _nodes)}
    if not _running:
        for _name, _node in _nodes.items():
            for _parent in _facts.parents(_node["unique_id"]):
                if _parent in _facts.drawn:
                    _tasks[_facts.nodes[_parent]["name"]] >> _tasks[_name]
