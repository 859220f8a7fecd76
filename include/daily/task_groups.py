"""The dbt project as Airflow tasks: the one place that configures Cosmos.

`transform` and `history` draw a task a node, models and seeds; `check_sources`, `snapshot` and `cross_model_tests` are
single tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import BaseOperator, TaskGroup, TriggerRule, get_parsing_context
from cosmos import DbtTaskGroup, ExecutionConfig, ProjectConfig, RenderConfig
from cosmos.constants import (
    DbtResourceType,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    TestBehavior,
)
from cosmos.dbt.graph import DbtNode

from include.daily import ahead
from include.daily.operators import BuildAhead, BuildNode, CheckSources, CrossModelTests, TakeSnapshot
from include.dbt_project import manifest
from include.fast_cosmos.operators import arguments, profile
from include.fast_cosmos.releases import Release

_DRAWN = (DbtResourceType.MODEL, DbtResourceType.SEED)


def transform(project: Release) -> TaskGroup:
    """A task group with one task a node that does not descend from a snapshot."""
    facts = manifest.read(project.manifest)
    return nodes(ahead.GROUP, project, ahead.ours(facts))


def build_ahead(project: Release) -> BuildAhead:
    """One dbt that builds all of `transform`, while its tasks wait for their own nodes (`include.daily.ahead`)."""
    return BuildAhead(
        task_id=ahead.TASK,
        # They wait for it: it has to be queued before them.
        priority_weight=1_000_000,
        weight_rule="absolute",
        dbt_cmd_flags=[
            *("--resource-type", "model", "--resource-type", "seed", "--resource-type", "test"),
            "--no-fail-fast",  # one that fails is no news to those that don't read it, and dbt would not wait for these
        ],
        **arguments(project),
    )


def history(project: Release) -> TaskGroup:
    """The same of what descends from the snapshots."""
    return nodes("history", project, manifest.read(project.manifest).history)


def nodes(group_id: str, project: Release, drawn: Collection[str]) -> TaskGroup:
    """A task group with one task for each of these nodes, models and seeds, and a sub-group a folder.

    A node's task builds it and runs its tests. A process that runs a task reads the whole DAG file for that one alone,
    and gets it without the others.
    """
    if running := get_parsing_context().task_id:
        return _only(running, group_id, project)
    group = DbtTaskGroup(
        group_id=group_id,
        project_config=ProjectConfig(
            dbt_project_path=project.path,
            manifest_path=project.manifest,
            project_name="greenery",
            install_dbt_deps=False,
        ),
        profile_config=profile(project),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.BUILD,
            # Cosmos would draw the folders of anything else.
            select=[f"resource_type:{kind.value}" for kind in _DRAWN],
            group_nodes_by_folder=True,
            emit_datasets=False,
            node_converters=dict.fromkeys(_DRAWN, _converter(project, frozenset(drawn))),
        ),
    )
    _forget_empty(group)
    return group


def check_sources(project: Release) -> CheckSources:
    """Freshness, shape and tests of the raw tables; also notes how far they are, before anything is built."""
    return CheckSources(task_id=manifest.CHECK_SOURCES, **arguments(project))


def snapshot(project: Release) -> TakeSnapshot:
    """The snapshots, each after the key tests of what it reads; runs whatever became of the tasks before it."""
    return TakeSnapshot(
        task_id=manifest.SNAPSHOT,
        trigger_rule=TriggerRule.ALL_DONE,
        dbt_cmd_flags=["--resource-type", "snapshot", "--resource-type", "test"],
        **arguments(project),
    )


def cross_model_tests(project: Release, *before: TaskGroup | BaseOperator) -> CrossModelTests:
    """The tests that belong to no single task, after those of the groups and tasks that make what they read.

    One that dbt knows no parent of may read anything. Where there are none, the task comes last as well.
    """
    facts = manifest.read(project.manifest)
    across = facts.tests_of(manifest.CROSS_MODEL_TESTS)
    tests = [test for test in facts.data_tests if test.unique_id in across]
    read = {parent for test in tests for parent in test.parents}
    made = {facts.task_of(one).rsplit(".", 1)[-1] for one in facts.drawn if one in read}
    if read - set(facts.drawn):
        made.add(manifest.SNAPSHOT)
    task = CrossModelTests(task_id=manifest.CROSS_MODEL_TESTS, **arguments(project))
    for one in before:
        tasks = one.iter_tasks() if isinstance(one, TaskGroup) else [one]
        names = {each.task_id.rsplit(".", 1)[-1] for each in tasks}
        if names and (made & names or not tests or not all(test.parents for test in tests)):
            one >> task
    return task


def _converter(project: Release, drawn: Collection[str]) -> Callable[..., BaseOperator | None]:
    """What Cosmos calls for each node of the project: it says where, and we whether it is drawn there, and how it runs.

    Its own selection goes by names, and so takes what is in a folder of that name as well.
    """

    def build_node(*, node: DbtNode, task_id: str, task_group: TaskGroup, **_: Any) -> BaseOperator | None:
        return _node(project, node.unique_id, task_id, task_group) if node.unique_id in drawn else None

    return build_node


def _forget_empty(group: TaskGroup) -> None:
    """Leave out the sub-groups of folders of which nothing was drawn here."""
    for label, inner in list(group.children.items()):
        if isinstance(inner, TaskGroup):
            _forget_empty(inner)
            if not inner.children:
                del group.children[label]


def _only(task_id: str, group_id: str, project: Release) -> TaskGroup:
    """The group as `nodes` draws it, with this one of its tasks at most.

    Its own run knows the node, even where the project has lost it since.
    """
    group = inner = TaskGroup(group_id)
    first, *folders = task_id.split(".")
    if first == group_id and folders:
        name = folders.pop()
        for folder in folders:
            inner = TaskGroup(folder, parent_group=inner)
        _node(project, manifest.read(project.manifest).node_of(task_id), name, inner)
    return group


def _node(project: Release, unique_id: str | None, task_id: str, task_group: TaskGroup) -> BaseOperator:
    facts = manifest.read(project.manifest)
    if unique_id and unique_id not in facts.models and not facts.tests_of(unique_id):
        return EmptyOperator(task_id=task_id, task_group=task_group)  # an ephemeral model is part of what reads it
    return BuildNode(
        task_id=task_id,
        task_group=task_group,
        # Tasks run side by side already: each thread is a connection that a small test does not pay back.
        dbt_cmd_flags=["--threads", "2"],
        **arguments(project),
    )
