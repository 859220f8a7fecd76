"""The shape of the day: every model a task, in the order that the promises need."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pendulum
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, BaseOperator, TriggerRule
from airflow.sdk.definitions import dag as sdk_dag
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables import trigger
from airflow.timetables.base import DataInterval, TimeRestriction

from include.daily.watchdog import due_tick
from include.dbt_project import release
from include.fast_cosmos.releases import Release
from include.settings import PROJECT_ROOT
from tests.dbt.conftest import WAREHOUSE, Dbt

DAGS = PROJECT_ROOT / "dags"


@pytest.fixture(scope="module")
def project(parsed: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The project's release. Its former one is what was parsed for all tests, so that dbt parses little again."""
    home = tmp_path_factory.mktemp("state")
    former = home / "dbt" / "releases" / "former"
    former.mkdir(parents=True)
    (former / "target").symlink_to(parsed.work / "target")
    (home / "dbt" / "current").symlink_to(former)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GREENERY_STATE_DIR", str(home))
        environment.setenv("WAREHOUSE_DB", WAREHOUSE)  # with another, dbt parses all of it again
        yield release.refresh()


@pytest.fixture(scope="module")
def bag(project: Release) -> DagBag:
    """What Airflow finds in `dags/`."""
    return DagBag(dag_folder=str(DAGS))


@pytest.fixture
def dag(bag: DagBag) -> DAG:
    """The daily DAG."""
    assert bag.import_errors == {}
    return bag.dags["greenery_daily"]


def built(dag: DAG) -> dict[str, str]:
    """Task id by the name of the model that it builds."""
    return {
        task_id.rsplit(".", 1)[1].removesuffix("_model_build"): task_id
        for task_id in dag.task_ids
        if task_id.endswith("_model_build")
    }


def nodes(project: Release, resource_type: str) -> dict[str, dict]:
    content = json.loads(project.manifest.read_text())["nodes"].values()
    return {node["name"]: node for node in content if node["resource_type"] == resource_type}


