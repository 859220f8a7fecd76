"""Dbt projects that are not Greenery's, played day after day by the code that a run of the daily DAG runs.

Beside each the same project is built as plain dbt builds it, without this deployment's macros: what is published has to
hold what that holds.
"""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from psycopg2.extensions import connection as Connection

from include.daily import admission, ahead
from include.daily.warm_up import WARM_UP
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.fast_cosmos import invocation
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.publish.publish import publish_run
from include.settings import PROJECT_ROOT
from include.warehouse import connect, migrate
from tests.conftest import named_by_the_environment
from tests.dbt.conftest import Dbt
from tests.forks import Forks, fork_dbt

HERE = Path(__file__).parent
MACROS = PROJECT_ROOT / "dbt" / "macros" / "daily"
PLAIN = "plain"
# What the project of a plain dbt has in place of our macros.
NO_HOOKS = """
{% macro before_build() %}{% endmacro %}
{% macro after_build() %}{% endmacro %}
{% macro one_at_a_time() %}{% endmacro %}
{% macro index_versions(columns) %}{% endmacro %}
{% macro get_incremental_replace_changed_sql(arguments) %}
    {{ return(get_incremental_default_sql(arguments)) }}
{% endmacro %}
"""


@dataclass
class Played:
    """A project after some runs, and what they left.

    `differences` has for each run, by relation, the first rows that are published and not in the plain build ("-"), or
    the other way round ("+").
    """

    warehouse: Connection
    facts: Manifest
    dag: DAG
    differences: list[dict[str, list[tuple]]] = field(default_factory=list)

    def query(self, statement: str) -> list[tuple]:
        """The rows of a query; none of a statement without a result."""
        with self.warehouse.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def column(self, statement: str) -> list[Any]:
        """The one column of a query."""
        return [value for (value,) in self.query(statement)]

    def name_of(self, node: str) -> str:
        """Where a node's rows are for people: schema and name."""
        schema, alias = self.facts.nodes[node]["schema"], self.facts.nodes[node]["alias"]
        return f'"{"analytics" if schema == "analytics_next" else schema}"."{alias}"'

    def plain_name_of(self, node: str) -> str:
        """Where plain dbt has them."""
        schema, alias = self.facts.nodes[node]["schema"], self.facts.nodes[node]["alias"]
        return f'"{PLAIN if schema == "analytics_next" else f"{PLAIN}_{schema}"}"."{alias}"'


@contextmanager
def project_of(folder: Path, home: Path, server: LocalPostgres, dbts: Forks) -> Iterator[Path]:
    """A project of this folder, as somebody has it who followed docs/own-project.md, and a warehouse for it."""
    source = home / "dbt"
    shutil.copytree(HERE / folder, source)
    shutil.copytree(MACROS, source / "macros" / "daily")
    shutil.copy(PROJECT_ROOT / "dbt" / "profiles.yml", source)
    with deployed_here(source, home, server, dbts, f"own_{folder.name}"):
        yield source


@contextmanager
def deployed_here(source: Path, home: Path, server: LocalPostgres, dbts: Forks, database: str) -> Iterator[None]:
    """A warehouse for the project in `source`; the environment names both, for what tasks do in this process.

    dbt parses in a fork.
    """
    postgres.ensure_database(server, database)
    with pytest.MonkeyPatch.context() as environment, named_by_the_environment(server.database(database), server):
        fork_dbt(dbts, environment)
        environment.setenv("GREENERY_DBT_DIR", str(source))
        environment.setenv("GREENERY_STATE_DIR", str(home / "state"))
        migrate.upgrade()
        with postgres.admin(server) as cursor:  # dbt must not care
            cursor.execute(f"alter database {database} set timezone to 'America/New_York'")
        yield


def plain(source: Path, home: Path) -> Dbt:
    """The same project for a plain dbt: without our macros, in schemas of its own, where dbt would put it."""
    shutil.copytree(source, home / "plain", symlinks=True)
    daily = home / "plain" / "macros" / "daily"
    shutil.rmtree(daily)
    daily.with_suffix(".sql").write_text(NO_HOOKS)
    profiles = home / "plain" / "profiles.yml"
    profiles.write_text(profiles.read_text().replace("analytics_next", PLAIN))
    return Dbt(home / "plain", home / "work").parse()


