"""The dbt project as Airflow tasks: the one place that configures Cosmos.

`models` draws a task a model; `check_sources`, `snapshot` and `cross_model_tests` are single tasks. Each runs dbt in
its own process from the release that its run began with, and leaves its results in `ops`.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import TriggerRule, get_parsing_context
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior, TestIndirectSelection
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtBuildLocalOperator, DbtTestLocalOperator

from include import buffers
from include.dbt_project import manifest, release
from include.dbt_project.release import Release
from include.results import store
from include.results.record import record
from include.warehouse import connect

SNAPSHOTS = ("orders_snapshot", "products_snapshot")


def current_release() -> Release:
    """The release to draw and run: refreshed while Airflow reads the file to draw it, as it is inside a task."""
    running = get_parsing_context().task_id is not None
    return (release.current() if running else None) or release.refresh()


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
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.LOCAL,
            invocation_mode=InvocationMode.DBT_RUNNER,
            # A test on two models runs with the later one, when both are there.
            test_indirect_selection=TestIndirectSelection.BUILDABLE,
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.BUILD,
            select=select or [],
            exclude=exclude or [],
            group_nodes_by_folder=True,
            emit_datasets=False,
        ),
        operator_args={
            "interceptors": [pin],
            "callback": record,
            "dbt_cmd_flags": ["--exclude-resource-type", "unit_test"],
        },
    )


def check_sources(project: Release) -> CheckSources:
    """Freshness, shape and tests of the raw tables; also notes how far they are, before anything is built."""
    return CheckSources(task_id="check_sources", selector="sources", **_single(project))


def snapshot(project: Release) -> DbtBuildLocalOperator:
    """Both snapshots, each after the key tests of its own source; runs whatever became of the tasks before it."""
    return DbtBuildLocalOperator(
        task_id="snapshot",
        selector="snapshot",
        trigger_rule=TriggerRule.ALL_DONE,
        **_single(project),
    )


def cross_model_tests(project: Release) -> DbtTestLocalOperator:
    """The tests that belong to no single model."""
    names = [test.name for test in manifest.read(project.manifest).tests_of_no_single_model]
    return DbtTestLocalOperator(
        task_id="cross_model_tests", select=" ".join(sorted(names)) or "tag:none", **_single(project)
    )


class CheckSources(DbtTestLocalOperator):
    """`dbt source freshness`, then `dbt test` on the sources, in one task; fails if either does, after both ran."""

    def execute(self, context: Any, **_: Any) -> None:
        """Run both; the first failure is raised once both have left their results."""
        release_of(context["run_id"])  # a run has begun before its buffer does
        with connect("greenery check_sources") as connection:
            full_refresh = bool(context["params"].get("full_refresh"))
            buffers.begin(connection, context["run_id"], full_refresh=full_refresh)
        failures = []
        for self.base_cmd in (["source", "freshness"], ["test"]):
            try:
                self.build_and_run_cmd(context, cmd_flags=[])
            except CosmosDbtRunError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]


def pin(context: Any, operator: Any) -> None:
    """Point a task, just before it calls dbt, to the release that its run began with.

    What changes meanwhile is for the next run: a run builds from one state of the project. Called by Cosmos.
    """
    project = release_of(context["run_id"])
    operator.project_dir = project.path
    operator.manifest_filepath = project.manifest
    operator.profile_config = _profile(project)
    # Where Cosmos keeps dbt's parses from task to task: beside the release, whose own files no task may change.
    operator.cache_dir = project.path / ".cosmos"


def release_of(run_id: str) -> Release:
    """The release that a run is made with; the run begins with the current one if it has not begun yet."""
    with connect("greenery run") as connection:
        return release.named(store.begin(connection, run_id, current_release().stamp))


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
        "interceptors": [pin],
        "callback": record,
    }
