"""`make torture`: a fault at every model and three beside them, on a real scheduler; `make test` leaves them out."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import pytest

from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.local import warehouse
from include.publish import gate
from include.warehouse import connect
from tests.deployment import Day, Deployment

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

# How many models the longest line of models that wait for each other has.
DEEPEST = 10


def waits_for(project: Manifest, model: str) -> frozenset[str]:
    """The models without which this one is not built: what it reads, and before all history everything else."""
    above = project.upstream(model)
    history = {one for one in project.models if project.upstream(one) & project.snapshots.keys()}
    return project.models & (above | (project.models - history if model in history else set()))


def by_depth(project: Manifest) -> dict[int, list[str]]:
    """Unique ids of the models, by how many of them stand in the longest line that leads to each, itself included.

    None of a depth waits for another of it, so a fault at each fails that one by itself.
    """

    @cache
    def depth(model: str) -> int:
        return 1 + max(map(depth, waits_for(project, model)), default=0)

    found = defaultdict(list)
    for model in sorted(project.models):
        found[depth(model)].append(model)
    return dict(found)


@pytest.fixture(scope="session")
def project(deployment: Deployment) -> Manifest:
    """The project as the deployment runs it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GREENERY_STATE_DIR", str(deployment.stack.home))
        return manifest.read(release.current().manifest)


@pytest.mark.parametrize("depth", range(1, DEEPEST + 1))
def test_faults_at_any_models_reach_nobody_stop_nothing_else_and_lose_no_history(
    deployment: Deployment, first_day: Day, project: Manifest, depth: int
) -> None:
    models = by_depth(project)
    assert len(models) == DEEPEST, "the project's longest line of models has another length now: write it down here"
    faulty = models[depth]
    names = [project.title(model) for model in faulty]
    deployment.come_to("first_day")
    versions = deployment.query("select count(*) from snapshots.orders_snapshot")
    deployment.play_day()
    with deployment.failing(*names):
        broken = deployment.run()

    tasks = {task_id.rsplit(".", 1)[-1]: task_id for task_id in broken.task_states}
    behind = {model for model in project.models if waits_for(project, model) & {*faulty}}
    assert broken.state == "failed"
    assert {
        model: broken.task_states[tasks[f"{project.title(model)}_model_build"]] for model in project.models
    } == dict.fromkeys(project.models, "success") | dict.fromkeys(behind, "upstream_failed") | (
        dict.fromkeys(faulty, "failed")
    )
    [message] = broken.messages
    for name in names:
        assert f"model {name}" in message
        assert f"{name} can not be written" in message
    assert deployment.published() == first_day.published
    with connect("test", warehouse.as_transformer(deployment.server)) as connection:
        in_the_way = gate.mixed_models(broken.run_id, project, gate.built(connection).builds)
    assert {*faulty} <= {*in_the_way}, "each alone would not keep the run from being published"
    assert deployment.query("select count(*) from snapshots.orders_snapshot") > versions

    failed = [tasks[f"{name}_model_build"] for name in names]
    mended = deployment.run_again(broken.run_id, *failed, downstream=True)
    assert mended.state == "success"
    assert deployment.published() != first_day.published


@pytest.mark.parametrize(
    ("statement", "undo", "task_id"),
    [
        (
            "insert into raw.promos select * from raw.promos limit 1",
            "delete from raw.promos where ctid = (select max(ctid) from raw.promos)",
            "check_sources",
        ),
        (
            "alter table snapshots.orders_snapshot rename to lost",
            "alter table snapshots.lost rename to orders_snapshot",
            "check_sources",
        ),
        (
            "alter table snapshots.products_snapshot add constraint closed check (false) not valid",
            "alter table snapshots.products_snapshot drop constraint closed",
            "snapshot",
        ),
    ],
    ids=["a source", "a lost snapshot", "a snapshot that can't be written"],
)
def test_a_fault_beside_the_models(
    deployment: Deployment, first_day: Day, statement: str, undo: str, task_id: str
) -> None:
    deployment.come_to("first_day")
    deployment.play_day()
    deployment.query(statement)
    broken = deployment.run()
    assert (broken.state, broken.task_states[task_id]) == ("failed", "failed")
    assert deployment.published() == first_day.published
    deployment.query(undo)
    mended = deployment.run_again(broken.run_id, "check_sources", downstream=True)
    assert mended.state == "success"
    assert deployment.published() != first_day.published
