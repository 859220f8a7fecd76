from __future__ import annotations
import shutil
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
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.warehouse import connect
from tests.forks import Forks
from tests.own_project.conftest import context, deployed_here, drawn, run_day
from tests.own_project.page import follow
from tests.own_project.test_starter import publish, rows

pytestmark = pytest.mark.db
MODEL = "models/example/my_first_dbt_model.sql"


def told(run_id, states):
    report._tell("greenery_daily", run_id, states, run_failed=states["publish"] != "success")
    return rows("select body from ops.messages order by message_id desc limit 1")[0][0]


def test_it(server: LocalPostgres, dbts: Forks, tmp_path: Path) -> None:
    project = tmp_path / "starter"
    shutil.copytree(Path(dbt.include.starter_project.__file__).parent, project)
    file = project / "dbt_project.yml"
    file.write_text(file.read_text().format(project_name="starter", profile_name="starter"))
    follow(project)
    (project / MODEL).write_text((project / MODEL).read_text().replace("-- where", "where"))
    whole = file.read_text()
    yml = project / "models/example/schema.yml"
    schema = yml.read_text()
    print(schema)
    with deployed_here(project, tmp_path, server, dbts, "own_try"):

        def play(run, states):
            try:
                run_day(drawn(), run)
            except Exception as e:
                print(run, "RAISED", type(e), str(e)[:500])
                for task in drawn().task_ids:
                    pass
            print(
                run,
                rows(
                    f"select task_id, attempt, unique_id, status, failures, rows_affected, message, failing_rows from ops.node_results where run_id = '{run}' order by recorded_at"
                ),
            )
            try:
                publish(run)
                states = states | {"publish": "success"}
            except Exception as e:
                print(run, "PUBLISH RAISED", type(e), str(e)[:800])
                states = states | {"publish": "failed"}
            print("=== MESSAGE", run, "\n", told(run, states))
            print("===")

        play("ok", {})
        from multiprocessing import get_context
        file.write_text(whole + "\non-run-end: \"select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'greenery ahead: lock' and datname = current_database(); select pg_sleep(2)\"\n")
        dag = drawn()
        dag.get_task("check_sources").execute(context("hk", "check_sources"))
        one = get_context("fork").Process(target=lambda: dag.get_task("build_ahead").execute(context("hk", "build_ahead")))
        one.start(); one.join(60); print("EXIT", one.exitcode)
        try:
            dag.get_task("build_ahead").execute(context("hk", "build_ahead"))
            print("AGAIN ok")
        except Exception as e:
            print("AGAIN", e)
        print("DONE", [t for t in dag.task_ids if t.startswith("transform.") and not WARM_UP.done(context("hk", t)["ti"])])
        try:
            publish("hk"); print("HK PUBLISHED")
        except Exception as e:
            print("HK REFUSED", e)
        print(rows("select task_id, unique_id, status from ops.node_results where run_id = 'hk'"))
        file.write_text(whole)
        play("killed", {"build_ahead": "failed"})
        file.write_text(
            whole
            + "\non-run-end: \"{% if results | selectattr('node.resource_type', 'equalto', 'model') | list %} select 1 / 0 {% endif %}\"\n"
        )
        play("hooked", {"build_ahead": "failed"})
        file.write_text(
            whole
            + "\non-run-start: \"{% if flags.WHICH == 'build' and not invocation_args_dict.get('select') %} select 1 / 0 {% endif %}\"\n"
        )
        play("start", {})
        file.write_text(whole)
        (project / "tests/warns.sql").write_text(
            "{{ config(severity='warn') }} select id, 'x' as what from {{ ref('my_first_dbt_model') }}"
        )
        play("warn", {})
        file.write_text(
            whole.replace("flags:", "flags:")
            + "\nflags:\n  skip_nodes_if_on_run_start_fails: false\non-run-start: \"{% if flags.WHICH == 'build' and not invocation_args_dict.get('select') %} select 1 / 0 {% endif %}\"\n"
        )
        play("start2", {})
        file.write_text(whole)
        (project / MODEL).write_text((project / MODEL).read_text().replace("where", "-- where"))
        play("fails", {})
