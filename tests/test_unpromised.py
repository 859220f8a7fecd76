"""What we lean on that dbt, Cosmos and Airflow never promised: run this first after an upgrade.

One test for each thing. A test that fails says what no longer holds and where the project leans on it.
`docs/operations.md` says how an upgrade goes on.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys
from collections import ChainMap
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from airflow.jobs.job import Job
from airflow.listeners import hookimpl
from airflow.listeners.listener import get_listener_manager
from airflow.sdk import DAG
from airflow.sdk.api.client import TaskInstanceOperations
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.execution_time import supervisor, task_runner
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import DbtResourceType, InvocationMode, LoadMode, TestBehavior
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtBuildLocalOperator, DbtTestLocalOperator
from dbt.adapters.events.types import SQLQuery
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.clients.jinja import get_rendered
from dbt.clients.jinja_static import statically_extract_macro_calls
from dbt.contracts.graph.manifest import Manifest
from dbt.events.types import NodeExecuting, NodeFinished, NodeStart
from dbt.mp_context import get_mp_context
from dbt.task.base import BaseRunner
from dbt.task.runnable import GraphRunnableTask
from dbt_common.behavior_flags import BehaviorFlagRendered
from dbt_common.clients import agate_helper, jinja
from dbt_common.clients.jinja import template_cache
from dbt_common.events.base_types import DebugLevel
from dbt_common.events.functions import fire_event
from dbt_common.tests import disable_test_caching, enable_test_caching

from include.dbt_project import release
from include.fast_cosmos import invocation, operators, seal, warm_up
from include.fast_cosmos.releases import Release
from include.settings import PROJECT_ROOT
from tests import lean_dbt

# Macros of dbt's that ours replace or call, by the text that was read (sha256, 8 digits), and what leans on it.
READ = {
    "dbt.is_incremental": (
        "223c4057",
        "called by ours; asks should_full_refresh(), which is ours as well: whether a model goes on",
    ),
    "dbt.should_full_refresh": ("b08ab296", "replaced in buffers.sql"),
    "dbt.materialization_incremental_default": (
        "865d7932",
        "called by ours in published.sql; asks should_full_refresh(), builds aside and runs the hooks last",
    ),
    "dbt.default__snapshot_staging_table": ("6fae091f", "called in snapshots.sql with fewer versions than all"),
    "dbt_postgres.postgres__snapshot_get_time": ("eba2a82f", "replaced in snapshot_get_time.sql, in UTC"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A dbt project of two models, parsed without a database."""
    home = tmp_path_factory.mktemp("dbt")
    (home / "models" / "folder").mkdir(parents=True)
    (home / "macros").mkdir()
    (home / "dbt_project.yml").write_text("name: greenery\nversion: 1.0.0\nprofile: greenery\n")
    (home / "profiles.yml").write_text((PROJECT_ROOT / "dbt" / "profiles.yml").read_text())
    (home / "models" / "one.sql").write_text("select 1 as one")
    (home / "models" / "folder" / "two.sql").write_text(
        "{{ config(materialized='incremental') }} select one from {{ ref('one') }}"
    )
    (home / "macros" / "ours.sql").write_text("{% macro should_full_refresh() %}{{ return(true) }}{% endmacro %}")
    made = Release(home, release.PROFILE, release.TARGET)
    done = dbtRunner().invoke(["--quiet", "parse", *invocation._flags(made, home / "target")])
    assert done.success, done.exception
    seal.seal(home, made.stamp, ())
    return made


@pytest.fixture
def manifest(project: Release) -> Manifest:
    """Its manifest, as a task is given it."""
    return invocation.load(project)


def listed(project: Release, manifest: Manifest, scratch: Path) -> set[str]:
    """The models that dbt finds where a manifest is handed over."""
    flags = ["--quiet", "list", "--resource-type", "model", *invocation._flags(project, scratch)]
    return set(dbtRunner(manifest=manifest).invoke(flags).result)


# dbt


