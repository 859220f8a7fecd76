"""The same project of a made-up bakery, where one dbt builds ahead of the tasks (`GREENERY_BUILD_AHEAD`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.local.postgres import LocalPostgres
from tests.forks import Forks
from tests.own_project.conftest import Played
from tests.own_project.test_everything import played_in

pytestmark = pytest.mark.db

# The first two fill a buffer each, and the third goes on from the first's.
RUNS = 3
# Two of `check_sources`, and one of `build_ahead`, `snapshot`, what reads a snapshot, and `cross_model_tests`.
DBTS = 6


@pytest.fixture(scope="module")
def played(server: LocalPostgres, dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The project after its runs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GREENERY_BUILD_AHEAD", "true")
        yield from played_in(tmp_path_factory.mktemp("ahead"), server, dbts, RUNS)


@pytest.mark.parametrize("run", range(1, RUNS + 1))
def test_each_run_publishes_what_plain_dbt_holds(played: Played, run: int) -> None:
    assert played.differences[run - 1] == {}


def test_no_task_builds_what_is_built_ahead(played: Played) -> None:
    """Seeds, models of batches and of packages, versions and names with spaces among them."""
    [started] = played.column("select count(*) from crumb.runs_of_dbt where what = 'start of analytics_next'")
    assert started == DBTS * RUNS


def test_each_test_has_its_result_under_its_own_task(played: Played) -> None:
    ran = played.query(
        f"select unique_id, task_id from ops.node_results where run_id = 'run {RUNS}' and resource_type = 'test'"
    )
    assert {unique_id for unique_id, _ in ran} == {test.unique_id for test in played.facts.data_tests}
    assert "build_ahead" not in {task_id for _, task_id in ran}
