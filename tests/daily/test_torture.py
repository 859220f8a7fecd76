"""`make torture`: a fault at every task of the day, on a real scheduler. For hours; not among what `make test` runs."""

from __future__ import annotations

import pytest

from include.settings import PROJECT_ROOT
from tests.deployment import Day, Deployment

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

MODELS = sorted(file.stem for file in (PROJECT_ROOT / "dbt" / "models").rglob("*.sql"))


@pytest.mark.parametrize("model", MODELS)
def test_a_fault_at_any_model_reaches_nobody_and_loses_no_history(
    deployment: Deployment, first_day: Day, model: str
) -> None:
    deployment.come_to("first_day")
    versions = deployment.query("select count(*) from snapshots.orders_snapshot")
    deployment.play_day()
    with deployment.failing(model):
        broken = deployment.run()

    [task_id] = (task_id for task_id in broken.task_states if task_id.endswith(f".{model}_model_build"))
    assert (broken.state, broken.task_states[task_id]) == ("failed", "failed")
    assert f"model {model}" in broken.messages[0]
    assert f"{model} can not be written" in broken.messages[0]
    assert deployment.published() == first_day.published
    assert deployment.query("select count(*) from snapshots.orders_snapshot") > versions

    mended = deployment.run_again(broken.run_id, task_id, downstream=True)
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
            "alter table snapshots.products_snapshot rename column price to cost",
            "alter table snapshots.products_snapshot rename column cost to price",
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