def test_dbt_takes_the_manifest_that_it_is_handed_and_parses_nothing(
    project: Release, manifest: Manifest, tmp_path: Path
) -> None:
    left = replace(manifest, nodes={key: node for key, node in manifest.nodes.items() if node.name == "one"})
    assert listed(project, left, tmp_path) == {"greenery.one"}, (
        "dbtRunner(manifest=…) no longer works on the manifest that it is handed: each task would parse the project, "
        "and a model's task would hear of all tests (include/fast_cosmos/invocation.py)"
    )


def test_who_made_a_flag_of_dbts_is_said_here_as_dbt_says_it() -> None:
    assert BehaviorFlagRendered._default_source() == lean_dbt.dbts_who_asks() == __name__, (
        "dbt no longer names the module that made a flag: tests/lean_dbt.py answers something else in its place"
    )


def test_an_event_for_debugging_says_here_what_dbt_says(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"conn_name": "one", "sql": "select 1", "node_info": {"node_name": "two"}}
    here = SQLQuery(**said)
    assert "pb_msg" not in here.__dict__, "an event for debugging is filled in before anybody asks"
    told = here.sql, here.message(), here.to_dict()
    monkeypatch.delattr(DebugLevel, "__init__")
    monkeypatch.delattr(DebugLevel, "__getattr__")
    dbts = SQLQuery(**said)
    assert told == (dbts.sql, dbts.message(), dbts.to_dict())


def test_a_text_that_was_compiled_before_is_rendered_here_as_dbt_renders_it() -> None:
    text = "{% set list = [1, one] %}{{ list }}"
    here = [get_rendered(text, {"one": one}, native=native) for one in (2, 3) for native in (True, False)]
    assert here == [[1, 2], "[1, 2]", [1, 3], "[1, 3]"]
    code = [jinja.get_environment().compile(text) for _ in range(2)]
    assert code[0] is code[1] is not jinja.get_environment(native=True).compile(text)
    assert jinja.parse(text) is jinja.parse(text), "dbt keeps no text that it parsed any more (dbt_common.tests)"


def test_a_macro_that_was_read_before_is_what_dbt_would_read_anew() -> None:
    text = "{% macro one(two) %}{{ three(two) }}{% endmacro %}"

    def read() -> tuple[list, list]:
        blocks = jinja.extract_toplevel_blocks(text, {"macro"}, collect_raw_data=False)
        return blocks, statically_extract_macro_calls(text, {})

    here, again = read(), read()
    assert here[0] is again[0], (
        "dbt no longer keeps what it reads where tests run: each parse of one takes twice as long"
    )
    disable_test_caching()
    try:
        dbts = read()
    finally:
        enable_test_caching()
    assert [block.full_block for block in here[0]] == [block.full_block for block in dbts[0]] == [text]
    assert here[1] == again[1] == dbts[1] == ["three"]


def test_the_types_of_a_querys_rows_are_told_here_as_dbt_tells_them() -> None:
    rows = [("1", 1, "2026-03-02", None), ("x", 2, "2026-03-02", True)]
    for texts in ({"a"}, {"a", "c"}, ()):
        here = agate_helper.build_type_tester(texts, string_null_values=())
        assert here is agate_helper.build_type_tester([*texts], string_null_values=())
        dbts = lean_dbt.dbts_type_tester(texts, string_null_values=())
        types = [[type(one) for one in tester.run(rows, ["a", "b", "c", "d"])] for tester in (here, dbts)]
        assert types[0] == types[1]


def test_a_statement_without_a_result_gets_here_what_dbt_gives_it() -> None:
    here, dbts = agate_helper.empty_table(), lean_dbt.dbts_empty_table()
    assert here is agate_helper.empty_table()
    for table in (here, dbts):
        with pytest.raises(AttributeError):
            table.rows = [1]
    assert [*here.rows] == [*dbts.rows] == [*here.column_names] == [*dbts.column_names] == []


def test_a_name_means_here_in_a_template_what_it_means_to_jinja() -> None:
    context = (
        jinja.get_environment().from_string("{% set a = 1 %}").new_context(ChainMap({"b": None}, {"b": 2, "c": 3}))
    )
    context.vars["a"] = 1
    for name in ("a", "b", "c", "d", "range"):
        assert context.resolve_or_missing(name) is lean_dbt.jinjas_resolve(context, name)


