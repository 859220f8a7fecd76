"""The dbt project as Airflow tasks: the one place that configures Cosmos.

`models` draws a task a model; `check_sources`, `snapshot` and `cross_model_tests` are single tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import TaskGroup, TriggerRule, get_parsing_context
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import (
    DbtResourceType,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos.dbt.graph import DbtNode

from include.dbt_project import manifest, release
from include.dbt_project.operators import BuildModel, CheckSources, CrossModelTests, TakeSnapshot
from include.dbt_project.release import Release

SNAPSHOTS = ["orders_snapshot", "products_snapshot", "order_items_snapshot"]
# The snapshots, and what descends from them.
HISTORY = [f"{name}+" for name in SNAPSHOTS]


def models(
    group_id: str, project: Release, *, select: list[str] | None = None, exclude: list[str] | None = None
) -> TaskGroup:
    """A task group with one task a model and a sub-group a folder; a model's task builds it and runs its tests.

    A process that runs a task reads the whole DAG file for that one alone, and gets it without the others.
    """
    if running := get_parsing_context().task_id:
        return _only(running, group_id, project)
    return DbtTaskGroup(
        group_id=group_id,
        project_config=ProjectConfig(
            dbt_project_path=project.path,
            manifest_path=project.manifest,
            project_name="greenery",
            install_dbt_deps=False,
        ),
        profile_config=_profile(project),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.BUILD,
            select=select or [],
            exclude=[*(exclude or []), "resource_type:exposure"],
            group_nodes_by_folder=True,
            emit_datasets=False,
            node_converters={DbtResourceType.MODEL: _converter(project)},
        ),
    )


def check_sources(project: Release) -> CheckSources:
    """Freshness, shape and tests of the raw tables; also notes how far they are, before anything is built."""
    return CheckSources(task_id="check_sources", selector="sources", **_common(project))


def snapshot(project: Release) -> TakeSnapshot:
    """Both snapshots, each after the key tests of its own source; runs whatever became of the tasks before it."""
    return TakeSnapshot(task_id="snapshot", selector="snapshot", trigger_rule=TriggerRule.ALL_DONE, **_common(project))


def cross_model_tests(project: Release, *groups: TaskGroup) -> CrossModelTests:
    """The tests that belong to no single model, after those of the groups that hold a model which they read."""
    tests = manifest.read(project.manifest).tests_of_no_single_model
    task = CrossModelTests(task_id="cross_model_tests", **_common(project))
    read = {f"{model.rsplit('.', 1)[-1]}{manifest.MODEL_TASK}" for test in tests for model in test.parents}
    for group in groups:
        if read & {one.task_id.rsplit(".", 1)[-1] for one in group.iter_tasks()}:
            group >> task
    return task


def _converter(project: Release) -> Callable[..., BuildModel]:
    """What Cosmos calls for each model that it draws: it says where, and we how it runs."""

    def build_model(*, node: DbtNode, task_id: str, task_group: TaskGroup, **_: Any) -> BuildModel:
        return _model(project, task_id, node.name, task_group)

    return build_model


def _only(task_id: str, group_id: str, project: Release) -> TaskGroup:
    """The group as `models` draws it, with this one of its tasks at most.

    Its own run knows the model, even where the project has lost it since.
    """
    group = inner = TaskGroup(group_id)
    first, *folders = task_id.split(".")
    if first == group_id and folders and folders[-1].endswith(manifest.MODEL_TASK):
        name = folders.pop()
        for folder in folders:
            inner = TaskGroup(folder, parent_group=inner)
        _model(project, name, name.removesuffix(manifest.MODEL_TASK), inner)
    return group


def _model(project: Release, task_id: str, name: str, task_group: TaskGroup) -> BuildModel:
    return BuildModel(
        task_id=task_id,
        task_group=task_group,
        model=name,
        # A test on two models runs with the later one, when both are there.
        indirect_selection=TestIndirectSelection.BUILDABLE.value,
        # Tasks run side by side already: each thread is a connection that a small test does not pay back.
        dbt_cmd_flags=["--exclude-resource-type", "unit_test", "--threads", "2"],
        **_common(project),
    )


def _profile(project: Release) -> ProfileConfig:
    return ProfileConfig(
        profile_name=release.PROFILE, target_name=release.TARGET, profiles_yml_filepath=project.path / "profiles.yml"
    )


def _common(project: Release) -> dict[str, Any]:
    """What all of dbt's tasks share."""
    return {
        "project_dir": str(project.path),
        "profile_config": _profile(project),
        "invocation_mode": InvocationMode.DBT_RUNNER,
        "install_deps": False,
        "emit_datasets": False,
    }
