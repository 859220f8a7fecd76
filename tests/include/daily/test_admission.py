"""Whether a task may work now: what would mix days, or two readers of raw, is refused in one sentence."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import set_current_context
from dbt.cli.main import dbtRunnerResult
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily import DAG_ID, admission, ahead, buffers, task_groups
from include.daily.admission import RefusedError
from include.daily.load_shop import load
from include.daily.operators import BuildNode
from include.dbt_project import release
from include.demo_shop import demo
from include.fast_cosmos import invocation, seal
from include.fast_cosmos.operators import arguments
from include.publish import publish
from include.publish.exchange import exchange
from include.raw import lease
from include.raw.contract import TABLES
from include.raw.lease import LeaseHeldError
from include.raw.load import LoadError
from include.results import node_results, runs
from include.settings import Warehouse
from include.warehouse import session
from tests.pooler import pooled
from tests.releases import make_release
from tests.waiting import wait_for

pytestmark = pytest.mark.db

# The runs that Airflow knows to be under way.
ACTIVE = {"running"}


def task(run_id: str, run_type: str = "manual", task_id: str = "model_build") -> dict:
    """The part of a task's context that is asked."""
    return {
        "run_id": run_id,
        "dag": SimpleNamespace(dag_id="greenery_daily"),
        "dag_run": SimpleNamespace(run_type=run_type, start_date=None),
        "ti": SimpleNamespace(
            dag_id=DAG_ID,
            run_id=run_id,
            task_id=task_id,
            try_number=1,
            get_dr_count=lambda _dag, run_ids, **_: len(ACTIVE & set(run_ids)),
        ),
    }