def test_a_manifest_can_be_copied_with_fewer_nodes_and_the_whole_one_stays(
    project: Release, manifest: Manifest, tmp_path: Path
) -> None:
    wanted = {"nodes", "unit_tests", "exposures", "metrics", "semantic_models", "saved_queries"}
    assert wanted <= {one.name for one in fields(Manifest)}, (
        "Manifest is no dataclass with these fields any more: invocation.py leaves nodes out by dataclasses.replace"
    )
    less = replace(manifest, nodes={})
    assert less.ref_lookup is not manifest.ref_lookup, (
        "a copy of a manifest shares the original's look-ups: after one task's copy, ref() would find too little"
    )
    assert listed(project, manifest, tmp_path) == {"greenery.one", "greenery.folder.two"}


def test_a_name_is_found_in_the_whole_manifest_where_dbt_gets_a_part_of_it(manifest: Manifest) -> None:
    part = replace(manifest, nodes={}, _ref_lookup=invocation._finding(manifest.ref_lookup, manifest))
    assert part.ref_lookup.find("one", None, None, part) is manifest.nodes["model.greenery.one"], (
        "dbt no longer finds what a name means by perform_lookup: a task's ref() finds nothing (invocation._finding)"
    )


def test_a_lock_of_dbts_has_no_name_where_it_is_told_so() -> None:
    """`include/fast_cosmos/invocation.py` does: a name is a file in /dev/shm, which a task that is killed leaves."""
    with invocation.nameless_locks():
        locks = [Manifest()._lock, get_mp_context().RLock()]  # the manifest's, and the one of dbt's connections
    assert [lock._semlock.name for lock in locks] == [None, None], (
        "each task that is killed leaves a file in /dev/shm: Python no longer goes by the name of dbt's context"
    )
    assert get_mp_context().Lock()._semlock.name, "who spawns a process could not hand it a lock"


def test_dbt_tells_of_a_node_as_it_begins_and_ends() -> None:
    told = []
    about = {"unique_id": "model.greenery.one"}
    with invocation.without_debugging(told.append, lambda node, result: told.append((node, result.status))):
        fire_event(NodeStart(node_info=about))
        fire_event(NodeExecuting(node_info=about))
        fire_event(NodeFinished(node_info=about, run_result={"status": "success"}))
    assert told == ["model.greenery.one", ("model.greenery.one", "success")]
    source = inspect.getsource(GraphRunnableTask) + inspect.getsource(BaseRunner)
    assert [event for event in ("NodeStart(", "NodeExecuting(", "NodeFinished(") if event not in source] == [], (
        "dbt no longer tells of a node by these events: nothing is built ahead (invocation.py)"
    )


def test_macros_that_were_compiled_before_the_fork_are_not_compiled_again(manifest: Manifest) -> None:
    macro = manifest.macros["macro.greenery.should_full_refresh"]
    invocation.compile_macros(manifest)
    kept = template_cache.get_node_template(macro)
    assert jinja.CallableMacroGenerator(macro).get_template() is kept, (
        "dbt no longer takes a macro's template from dbt_common.clients.jinja.template_cache: "
        "compile_macros before the fork is for nothing, and each task takes 0.15 s longer"
    )


@pytest.mark.parametrize("name", READ)
def test_a_macro_of_dbts_that_ours_replace_or_call_is_as_it_was_read(manifest: Manifest, name: str) -> None:
    text, (known, why) = manifest.macros[f"macro.{name}"].macro_sql, READ[name]
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == known, (
        f"dbt's macro {name} has changed ({why}). Read it beside dbt/macros; when ours is right again, note its new "
        f"digits in READ:\n{text}"
    )


