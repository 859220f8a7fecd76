"""The dbt project as Airflow tasks: the one place that configures Cosmos.

`models` draws a task a model; `check_sources`, `snapshot` and `cross_model_tests` are single tasks.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import TriggerRule
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
from include.dbt_project.operators import BuildModel, CheckSources, RunTests, TakeSnapshot
from include.dbt_project.release import Release

SNAPSHOTS = ("orders_snapshot", "products_snapshot")


def models(
    group_id: str, project: Release, *, select: list[str] | None = None, exclude: list[str] | None = None
) -> DbtTaskGroup:
    """A task group with one task a model and a sub-group a folder; a model's task builds it and runs its tests."""
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
            node_converters={DbtResourceType.MODEL: _build_model},
        ),
        operator_args={"dbt_cmd_flags": ["--exclude-resource-type", "unit_test"]},
    )


def check_sources(project: Release) -> CheckSources:
    """Freshness, shape and tests of the raw tables; also notes how far they are, before anything is built."""
    return CheckSources(task_id="check_sources", selector="sources", **_single(project))


def snapshot(project: Release) -> TakeSnapshot:
    """Both snapshots, each after the key tests of its own source; runs whatever became of the tasks before it."""
    return TakeSnapshot(task_id="snapshot", selector="snapshot", trigger_rule=TriggerRule.ALL_DONE, **_single(project))


def cross_model_tests(project: Release) -> RunTests:
    """The tests that belong to no single model."""
    names = [test.name for test in manifest.read(project.manifest).tests_of_no_single_model]
    return RunTests(task_id="cross_model_tests", select=" ".join(sorted(names)) or "tag:none", **_single(project))


def _build_model(*, node: DbtNode, task_id: str, task_args: dict[str, Any], **where: Any) -> BuildModel:
    """The task of a model, called by Cosmos: it says what it draws, and we of which class it is."""
    return BuildModel(
        task_id=task_id,
        dag=where["dag"],
        task_group=where["task_group"],
        select=f"fqn:{'.'.join(node.fqn)}",
        # A test on two models runs with the later one, when both are there.
        indirect_selection=TestIndirectSelection.BUILDABLE.value,
        **task_args,
    )


def _profile(project: Release) -> ProfileConfig:
    return ProfileConfig(
        profile_name=release.PROFILE, target_name=release.TARGET, profiles_yml_filepath=project.path / "profiles.yml"
    )


def _single(project: Release) -> dict[str, Any]:
    """What the tasks that Cosmos does not draw share with those that it does."""
    return {
        "project_dir": str(project.path),
        "profile_config": _profile(project),
        "invocation_mode": InvocationMode.DBT_RUNNER,
        "install_deps": False,
        "emit_datasets": False,
    }
