"""`make torture`: a fault at every task of the day, on a real scheduler. Long; not among what `make test` runs."""

from __future__ import annotations

import pytest

from include.local.demo import DAG_ID
from tests.deployment import Deployment

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

# Whatever dbt creates for a model bears its name; this lets it fail as a full disk or a killed server would.
FAIL_AT = """
create or replace function public.fail_at() returns event_trigger language plpgsql as $$
begin
    if exists (
        select from pg_event_trigger_ddl_commands() where object_identity ~ ('\\.{model}(__dbt_|$)')
    ) then
        raise exception 'torture: % can not be written', '{model}';
    end if;
end
$$
"""
ARM = "create event trigger torture on ddl_command_end execute function public.fail_at()"


def test_a_fault_at_every_model_reaches_nobody_and_loses_no_history(deployment: Deployment) -> None:
    deployment.play_day()
    assert deployment.run().state == "success"
    tasks = {
        task_id.rsplit(".", 1)[1].removesuffix("_model_build"): task_id
        for task_id in deployment.api.tasks(DAG_ID)
        if task_id.endswith("_model_build")
    }
    for model, task_id in sorted(tasks.items()):
        before = deployment.published()
        versions = deployment.query("select count(*) from snapshots.orders_snapshot")
        deployment.play_day()
        deployment.query(FAIL_AT.replace("{model}", model))
        deployment.query(ARM)
        broken = deployment.run()
        deployment.query("drop event trigger torture")

        assert broken.task_states[task_id] == "failed", model
        assert broken.state == "failed", model
        assert f"model {model}" in broken.messages[0], model
        assert deployment.published() == before, model
        assert deployment.query("select count(*) from snapshots.orders_snapshot") > versions, model

        mended = deployment.run_again(broken.run_id, task_id, downstream=True)
        assert mended.state == "success", model
        assert deployment.published() != before, model


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
def test_a_fault_beside_the_models(deployment: Deployment, statement: str, undo: str, task_id: str) -> None:
    deployment.play_day()
    assert deployment.run().state == "success"
    before = deployment.published()
    deployment.play_day()
    deployment.query(statement)
    broken = deployment.run()
    assert (broken.state, broken.task_states[task_id]) == ("failed", "failed")
    assert deployment.published() == before
    deployment.query(undo)
    mended = deployment.run_again(broken.run_id, "check_sources", downstream=True)
    assert mended.state == "success"
    assert deployment.published() != before
