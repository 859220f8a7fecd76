"""The tasks of a day that run dbt: asked whether they may work, on their run's own release, and kept in `ops`."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtBuildLocalOperator, DbtTestLocalOperator
from dbt.cli.main import dbtRunnerResult

from include import settings
from include.answers import answers
from include.daily import admission, ahead, buffers, snapshots
from include.daily.admission import RefusedError
from include.dbt_project import manifest
from include.dbt_project.manifest import Manifest
from include.fast_cosmos import invocation
from include.fast_cosmos.operators import OnRelease
from include.fast_cosmos.releases import Release
from include.raw import lease, mapping
from include.results import hooks, node_results, nodes
from include.results.record import record
from include.settings import BUILT, LIVE
from include.slack import progress
from include.warehouse import connect, disk, pooler, session, trust

log = logging.getLogger(__name__)


class _OfARun(OnRelease):
    """Asked whether it may work, on the release that its run began with, and kept in `ops`."""

    # Whose tests dbt runs, and hears of: those of a node by its unique id, or of one of the day's tasks (`manifest`).
    home: str

    def release(self, context: Any) -> Release:
        """The run's own, if the task may work now. Raises RefusedError."""
        return admission.admit(context, builds=True)

    def run_dbt(self, context: Any, release: Release, flags: list[str] | None = None, **how: Any) -> dbtRunnerResult:
        """The same, in sessions like ours, and the run has the lease on raw for as long as that takes."""
        with connect("greenery run") as connection:
            options = session.options(connection)
        with lease.kept(admission.holder_of(context["run_id"])), session.begun_with(options):
            return super().run_dbt(context, release, flags, **how)

    def tests(self, release: Release) -> Collection[str]:
        """Those of the task's home."""
        return manifest.read(release.manifest).tests_of(self.home)

    def keep(self, context: Any, release: Release, done: dbtRunnerResult) -> None:
        """Record what became of each node; where dbt got to none, why."""
        results = nodes.from_dbt(getattr(done.result, "results", ()))
        instance = context["ti"]
        record(context["run_id"], instance.task_id, instance.try_number, results, manifest.read(release.manifest))
        if done.exception and not results:
            admission.leave_reason(context, f"dbt did not get to run anything: {done.exception}")

    def forgives(self, done: dbtRunnerResult) -> bool:
        """Where nothing failed but tests that somebody lets through, what comes after may go on."""
        bad = {one.unique_id for one in nodes.from_dbt(done.result.results) if one.status not in ahead.WELL}
        with connect("greenery answers") as connection:
            return bool(bad) and bad <= answers.waived(connection)


class BuildNode(_OfARun, DbtBuildLocalOperator):
    """`dbt build` of the model or seed that the task is called by, and of its tests."""

    def build_and_run_cmd(self, context: Any, cmd_flags: list[str] | None = None, **_: Any) -> dbtRunnerResult | None:
        """The same, but for a node that came into the project after the run began, and for what is built ahead."""
        if done := ahead.done(context["ti"]):
            for line in done.log:
                log.info(line)
            self.show(done.rendered["compiled_sql"])
            return None
        ahead.wait_until_over(context["run_id"])
        project = admission.admit(context, builds=True)
        facts = manifest.read(project.manifest)
        node = facts.node_of(self.task_id)
        if node is None:
            admission.refuse_if(
                context,
                f"Nothing in the dbt project as it was when this run began has the task {self.task_id}, and a run goes "
                "on with what it began with; nothing was changed. Trigger a new run.",
            )
        if facts.nodes[node].get("schema") == BUILT:
            with connect("greenery build") as connection:
                buffers.mark(connection)
        self.home, self.select = node, facts.selector(node)
        return self.run_dbt(context, project, [*(cmd_flags or ()), *_asked(context)])

    def nodes(self, release: Release) -> Collection[str]:  # noqa: ARG002
        """The one that it is called by."""
        return {self.home}