@pytest.fixture
def begun(db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A loaded warehouse in which a run has begun to build, from a release that is kept."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    make_release("release")
    demo.play_day(db, 1, orders_per_day=3)
    for run_id in ("run", "done", "running", "next"):
        runs.begin(db, run_id, "release")
    buffers.begin(db, "run")
    return db


def said(db: Connection, run_id: str) -> str | None:
    """Why the run's task was refused, as its message will have it."""
    results = [result for result in node_results.of_run(db, run_id) if result.resource_type == "task"]
    return results[0].message if results else None


def test_a_task_of_the_run_that_builds_may_work_and_gets_its_release(begun: Connection) -> None:
    assert admission.admit(task("run"), builds=True).stamp == "release"
    assert admission.admit(task("run"), builds=True).stamp == "release"
    assert said(begun, "run") is None


def test_a_backfill_is_refused(begun: Connection) -> None:
    with pytest.raises(RefusedError, match="A backfill can't bring a past day back"):
        admission.admit(task("next", "backfill"), builds=False)
    assert said(begun, "next").startswith("A backfill")
    admission.admit(task("run"), builds=True)


def test_a_second_run_is_refused_while_another_is_under_way(begun: Connection) -> None:
    lease.take(begun, "run running")
    with pytest.raises(LeaseHeldError, match="run running reads the raw tables"):
        admission.admit(task("next"), builds=False)
    assert "run running reads the raw tables" in said(begun, "next")


def test_a_run_that_ended_without_its_report_holds_nobody_up(begun: Connection) -> None:
    lease.take(begun, "run done")
    admission.admit(task("next"), builds=False)


def test_nor_does_it_hold_up_the_load_of_the_next(begun: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "no address")
    lease.take(begun, "run done")
    with set_current_context(task("next", task_id="load") | {"params": {}}), pytest.raises(LoadError):
        load.function()
    with begun.cursor() as cursor:
        assert lease.held(cursor) is None
    assert "is no address of a Postgres" in said(begun, "next")


def test_what_somebody_decides_by_hand_is_waited_for(begun: Connection) -> None:
    lease.take(begun, "decision 3 of ada")
    with pytest.raises(LeaseHeldError, match="decision 3 of ada reads the raw tables"):
        admission.admit(task("next"), builds=False)


def test_a_model_of_a_run_that_was_published_is_not_built_again_alone(begun: Connection) -> None:
    exchange("run", buffers.current(begun))
    with pytest.raises(RefusedError, match="What this run built is published, or another run has begun"):
        admission.admit(task("run"), builds=True)


def test_a_model_of_a_former_run_is_not_built_into_what_a_later_one_builds(begun: Connection) -> None:
    buffers.begin(begun, "next")
    with pytest.raises(RefusedError, match="run next has begun to build since"):
        admission.admit(task("run"), builds=True)
    lease.take(begun, "decision 1 of ada")  # who is refused holds nobody up


def test_after_raw_was_loaded_again_a_run_has_to_start_over(begun: Connection) -> None:
    demo.play_day(begun, 2, orders_per_day=3)
    with pytest.raises(
        RefusedError, match=r"Raw was loaded at \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC, after this run began"
    ):
        admission.admit(task("run"), builds=True)
    admission.admit(task("run", task_id="snapshot"), builds=False)
    buffers.begin(begun, "run")
    admission.admit(task("run"), builds=True)


@pytest.mark.parametrize("stamp", ["now() + interval '1 day'", "'12021-01-01'"])
@pytest.mark.parametrize(("table", "column"), [("products", "_loaded_at"), ("deletions", "deleted_at")])
def test_a_stamp_from_the_future_locks_no_run_out(begun: Connection, table: str, column: str, stamp: str) -> None:
    with begun.cursor() as cursor:
        cursor.execute("insert into raw.deletions values ('orders', 'gone', now())")
        cursor.execute(f"update raw.{table} set {column} = {stamp}")
    buffers.begin(begun, "run")
    admission.admit(task("run"), builds=True)


def test_a_stamp_that_was_ahead_as_the_run_began_is_no_load_once_its_time_has_come(begun: Connection) -> None:
    """A loader's clock that is five minutes ahead."""
    with begun.cursor() as cursor:
        cursor.execute("update raw.promos set _loaded_at = now() + interval '5 minutes'")
        buffers.begin(begun, "run")
        # Ten minutes go by: what was then is that long ago.
        for table in TABLES:
            cursor.execute(f"update raw.{table} set _loaded_at = _loaded_at - interval '10 minutes'")
        cursor.execute(
            "update ops.buffers set since = since - interval '10 minutes',"
            " ahead = array(select stamp - interval '10 minutes' from unnest(ahead) as stamp)"
        )
    admission.admit(task("run"), builds=True)
    with begun.cursor() as cursor:
        cursor.execute("update raw.users set _loaded_at = now() - interval '9 minutes'")
    with pytest.raises(RefusedError, match="Raw was loaded at"):
        admission.admit(task("run"), builds=True)


@pytest.mark.parametrize("stamp", ["now() + interval '1 minute'", "'12021-01-01'", "'infinity'"])
def test_a_load_by_a_clock_that_is_ahead_is_noticed(begun: Connection, stamp: str) -> None:
    with begun.cursor() as cursor:
        cursor.execute(f"update raw.promos set _loaded_at = {stamp}")
    with pytest.raises(RefusedError, match="Raw was loaded at"):
        admission.admit(task("run"), builds=True)


def test_a_release_that_was_changed_after_it_was_made_is_not_run(begun: Connection) -> None:
    project = release.named("release")
    admission.admit(task("run"), builds=True)
    # Without the test that would fail.
    project.manifest.write_text('{"nodes": {}}')
    with pytest.raises(RefusedError, match=r"was changed after it was made \(target/manifest.json\)"):
        admission.admit(task("run"), builds=True)
    assert "so nothing was run from it" in said(begun, "run")
    make_release("release")
    admission.admit(task("run"), builds=True)


@pytest.mark.parametrize("why", ["was changed after it was made", "is gone"])
def test_that_a_run_was_cleared_is_kept_where_its_release_can_not_be_used(begun: Connection, why: str) -> None:
    """Else the watchdog would not know that it has begun anew, and failed."""
    project, cleared = release.named("release"), task("run")
    cleared["dag_run"].start_date = datetime.now(UTC) - timedelta(seconds=1)
    if why == "is gone":
        shutil.rmtree(project.path)
    else:
        project.manifest.write_text('{"nodes": {}}')
    with pytest.raises(RefusedError, match=why):
        admission.admit(cleared, builds=True)
    with begun.cursor() as cursor:
        cursor.execute("select begun_at from ops.runs where run_id = 'run'")
        assert cursor.fetchall() == [(cleared["dag_run"].start_date,)]


def test_a_run_does_not_go_on_with_another_version_of_dbt_and_its_report_does(begun: Connection) -> None:
    project = release.named("release")
    _dbt, *others = release.releases().made_with
    seal.seal(project.path, "release", ["dbt-core 1.12.0", *others])
    with pytest.raises(
        RefusedError, match=r"was made with dbt-core 1\.12\.0, and here is dbt-core 1\.\d+\.\d+: .* new run"
    ):
        admission.admit(task("run"), builds=True)
    assert "trigger a new run" in said(begun, "run")
    assert admission.release_of("run") == project


def test_a_run_that_would_fill_the_disk_does_not_begin(begun: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    with begun.cursor() as cursor:
        cursor.execute("create table analytics.m as select repeat('x', 60) from generate_series(1, 20000)")
        cursor.execute(
            "insert into ops.buffers (schema_oid, run_id, since, rebuild, scan)"
            " values ('analytics'::regnamespace, 'done', now(), false, false)"
        )
        cursor.execute(
            "insert into ops.buffer_models (schema_oid, unique_id, rebuilt)"
            " values ('analytics'::regnamespace, 'model.greenery.m', true)"
        )
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1_000_000))
    project = make_release("release", '{"nodes": {}, "sources": {}}')
    context = task("next", task_id="check_sources")
    context["params"] = {"full_refresh": True}
    lease.release(begun, admission.holder_of("run"))
    with pytest.raises(RefusedError, match="Everything is to be built anew, which takes about"):
        task_groups.check_sources(project).execute(context)
    assert buffers.current(begun).run_id == "run"
    assert "977 kB are free" in said(begun, "next")


