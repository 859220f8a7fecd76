"""A dbt project that isn't Greenery's, as Cosmos draws it, with tasks that are fast (`benchmarks/other_project`)."""

from __future__ import annotations

from airflow.sdk import DAG

from benchmarks.other_project import RELEASES
from benchmarks.other_project.tasks import draw

with DAG(dag_id="fast", schedule=None, default_args={"retries": 0}):
    draw(RELEASES.refresh())
