"""A dbt project as Cosmos draws and runs it out of the box, and as one BashOperator: what the daily DAG is compared to.

Copied once for each of the ways, by whose name it goes, so that each task parses no more than it needs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, LoadMode, TestBehavior

PROJECT = Path(os.environ["BENCH_PROJECT"])
MODE = Path(__file__).stem
COSMOS = {
    "local_after_each": (ExecutionMode.LOCAL, TestBehavior.AFTER_EACH),
    "local_build": (ExecutionMode.LOCAL, TestBehavior.BUILD),
    "watcher": (ExecutionMode.WATCHER, TestBehavior.AFTER_EACH),
}

with DAG(dag_id=MODE, schedule=None, default_args={"retries": 0}):
    if MODE in COSMOS:
        execution, tests = COSMOS[MODE]
        DbtTaskGroup(
            group_id="dbt",
            project_config=ProjectConfig(
                dbt_project_path=PROJECT, manifest_path=PROJECT / "target" / "manifest.json", project_name="greenery"
            ),
            profile_config=ProfileConfig(
                profile_name="greenery", target_name="warehouse", profiles_yml_filepath=PROJECT / "profiles.yml"
            ),
            execution_config=ExecutionConfig(execution_mode=execution),
            render_config=RenderConfig(
                load_method=LoadMode.DBT_MANIFEST, test_behavior=tests, exclude=["resource_type:unit_test"]
            ),
            operator_args={"install_deps": False, "emit_datasets": False},
        )
    if MODE == "bash":
        BashOperator(
            task_id="dbt_build",
            bash_command=f"{sys.executable} -m dbt.cli.main build --exclude-resource-type unit_test",
            cwd=str(PROJECT),
            append_env=True,
        )