def test_runs_come_when_the_watchdog_awaits_them_whatever_zone_airflow_is_set_to(
    project: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """02:30 in Berlin is no time on 29 March and there twice on 25 October: it is 02:30 in UTC that counts."""
    monkeypatch.setenv("GREENERY_SCHEDULE", "30 2 * * *")
    monkeypatch.setattr(sdk_dag.settings, "TIMEZONE", pendulum.timezone("Europe/Berlin"))
    [daily] = DagBag(dag_folder=str(DAGS / "greenery_daily.py")).dags.values()
    timetable, every = coerce_to_core_timetable(daily.timetable), TimeRestriction(None, None, catchup=True)
    for day in (date(2026, 3, 28), date(2026, 10, 24), date(2026, 12, 31), date(2028, 2, 28)):
        before = datetime.combine(day, time(2, 30), UTC)
        for tick in (before + timedelta(days=1), before + timedelta(days=2)):
            info = timetable.next_dagrun_info(
                last_automated_data_interval=DataInterval.exact(pendulum.instance(tick - timedelta(days=1))),
                restriction=every,
            )
            assert info.run_after == tick == due_tick("30 2 * * *", tick, timedelta(), before)


def test_of_thirty_missed_ticks_one_run_comes(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    timetable = coerce_to_core_timetable(dag.timetable)
    restriction = TimeRestriction(dag.start_date, None, catchup=dag.catchup)
    monkeypatch.setattr(trigger, "utcnow", lambda: datetime(2026, 11, 30, 13, 30, tzinfo=UTC))

    def after(month: int, day: int) -> datetime:
        last = DataInterval.exact(pendulum.datetime(2026, month, day, 6))
        return timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction).run_after

    assert after(10, 31) == datetime(2026, 11, 30, 6, tzinfo=UTC)
    assert after(11, 30) == datetime(2026, 12, 1, 6, tzinfo=UTC)


def test_every_model_is_one_task(dag: DAG, project: Release) -> None:
    assert built(dag).keys() == nodes(project, "model").keys()


def test_models_are_drawn_in_the_folders_that_they_lie_in(dag: DAG, project: Release) -> None:
    for name, node in nodes(project, "model").items():
        folders = Path(node["path"]).parent.parts
        assert ".".join(folders) in built(dag)[name]


def test_a_model_waits_for_the_models_that_it_reads(dag: DAG, project: Release) -> None:
    tasks = built(dag)
    for name, node in nodes(project, "model").items():
        parents = {parent.split(".")[-1] for parent in node["depends_on"]["nodes"] if parent.startswith("model.")}
        assert {tasks[parent] for parent in parents} <= dag.get_task(tasks[name]).upstream_task_ids


def test_no_model_starts_before_the_sources_are_checked(dag: DAG) -> None:
    for task_id in built(dag).values():
        assert "check_sources" in dag.get_task(task_id).get_flat_relative_ids(upstream=True)


def test_the_snapshot_runs_whatever_became_of_the_models(dag: DAG) -> None:
    snapshot = dag.get_task("snapshot")
    assert snapshot.trigger_rule == TriggerRule.ALL_DONE
    in_transform = {task_id for task_id in built(dag).values() if task_id.startswith("transform.")}
    assert in_transform <= snapshot.get_flat_relative_ids(upstream=True)


def test_one_dbt_builds_ahead_of_the_models_and_is_over_before_anything_comes_after_them(dag: DAG) -> None:
    one = dag.get_task("build_ahead")
    assert one.upstream_task_ids == {"check_sources"}
    assert one.downstream_task_ids == {"snapshot"}
    # They wait for it, each in a slot: were it behind them in the queue, nothing would go on.
    assert one.weight_rule == "absolute"
    assert one.priority_weight > sum(task.priority_weight for task in dag.tasks if task is not one)


def test_a_model_that_reads_a_snapshot_tells_of_today(dag: DAG) -> None:
    in_history = {task_id.split(".", 1)[1] for task_id in built(dag).values() if task_id.startswith("history.")}
    assert in_history == {
        "models.marts.core.order_status_changes_model_build",
        "models.marts.product.product_stock_outs_model_build",
    }
    assert {f"history.{task_id}" for task_id in in_history} <= dag.get_task("snapshot").get_flat_relative_ids()


def test_the_red_of_any_task_reaches_publish_directly(dag: DAG) -> None:
    """Past `snapshot`, which runs in any case and would hide it. What `build_ahead` leaves, its tasks build."""
    before = dag.get_task("snapshot").get_flat_relative_ids(upstream=True) - {"build_ahead"}
    assert before <= dag.get_task("publish").upstream_task_ids
    assert "snapshot" in dag.get_task("publish").get_flat_relative_ids(upstream=True)


def test_publish_alone_decides_the_state_of_the_run(dag: DAG) -> None:
    leaves = {task.task_id for task in dag.tasks if not task.is_teardown and task.downstream_task_ids <= {"report"}}
    assert leaves == {"publish"}


def test_report_comes_last_runs_always_and_colours_nothing(dag: DAG) -> None:
    report = dag.get_task("report")
    assert report.is_teardown
    assert not report.on_failure_fail_dagrun
    # Publish is red at once where something is; the others end later, and the message has to know of them.
    assert {"publish", "snapshot", "cross_model_tests"} <= report.upstream_task_ids
    assert report.get_flat_relative_ids(upstream=True) == set(dag.task_ids) - {"report"}
    assert report.retries >= 1


def test_the_dag_has_a_backstop_for_what_no_task_survives(dag: DAG) -> None:
    assert dag.on_failure_callback


def test_a_day_is_run_once_and_never_two_at_a_time(dag: DAG) -> None:
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_what_passes_by_itself_does_not_cost_the_day(dag: DAG) -> None:
    assert all(task.retries >= 1 for task in dag.tasks)


def test_every_dag_says_what_it_is_for_and_is_tagged(bag: DagBag) -> None:
    for one in bag.dags.values():
        assert one.doc_md
        assert one.description
        assert one.tags


def test_publish_emits_the_asset_that_others_are_scheduled_on(dag: DAG) -> None:
    assert [asset.name for asset in dag.get_task("publish").outlets] == ["greenery_analytics"]


def test_without_a_word_on_it_the_day_begins_at_six_utc(dag: DAG) -> None:
    assert dag.schedule == "0 6 * * *"


def test_the_shop_is_loaded_first_where_its_database_is_named_and_not_at_all_where_it_is_not(
    dag: DAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "load" not in dag.task_ids
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://shop.example/shop")
    loading = DagBag(dag_folder=str(DAGS / "greenery_daily.py")).dags["greenery_daily"]
    assert set(loading.task_ids) == {*dag.task_ids, "load"}
    assert loading.get_task("load").get_flat_relative_ids(upstream=False) == set(dag.task_ids)
    assert loading.get_task("check_sources").upstream_task_ids == {"load"}


def test_a_full_refresh_can_be_asked_for_in_the_trigger_form(dag: DAG) -> None:
    assert dag.params["full_refresh"] is False


def test_a_task_finds_itself_in_the_file_that_its_process_reads_for_it_alone(
    dag: DAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task_id, drawn in dag.task_dict.items():
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag.dag_id)
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", task_id)
        alone = DagBag(dag_folder=str(DAGS / "greenery_daily.py"))
        assert alone.import_errors == {}
        found = alone.dags[dag.dag_id].task_dict[task_id]
        assert type(found) is type(drawn)
        assert what_it_does(found) == what_it_does(drawn), task_id


def what_it_does(task: BaseOperator) -> dict[str, object]:
    """What a task is made of that its process needs: everything but its neighbours, which Airflow alone asks about."""
    names = task.get_serialized_fields() - {
        "start_trigger_args",
        "start_from_trigger",
        "task_group",
        "upstream_task_ids",
        "downstream_task_ids",
    }
    names |= {"select", "exclude", "selector", "indirect_selection", "project_dir", "dbt_cmd_flags"}
    return {name: repr(getattr(task, name, None)) for name in names if not name.startswith("_")}


def test_a_broken_project_is_in_the_ui_and_leaves_the_daily_dag_alone(
    dag: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "dbt"
    shutil.copytree(release.current().path, source, ignore=shutil.ignore_patterns("target", ".cosmos"))
    (source / "models" / "staging" / "greenery" / "broken.sql").write_text("select {{")
    monkeypatch.setenv("GREENERY_DBT_DIR", str(source))
    broken = DagBag(dag_folder=str(DAGS / "greenery_daily.py"))
    assert broken.import_errors == {}
    assert set(broken.dags["greenery_daily"].task_ids) == set(dag.task_ids)
    banner = DagBag(dag_folder=str(DAGS / "greenery_dbt_project.py"), safe_mode=False)
    [told] = banner.import_errors.values()
    assert "models/staging/greenery/broken.sql" in told
    assert "line 1" in told