class BuildAhead(_OfARun, DbtBuildLocalOperator):
    """`dbt build` of all that the tasks of `transform` build, with the threads of the profile, ahead of these.

    It fails only where dbt runs nothing, or where a hook of dbt's run failed, which is no task's. What else failed is
    built again by its own task, which tells of it.
    """

    def execute(self, context: Any, **_: Any) -> None:
        """Build, unless this run's tasks do so for themselves, or a first try of this one has begun."""
        try:
            project = admission.admit(context, builds=True)
        except RefusedError:
            ahead.leave(context["run_id"])  # the tasks would wait for it, to be refused as well
            raise
        facts = manifest.read(project.manifest)
        schemas = {facts.nodes[one]["schema"] for one in ahead.ours(facts)}
        with ahead.building(context["run_id"], schemas) as connection:
            if connection:
                keeper = ahead.Keeper(connection, context["run_id"], facts, invocation.load(project).nodes)
                self.exclude = " ".join(map(facts.selector, facts.history)) or None
                flags = [*self.add_cmd_flags(), *_asked(context)]
                self.run_dbt(context, project, flags, populate_cache=True, began=keeper.began, ended=keeper.ended)
                self.template_fields = ()  # each task shows its own SQL
            else:
                log.info("Tried before in this run: its tasks build for themselves.")
        with connect("greenery build") as connection:
            admission.refuse_if(context, hooks.problem(connection, context["run_id"]))

    def tests(self, release: Release) -> Collection[str]:
        """Those of the tasks."""
        facts = manifest.read(release.manifest)
        return {test for node in ahead.ours(facts) for test in facts.tests_of(node)}

    def keep(self, context: Any, release: Release, done: dbtRunnerResult) -> None:
        """What became of hooks, where something was built: all else is kept as each node ends."""
        results = nodes.from_dbt(getattr(done.result, "results", ()))
        ran = [one for one in results if one.resource_type == hooks.HOOK]
        if ran and any(one.status in ahead.WELL for one in results if one not in ran):
            instance = context["ti"]
            record(context["run_id"], instance.task_id, instance.try_number, ran, manifest.read(release.manifest))

    def forgives(self, done: dbtRunnerResult) -> bool:  # noqa: ARG002
        """All that failed."""
        return True


def _asked(context: Any) -> list[str]:
    # What else is built anew is told by `ops`; an incremental model of dbt's own kind is only where somebody asks.
    return ["--full-refresh"] if context["params"].get("full_refresh") else []


class RunTests(_OfARun, DbtTestLocalOperator):
    """`dbt test` of a task's own tests."""


class CrossModelTests(RunTests):
    """`dbt test` of the tests that belong to no single task, of the run's own release."""

    home = manifest.CROSS_MODEL_TESTS


class CheckSources(RunTests):
    """`dbt source freshness`, then `dbt test` on the sources, in one task; fails if either does, after both ran."""

    home = manifest.CHECK_SOURCES

    def execute(self, context: Any, **_: Any) -> None:
        """Note how far raw is and run both; the first failure is raised once both have left their results."""
        project = admission.admit(context, builds=False)
        facts = manifest.read(project.manifest)
        admission.refuse_if(
            context,
            pooler.problem(settings.warehouse())
            or mapping.problem(project.path)
            or trust.problem(facts.sources.values())
            or snapshots.problem(facts),
        )
        with connect("greenery check_sources") as connection:
            full_refresh = bool(context["params"].get("full_refresh"))
            if buffers.begin(connection, context["run_id"], full_refresh=full_refresh):
                admission.refuse_if(context, disk.problem(connection, LIVE, BUILT))
        progress.at(context, "sources")
        failures = []
        for self.base_cmd in (["source", "freshness"], ["test"]):
            try:
                self.run_dbt(context, project)
            except CosmosDbtRunError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        progress.at(context, "models")


class TakeSnapshot(_OfARun, DbtBuildLocalOperator):
    """`dbt build` of the snapshots, unless their history is not as a run left it."""

    home = manifest.SNAPSHOT

    def execute(self, context: Any, **_: Any) -> None:
        """Look, build, and remember how they are now."""
        project = admission.admit(context, builds=False)
        facts = manifest.read(project.manifest)
        admission.refuse_if(context, snapshots.problem(facts))
        progress.at(context, "snapshot")
        late = self._late(facts, context["run_id"])
        self.exclude = " ".join(sorted(map(facts.selector, late))) or None
        try:
            self.run_dbt(context, project, self.add_cmd_flags())
        finally:
            snapshots.remember(facts, context["run_id"])
        if late:
            names = ", ".join(sorted(map(facts.title, late)))
            admission.refuse_if(
                context,
                f"Not taken: {names}, which read models that this run has not built, and would have kept what an older "
                "run made of them as what is so now. Clear the models' tasks with everything downstream.",
            )
        progress.at(context, "history")

    @staticmethod
    def _late(facts: Manifest, run_id: str) -> set[str]:
        """The snapshots of models that the run has not built."""
        read = {one: facts.upstream(one) & facts.models for one in facts.snapshots}
        if not any(read.values()):
            return set()
        with connect("greenery snapshot") as connection:
            builds = node_results.newest_builds(connection, buffers.current(connection).since)
        built = {model for model, (by, _) in builds.items() if by == run_id}
        return {one for one, models in read.items() if models - built}