def test_a_hook_sees_a_line_of_the_log_as_dbt_would_print_it(project: Release, tmp_path: Path) -> None:
    events = []
    flags = ["list", "--log-level", "none", "--log-level-file", "none", *invocation._flags(project, tmp_path)]
    dbtRunner(callbacks=[events.append]).invoke(flags)
    assert {"info", "debug"} <= {one.info.level for one in events}, (
        "dbtRunner(callbacks=…) no longer hears of events that no log takes: the log of a task would be empty"
    )
    assert all(one.info.msg is not None and one.info.ts.ToDatetime() for one in events)
    events.clear()
    with invocation.without_debugging():
        dbtRunner(callbacks=[events.append]).invoke(flags)
    assert {one.info.level for one in events} == {"info"}, (
        "dbt no longer asks the event manager that is set: it words each event for debugging, which takes a task 0.02 s"
    )


# Cosmos


def drawn(project: Release) -> tuple[DAG, list[dict]]:
    """The tiny project as Cosmos draws it, and what it said to the converter of each model."""
    said: list[dict] = []

    def convert(**told: object) -> BaseOperator:
        said.append(told)
        return DbtBuildLocalOperator(
            task_id=told["task_id"],
            task_group=told["task_group"],
            project_dir=str(project.path),
            profile_config=profile(project),
            select="fqn:one",
        )

    with DAG(dag_id="unpromised", schedule=None) as dag:
        DbtTaskGroup(
            group_id="models_of_today",
            project_config=ProjectConfig(
                dbt_project_path=project.path,
                manifest_path=project.path / "target" / "manifest.json",
                project_name="greenery",
            ),
            profile_config=profile(project),
            execution_config=ExecutionConfig(invocation_mode=InvocationMode.DBT_RUNNER),
            render_config=RenderConfig(
                load_method=LoadMode.DBT_MANIFEST,
                test_behavior=TestBehavior.BUILD,
                group_nodes_by_folder=True,
                node_converters={DbtResourceType.MODEL: convert},
            ),
        )
    return dag, said


def profile(project: Release) -> ProfileConfig:
    return ProfileConfig(
        profile_name=release.PROFILE, target_name=release.TARGET, profiles_yml_filepath=project.path / "profiles.yml"
    )


def test_cosmos_names_tasks_by_folder_and_model_and_asks_our_converter(project: Release) -> None:
    dag, said = drawn(project)
    assert set(dag.task_ids) == {
        "models_of_today.models.one_model_build",
        "models_of_today.models.folder.two_model_build",
    }, "Cosmos names its tasks otherwise: runs, links and the page find a model by these names (manifest.task_of)"
    assert {one["node"].name for one in said} == {"one", "two"}
    assert all({"node", "task_id", "task_group"} <= one.keys() for one in said), (
        "Cosmos no longer hands node, task_id and task_group to a node converter (include/daily/task_groups.py)"
    )


