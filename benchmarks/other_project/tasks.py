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

    # The model's unique id.
    node: str

    def release(self, context: Any) -> Release:  # noqa: ARG002
        """The newest; a project that changes while it runs would keep the stamp with which the run began."""
        return RELEASES.current() or RELEASES.refresh()

    def nodes(self, release: Release) -> list[str]:  # noqa: ARG002
        """The model alone."""
        return [self.node]

    def tests(self, release: Release) -> list[str]:
        """Those that read the model."""
        nodes = invocation.load(release).nodes.items()
        return [key for key, node in nodes if key.startswith("test.") and self.node in node.depends_on_nodes]


def draw(release: Release) -> TaskGroup:
    """The models as Cosmos draws them."""

    def build(*, node: DbtNode, task_id: str, task_group: TaskGroup, **_: Any) -> BaseOperator:
        task = Build(task_id=task_id, task_group=task_group, select=node.name, **arguments(release))
        task.node = node.unique_id
        return task

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
