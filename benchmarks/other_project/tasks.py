"""One task a model, which builds it and runs its tests."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, TaskGroup
from cosmos import DbtTaskGroup, ExecutionConfig, ProjectConfig, RenderConfig
from cosmos.constants import DbtResourceType, ExecutionMode, InvocationMode, LoadMode, TestBehavior
from cosmos.dbt.graph import DbtNode
from cosmos.operators.local import DbtBuildLocalOperator

from benchmarks.other_project import RELEASES
from include.fast_cosmos import invocation
from include.fast_cosmos.operators import OnRelease, arguments, profile
from include.fast_cosmos.releases import Release


class Build(OnRelease, DbtBuildLocalOperator):
    """`dbt build` of the model that is selected, and of its tests."""

    def release(self, context: Any) -> Release:  # noqa: ARG002
        """The newest; a project that changes while it runs would keep the stamp with which the run began."""
        return RELEASES.current() or RELEASES.refresh()

    def tests(self, release: Release) -> list[str]:
        """Those that read the model."""
        nodes = invocation.load(release).nodes.items()
        read_it = (key for key, node in nodes if any(one.endswith(f".{self.select}") for one in node.depends_on_nodes))
        return [key for key in read_it if key.startswith("test.")]


def draw(release: Release) -> TaskGroup:
    """The models as Cosmos draws them."""

    def build(*, node: DbtNode, task_id: str, task_group: TaskGroup, **_: Any) -> BaseOperator:
        return Build(task_id=task_id, task_group=task_group, select=node.name, **arguments(release))

    return DbtTaskGroup(
        group_id="dbt",
        project_config=ProjectConfig(
            dbt_project_path=release.path,
            manifest_path=release.manifest,
            project_name="greenery",
            install_dbt_deps=False,
        ),
        profile_config=profile(release),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.BUILD,
            emit_datasets=False,
            node_converters={DbtResourceType.MODEL: build},
        ),
    )