def play(
    source: Path, home: Path, load: Callable[[Played, int], None], times: int, by_tasks: Collection[int]
) -> Iterator[Played]:
    """So many runs of one release, each after a day's `load`; the dbt of the plain project runs beside each.

    In the runs `by_tasks` nothing is built ahead.
    """
    dag = drawn()
    project = release.current()
    assert project
    beside = plain(source, home)
    with connect("greenery tests") as connection:
        connection.commit()
        connection.autocommit = True
        played = Played(connection, manifest.read(project.manifest), dag)
        for run in range(1, times + 1):
            load(played, run)
            run_day(dag, f"run {run}", by_tasks=run in by_tasks)
            publish_run(f"run {run}", played.facts)
            admission.let_go(f"run {run}")
            built = beside.parse().results("build", "--exclude-resource-type", "test", "unit_test")
            wrong = {one.message for one in built if one.status not in ("success", "no-op")}
            assert wrong == set(), wrong
            played.differences.append(differences(played))
        yield played


def drawn() -> DAG:
    """The daily DAG as Airflow draws it, of the project that the environment names."""
    return runpy.run_path(str(PROJECT_ROOT / "dags" / "greenery_daily.py"))["published"].operator.dag


def run_day(dag: DAG, run_id: str, *, by_tasks: bool = False) -> None:
    """What a run of the DAG does up to its publish, task after task; `by_tasks` without what is built ahead."""
    invocation.load.cache_clear()  # a process of the next day has compiled nothing yet
    # Airflow's own order keeps the tasks of a group together, though one may wait for another group's.
    before = {task.task_id: set(task.upstream_task_ids) for task in dag.tasks}
    for task_id in before:  # which runs side by side with those that wait for it
        before[task_id] |= {"build_ahead"} if task_id.startswith("transform.") else set()
    for task in map(dag.get_task, TopologicalSorter(before).static_order()):
        if task.task_id not in ("load", "publish", "report") and not isinstance(task, EmptyOperator):
            asked = context(run_id, task.task_id)
            if by_tasks and task.task_id == "build_ahead":
                end_ahead(run_id)
            elif not WARM_UP.done(asked["ti"]):
                task.execute(asked)


def end_ahead(run_id: str) -> None:
    """What is left of a `build_ahead` that is killed before it builds: the run's tasks build for themselves."""
    with ahead.building(run_id):
        pass


def context(run_id: str, task_id: str, **params: object) -> Any:
    """The part of a task's context that is asked."""
    return {
        "run_id": run_id,
        "dag": SimpleNamespace(dag_id="greenery_daily"),
        "dag_run": SimpleNamespace(run_type="manual", start_date=None),
        "params": params,
        "ti": SimpleNamespace(
            dag_id="greenery_daily", run_id=run_id, task_id=task_id, try_number=1, get_dr_count=lambda _dag, **_: 0
        ),
    }


def differences(played: Played) -> dict[str, list[tuple]]:
    """By relation, the first rows in which what is published differs from the plain build."""
    found = {}
    for node in (*sorted(played.facts.models), *sorted(played.facts.snapshots)):
        ours, theirs = played.name_of(node), played.plain_name_of(node)
        columns = ", ".join(_columns(played, theirs))
        here, there = f"select {columns} from {ours}", f"select {columns} from {theirs}"
        try:
            rows = played.query(
                f"(select '-', * from ({here} except all {there}) as wrong limit 3)"
                f" union all (select '+', * from ({there} except all {here}) as lacking limit 3)"
            )
        except psycopg2.Error as error:
            rows = [(str(error),)]
        if rows:
            found[played.facts.nodes[node]["name"]] = rows
    return found


def _columns(played: Played, relation: str) -> list[str]:
    """Those of a relation; of what a snapshot adds, only what does not tell the moment of the run."""
    names = played.column(
        f"select attname::text from pg_attribute where attrelid = '{relation}'::regclass"
        " and attnum > 0 and not attisdropped"
    )
    told = [f'"{name}"' for name in names if not name.startswith("dbt_") or name == "dbt_is_deleted"]
    return [*told, "dbt_valid_to is null"] if "dbt_valid_to" in names else told