@pytest.mark.parametrize("operator", [DbtBuildLocalOperator, DbtTestLocalOperator])
def test_a_cosmos_operator_runs_dbt_through_build_and_run_cmd(
    project: Release, operator: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = operator(
        task_id="one",
        select="fqn:one",
        project_dir=str(project.path),
        profile_config=profile(project),
        invocation_mode=InvocationMode.DBT_RUNNER,
        install_deps=False,
    )
    calls: list[dict] = []

    def run(_: BaseOperator, **told: object) -> dbtRunnerResult:
        calls.append(told)
        return dbtRunnerResult(success=True, result=SimpleNamespace(results=[]))

    monkeypatch.setattr(operator, "build_and_run_cmd", run)
    task.execute(context={})
    assert [call.keys() >= {"context", "cmd_flags"} for call in calls] == [True], (
        f"{operator.__name__}.execute no longer calls build_and_run_cmd(context=, cmd_flags=) once: "
        "our operators would start dbt as Cosmos does (include/fast_cosmos/operators.py)"
    )
    command, _ = task.build_cmd({"run_id": "x"}, calls[0]["cmd_flags"])
    assert command[1] in ("build", "test"), (
        "build_cmd's first word is no longer the program, which operators.run_dbt drops"
    )
    assert command[command.index("--select") + 1] == "fqn:one"


def test_cosmos_raises_what_dbt_failed_of() -> None:
    failed = dbtRunnerResult(success=False, result=SimpleNamespace(results=[]))
    with pytest.raises(CosmosDbtRunError):
        operators.handle_exception_if_needed(failed)


# Airflow


def test_airflow_runs_tasks_through_the_coordinator_that_airflow_cfg_names() -> None:
    ask = (
        "from airflow.sdk.execution_time.coordinator import get_coordinator_manager as manager;"
        "print(type(manager().for_queue('default')).__name__, type(manager().for_queue('')).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask],
        env={**os.environ, "AIRFLOW_CONFIG": str(PROJECT_ROOT / "airflow.cfg"), "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["WarmCoordinator", "_PythonCoordinator"], (
        "[sdk] coordinators and queue_to_coordinator no longer bring a task to fast_cosmos.warm_up.WarmCoordinator, "
        f"or the queue '' no longer to Airflow's own: tasks are slow, or don't start at all\n{done.stderr}"
    )


def test_a_coordinator_is_asked_to_execute_a_task_with_names_alone() -> None:
    asked = inspect.signature(warm_up.BaseCoordinator.execute_task).parameters.values()
    kinds = {one.kind for one in asked if one.name != "self"}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}, (
        "BaseCoordinator.execute_task takes arguments by place: WarmCoordinator.execute_task passes names alone"
    )


def test_a_worker_lets_a_task_begin_and_end_by_these_calls() -> None:
    said = {
        name: list(inspect.signature(getattr(TaskInstanceOperations, name)).parameters)[1:]
        for name in ("start", "set_rtif", "succeed")
    }
    assert said == {
        "start": ["id", "pid", "when"],
        "set_rtif": ["id", "body"],
        "succeed": ["id", "when", "task_outlets", "outlet_events", "rendered_map_index"],
    }, "Airflow's client calls otherwise: tasks that are done ahead can't end (fast_cosmos/ahead.py)"


def test_a_worker_makes_a_tasks_rendered_fields_and_keeps_its_log_as_a_task_and_its_supervisor_do() -> None:
    task = SimpleNamespace(template_fields=("compiled_sql",), compiled_sql="select 1")
    assert task_runner._serialize_rendered_fields(task) == {"compiled_sql": "select 1"}, (
        "Airflow makes rendered fields otherwise: the SQL of a task that was built ahead is not shown "
        "(fast_cosmos/ahead.py)"
    )
    with supervisor._remote_logging_conn(SimpleNamespace()):
        pass
    assert list(inspect.signature(supervisor._remote_logging_conn).parameters) == ["client"], (
        "Airflow's supervisor finds the connection of a remote log otherwise: the log of a task that was built ahead "
        "would stay on the worker (fast_cosmos/ahead.py)"
    )


def test_a_component_says_that_it_starts_and_which_it_is() -> None:
    heard: list[str] = []
    listener = ModuleType("a_listener")
    listener.on_starting = hookimpl(lambda component: heard.append(type(component).__name__), specname="on_starting")
    manager = get_listener_manager()
    manager.add_listener(listener)
    try:
        Job()
    finally:
        manager.pm.unregister(listener)
    assert heard == ["Job"], (
        "Airflow no longer calls on_starting with a Job: the scheduler would not warm up (fast_cosmos/warm_up.py)"
    )


def test_a_tasks_sql_is_sent_when_it_ran() -> None:
    assert "overwrite_rtif_after_execution" in inspect.getsource(task_runner), (
        "Airflow no longer sends template fields after a task: its compiled SQL would not be in the UI "
        "(operators._OnRelease)"
    )
    assert BaseOperator.overwrite_rtif_after_execution is False


def test_airflow_logs_where_it_is_told_to() -> None:
    ask = (
        "import logging; from include.command_line import log_to_stderr; log_to_stderr();"
        "logging.getLogger('greenery').warning('said')"
    )
    done = subprocess.run([sys.executable, "-c", ask], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert (done.stdout, "said" in done.stderr) == ("", True), (
        "airflow.sdk.log.configure_logging no longer takes `output`: what is logged would be among what a command "
        f"prints on stdout (include/command_line.py)\n{done.stderr}"
    )