def test_no_run_begins_through_a_pooler_of_transactions(
    begun: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pooled(warehouse, 2) as where:
        for name, value in where.environment().items():
            monkeypatch.setenv(name, value)
        project = make_release("release", '{"nodes": {}, "sources": {}}')
        with set_current_context(task("next", task_id="load")), pytest.raises(RefusedError, match="pooler"):
            load.function()
        with pytest.raises(RefusedError, match="pooler"):
            task_groups.check_sources(project).execute(task("next", task_id="check_sources"))
    assert [result.message for result in node_results.of_run(begun, "next")] == [said(begun, "next")] * 2
    assert "gives each transaction another session" in said(begun, "next")
    assert buffers.current(begun).run_id == "run"


def test_a_task_that_succeeds_later_takes_its_reason_back(begun: Connection) -> None:
    buffers.begin(begun, "next")
    with pytest.raises(RefusedError):
        admission.admit(task("run"), builds=True)
    node_results.settle_tasks(begun, "run", {"model_build": "success"})
    assert {result.status for result in node_results.of_run(begun, "run")} == {"success"}


def draw(model: str) -> BuildNode:
    """The task of a model, as the project of now draws it."""
    return BuildNode(task_id=f"transform.models.{model}_model_build", **arguments(release.named("release")))


def test_a_task_of_a_model_that_the_run_s_project_has_not_refuses(begun: Connection) -> None:
    with ahead.building("run"):
        pass  # it has built without that one
    make_release("release", '{"nodes": {}, "sources": {}}')
    with pytest.raises(
        RefusedError,
        match=r"Nothing in the dbt project as .* has the task .*newcomer_model_build",
    ):
        draw("newcomer").build_and_run_cmd(task("run"))
    assert "Trigger a new run" in said(begun, "run")


def draw_a_model() -> BuildNode:
    """The task of one that the run's release has, and that is not built ahead."""
    node = {"resource_type": "model", "original_file_path": "models/m.sql", "fqn": ["m"], "package_name": "g"}
    node |= {"name": "m", "config": {"materialized": "table"}, "depends_on": {"nodes": []}}
    make_release("release", json.dumps({"nodes": {"model.g.m": node}, "sources": {}}))
    ahead.leave("run")
    return draw("m")


def test_dbt_waits_and_builds_however_short_an_administrator_lets_others_wait(
    begun: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_to = {"statement_timeout": "100ms", "lock_timeout": "50ms", "default_transaction_isolation": "serializable"}
    for name, value in held_to.items():
        begun.cursor().execute(f"alter database {begun.info.dbname} set {name} = '{value}'")
    shown = {}

    def begin_a_session(*_: object, **__: object) -> dbtRunnerResult:
        """As dbt does."""
        with closing(psycopg2.connect(**settings.warehouse().libpq())) as connection, connection.cursor() as cursor:
            cursor.execute("select name, setting from pg_settings where name = any(%s)", (list(held_to),))
            shown.update(cursor.fetchall())
        return dbtRunnerResult(success=True, result=SimpleNamespace(results=[]))

    monkeypatch.setattr(invocation, "invoke", begin_a_session)
    draw_a_model().build_and_run_cmd(task("run") | {"params": {}})
    assert shown == {name: session.OURS[name] for name in held_to}


@pytest.mark.parametrize("takes_long", ["a model", "the publish"])
def test_a_task_that_takes_longer_than_a_lease_lasts_loses_none(
    begun: Connection, monkeypatch: pytest.MonkeyPatch, takes_long: str
) -> None:
    def take_long(*_: object, **__: object) -> dbtRunnerResult:
        with begun.cursor() as cursor:
            cursor.execute("update ops.leases set renewed_at = renewed_at - %s", (lease.EXPIRES_AFTER,))
            wait_for(lambda: lease.held(cursor), "the lease is renewed", 5)
        return dbtRunnerResult(success=True, result=SimpleNamespace(results=[]))

    drawn = draw_a_model()
    monkeypatch.setattr(lease, "RENEWED_EVERY", timedelta(milliseconds=20))
    if takes_long == "a model":
        monkeypatch.setattr(invocation, "invoke", take_long)
        drawn.build_and_run_cmd(task("run") | {"params": {}})
    else:
        monkeypatch.setattr(publish, "publish_run", take_long)
        with set_current_context(task("run", task_id="publish")):
            publish.publish.function()


def test_a_task_of_a_model_that_only_the_run_s_project_has_is_drawn_where_it_runs(
    begun: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_release("release", '{"nodes": {}, "sources": {}}')
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "a_dag")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "transform.models.core.lost_model_build")
    with DAG("a_dag"):
        group = task_groups.transform(project)
    [drawn] = group.iter_tasks()
    assert isinstance(drawn, BuildNode)
    assert drawn.task_id == "transform.models.core.lost_model_build"
