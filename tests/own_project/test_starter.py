"""The project that `dbt init` makes, put in place as docs/own-project.md says, and run for three days."""

from __future__ import annotations

import shutil
from multiprocessing import get_context
from pathlib import Path

import dbt.include.starter_project
import pytest
from cosmos.exceptions import CosmosDbtRunError

from include.daily import report
from include.daily.admission import RefusedError
from include.daily.warm_up import WARM_UP
from include.dbt_project import manifest, release
from include.fast_cosmos import invocation
from include.local.postgres import LocalPostgres
from include.publish.by_hand import roll_back
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.warehouse import connect
from tests.forks import Forks
from tests.own_project.conftest import context, deployed_here, drawn, run_day
from tests.own_project.page import follow

pytestmark = pytest.mark.db

MODEL = "models/example/my_first_dbt_model.sql"
# It fails in an invocation that has built a model.
HOOK = """
on-run-end: "{% if results | selectattr('node.resource_type', 'equalto', 'model') | list %} {fault} {% endif %}"
"""
# In the warehouse, of which dbt leaves a result; and in dbt itself, which leaves none of anything.
FAULTS = {
    "select 1 / 0": r"starter\.on-run-end\.0 failed, error: division by zero",
    "{{ exceptions.raise_compiler_error('no') }}": "starter-on-run-end-0 has not run to its end",
}
LIMIT_SECONDS = 60
DAYS = 3  # two of them fill a buffer each, and the third goes on in the first


def publish(run_id: str) -> None:
    """The end of a run that built the current release."""
    made = release.current()
    assert made
    publish_run(run_id, manifest.read(made.manifest))


def told(run_id: str, *, publish: str) -> str:
    """The last word of a run whose task `publish` ended so."""
    report._tell("greenery_daily", run_id, {"publish": publish}, run_failed=publish != "success")
    return rows("select body from ops.messages order by message_id desc limit 1")[0][0]


def rows(statement: str) -> list[tuple]:
    with connect("greenery tests") as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_a_project_as_dbt_init_makes_it_is_published_each_day(
    server: LocalPostgres, dbts: Forks, tmp_path: Path
) -> None:
    project = tmp_path / "starter"
    shutil.copytree(Path(dbt.include.starter_project.__file__).parent, project)
    file = project / "dbt_project.yml"
    file.write_text(file.read_text().format(project_name="starter", profile_name="starter"))
    follow(project)
    with deployed_here(project, tmp_path, server, dbts, "own_starter"):
        with pytest.raises(CosmosDbtRunError):
            run_day(drawn(), "refused")
        with pytest.raises(NotPublishedError):
            publish("refused")
        message = told("refused", publish="failed")
        assert "Failed: model my_first_dbt_model\n• id: 1 row without a value" in message
        assert "not published: 1 test failed on my_first_dbt_model" in message
        assert rows("select from pg_tables where schemaname = 'analytics'") == []

        (project / MODEL).write_text((project / MODEL).read_text().replace("-- where", "where"))
        for day in range(1, DAYS + 1):
            run_day(drawn(), f"day {day}")
            publish(f"day {day}")
            assert told(f"day {day}", publish="success").startswith("✅")
            assert rows("select id from analytics.my_second_dbt_model") == [(1,)]

        # The hooks of step 2 alone tell of a build by hand.
        made = release.current()
        assert made
        assert invocation.invoke(made, ["run", "--select", "my_first_dbt_model"]).success
        with pytest.raises(NotPublishedError, match="A run has written over the marts"):
            roll_back("ada", "too late")

        # A hook of a whole dbt run that fails after the models were built: no task builds them, and none fails.
        whole = file.read_text()
        for fault, why in FAULTS.items():
            file.write_text(whole + HOOK.replace("{fault}", fault))
            dag = drawn()
            # As each task has a process of its own: where dbt raises, the lock on building ahead goes with it.
            failing = get_context("fork").Process(target=run_day, args=(dag, fault), daemon=True)
            failing.start()
            failing.join(LIMIT_SECONDS)
            assert failing.exitcode == 1
            with pytest.raises(RefusedError, match="1 hook of dbt's run failed after models were built"):
                dag.get_task("build_ahead").execute(context(fault, "build_ahead"))
            models = [one for one in dag.task_ids if one.startswith("transform.")]
            assert [one for one in models if WARM_UP.done(context(fault, one)["ti"])] == models
            with pytest.raises(NotPublishedError, match=why):
                publish(fault)
            assert "1 hook of dbt's run failed after models were built" in told(fault, publish="failed")
