"""Cosmos' operators on a release of the project: nothing is copied, and dbt runs in the task's own process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

from cosmos import ProfileConfig
from cosmos.constants import InvocationMode
from cosmos.dbt.runner import handle_exception_if_needed
from dbt.cli.main import dbtRunnerResult

from . import invocation
from .releases import Release


def profile(release: Release) -> ProfileConfig:
    """The profile with which a release was parsed, for Cosmos: another one would have it parsed again."""
    return ProfileConfig(
        profile_name=release.profile,
        target_name=release.target,
        profiles_yml_filepath=release.path / "profiles.yml",
    )


def arguments(release: Release) -> dict[str, Any]:
    """What every operator on a release is made with."""
    return {
        "project_dir": str(release.path),
        "profile_config": profile(release),
        "invocation_mode": InvocationMode.DBT_RUNNER,
        "install_deps": False,
        "emit_datasets": False,
    }


class OnRelease:
    """What a Cosmos operator does here in place of copying the project and starting dbt in the copy.

    Put it before one of Cosmos' local operators: `class Build(OnRelease, DbtBuildLocalOperator)`. What changes in the
    project meanwhile is for the next run, where `release` keeps a run to one release.
    """

    # Airflow would render each of these and send them all before the task begins, and again at its end. Nothing that is
    # handed to Cosmos may have a template in it, and the SQL is known once it ran.
    template_fields: Sequence[str] = ()

    @abstractmethod
    def release(self, context: Any) -> Release:
        """The release that the task's run is made with."""

    def nodes(self, release: Release) -> Collection[str] | None:  # noqa: ARG002
        """Unique ids of the models, seeds and snapshots that dbt may build, and hears of; None for all."""
        return None

    def tests(self, release: Release) -> Collection[str] | None:  # noqa: ARG002
        """Unique ids of the data tests that dbt may run, and hears of; None for all."""
        return None

    def keep(self, context: Any, release: Release, done: dbtRunnerResult) -> None:
        """Called with dbt's results, before a failure is raised."""

    def forgives(self, done: dbtRunnerResult) -> bool:  # noqa: ARG002
        """Whether a task goes on as well done, although nodes failed."""
        return False

    def build_and_run_cmd(self, context: Any, cmd_flags: list[str] | None = None, **_: Any) -> dbtRunnerResult:
        """Run the operator's dbt command. Raises what dbt failed of."""
        return self.run_dbt(context, self.release(context), cmd_flags)

    def run_dbt(self, context: Any, release: Release, flags: list[str] | None = None, **how: Any) -> dbtRunnerResult:
        """The same on a release that is known already; `how` goes to `invocation.invoke`."""
        command, _ = self.build_cmd(context, flags)
        may = {"nodes": self.nodes(release), "tests": self.tests(release)}
        done = invocation.invoke(release, command[1:], **may, **how)  # without the program's name
        self.keep(context, release, done)
        nodes = [one.node for one in getattr(done.result, "results", ())]  # dbt may not have got to any
        ran = [node for node in nodes if getattr(node, "compiled_code", None)]
        self.show("\n\n".join(f"-- {node.name}\n{node.compiled_code}" for node in ran))
        if done.exception or not (done.success or self.forgives(done)):
            handle_exception_if_needed(done)
        return done

    def show(self, sql: str) -> None:
        """Show what ran in the UI, as the task's rendered template."""
        self.compiled_sql = sql
        self.template_fields = ("compiled_sql",)
        self.overwrite_rtif_after_execution = True
