"""The dbt project as Airflow tasks: the one place that configures Cosmos.

`models` draws a task a model; `check_sources`, `snapshot` and `cross_model_tests` are single tasks. Each runs dbt in
its own process from the release that its run began with, and leaves its results in `ops`.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import TriggerRule
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior, TestIndirectSelection
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtBuildLocalOperator, DbtTestLocalOperator

from include import buffers, history
from include.dbt_project import manifest, release, runs
from include.dbt_project.release import Release
from include.results.record import record
from include.warehouse import connect

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
            "interceptors": [admit],
            "callback": record,
            "dbt_cmd_flags": ["--exclude-resource-type", "unit_test"],
        },
    )


def check_sources(project: Release) -> CheckSources:
    """Freshness, shape and tests of the raw tables; also notes how far they are, before anything is built."""
    return CheckSources(task_id="check_sources", selector="sources", interceptors=[pin], **_single(project))


def snapshot(project: Release) -> TakeSnapshot:
    """Both snapshots, each after the key tests of its own source; runs whatever became of the tasks before it."""
    return TakeSnapshot(
        task_id="snapshot",
        selector="snapshot",
        trigger_rule=TriggerRule.ALL_DONE,
        interceptors=[pin],
        **_single(project),
    )


def cross_model_tests(project: Release) -> DbtTestLocalOperator:
    """The tests that belong to no single model."""
    names = [test.name for test in manifest.read(project.manifest).tests_of_no_single_model]
    return DbtTestLocalOperator(
        task_id="cross_model_tests",
        select=" ".join(sorted(names)) or "tag:none",
        interceptors=[admit],
        **_single(project),
    )


class CheckSources(DbtTestLocalOperator):
    """`dbt source freshness`, then `dbt test` on the sources, in one task; fails if either does, after both ran."""

    def execute(self, context: Any, **_: Any) -> None:
        """Run both; the first failure is raised once both have left their results."""
        project = runs.admit(context, builds=False)
        runs.refuse_if(context, history.problem(manifest.read(project.manifest)))
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


class TakeSnapshot(DbtBuildLocalOperator):
    """`dbt build` of the snapshots, unless their history is not as a run left it."""

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Look, build, and remember how they are now."""
        facts = manifest.read(runs.admit(context, builds=False).manifest)
        runs.refuse_if(context, history.problem(facts))
        try:
            super().execute(context, **kwargs)
        finally:
            history.remember(facts, context["run_id"])


def admit(context: Any, operator: Any) -> None:
    """Let a task that goes on with what its run began work, or refuse it, before it calls dbt. Called by Cosmos."""
    _point(operator, runs.admit(context, builds=True))


def pin(context: Any, operator: Any) -> None:
    """The same for a task that has asked already. Called by Cosmos."""
    _point(operator, runs.release_of(context["run_id"]))


def _point(operator: Any, project: Release) -> None:
    """Point a task to the release that its run began with.

    What changes meanwhile is for the next run: a run builds from one state of the project.
    """
    operator.project_dir = project.path
    operator.manifest_filepath = project.manifest
    operator.profile_config = _profile(project)
    # Where Cosmos keeps dbt's parses from task to task: beside the release, whose own files no task may change.
    operator.cache_dir = project.path / ".cosmos"


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
        "callback": record,
    }
