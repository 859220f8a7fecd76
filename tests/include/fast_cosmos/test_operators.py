"""Cosmos' operators on a release of a project that isn't Greenery's."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtBuildLocalOperator
from dbt.cli.main import dbtRunnerResult

from include.fast_cosmos import invocation
from include.fast_cosmos.operators import OnRelease, arguments
from include.fast_cosmos.releases import Release, Releases
from include.local import postgres
from include.local.postgres import LocalPostgres
from tests.conftest import named_by_the_environment
from tests.include.dbt_project.conftest import MODEL

pytestmark = pytest.mark.db


@pytest.fixture(autouse=True)
def _database(server: LocalPostgres) -> Iterator[None]:
    postgres.ensure_database(server, "operators")
    invocation.load.cache_clear()
    with named_by_the_environment(server.database("operators"), server):
        yield


@pytest.fixture
def made(project: Path, tmp_path: Path) -> Releases:
    """The releases of a project of one model with a test."""
    (project / "tests").mkdir()
    (project / "tests/of_one.sql").write_text("select * from {{ ref('one') }} where one <> 1")
    return Releases(project, tmp_path / "releases", "greenery", "warehouse")


def build(
    made: Releases, *, tests: Collection[str] | None = None, forgiving: bool = False
) -> tuple[Any, list[dbtRunnerResult]]:
    """A task that builds the model, and what was handed to it to keep."""
    kept: list[dbtRunnerResult] = []

    class Build(OnRelease, DbtBuildLocalOperator):
        def release(self, context: Any) -> Release:  # noqa: ARG002
            return made.current()

        def tests(self, release: Release) -> Collection[str] | None:  # noqa: ARG002
            return tests

        def keep(self, context: Any, release: Release, done: dbtRunnerResult) -> None:  # noqa: ARG002
            kept.append(done)

        def forgives(self, done: dbtRunnerResult) -> bool:
            return forgiving and not done.success

    return Build(task_id="one", select="one", **arguments(made.refresh())), kept


def ran(kept: list[dbtRunnerResult]) -> set[str]:
    return {one.node.name for done in kept for one in done.result.results}


def test_a_task_builds_its_model_runs_its_tests_and_shows_the_sql(made: Releases) -> None:
    task, kept = build(made)
    task.execute(context={"run_id": "run"})
    assert ran(kept) == {"one", "of_one"}
    assert "-- one\nselect 1 as one" in task.compiled_sql


def test_a_task_runs_no_other_tests_than_it_names(made: Releases) -> None:
    task, kept = build(made, tests=())
    task.execute(context={"run_id": "run"})
    assert ran(kept) == {"one"}


def test_what_failed_is_kept_before_it_is_raised(made: Releases) -> None:
    (made.source / MODEL).write_text("select 2 as one")
    task, kept = build(made)
    with pytest.raises(CosmosDbtRunError):
        task.execute(context={"run_id": "run"})
    assert ran(kept) == {"one", "of_one"}


def test_what_a_task_forgives_is_kept_and_fails_nothing(made: Releases) -> None:
    (made.source / MODEL).write_text("select 2 as one")
    task, kept = build(made, forgiving=True)
    task.execute(context={"run_id": "run"})
    assert ran(kept) == {"one", "of_one"}
