"""A version of the project, built in a sandbox: what is asked for of it, with the rest read from where that is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from dbt_common.events.base_types import EventMsg
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import settings, words
from include.dbt_project.manifest import Manifest
from include.fast_cosmos.invocation import invoke
from include.preview import costs
from include.preview.progress import Progress
from include.preview.report import Cost
from include.preview.version import Version, built_as, is_of
from include.results import nodes
from include.results.failures import without_data
from include.results.nodes import NodeResult
from include.warehouse import connect
from include.warehouse.relation import Relation, columns
from include.warehouse.sandbox import Sandbox

VIEW = "view"  # as what a model is materialized
# What dbt says of a node that is done.
_DONE = ("LogModelResult", "LogSeedResult", "LogSnapshotResult", "LogTestResult")


class BuildError(RuntimeError):
    """dbt got to build nothing of a version; the message says why."""


@dataclass(frozen=True)
class Built:
    """A version's data, by the unique ids of its nodes.

    `relations` are where each model, seed and snapshot can be read, built here or not; one that failed is nowhere.
    `costs` are those of models that were built in full, `results` those of models and tests, without data.
    """

    relations: Mapping[str, Relation]
    costs: Mapping[str, Cost]
    results: Mapping[str, NodeResult]


def build(
    version: Version,
    sandbox: Sandbox,
    unique_ids: Collection[str],
    elsewhere: Mapping[str, Relation],
    progress: Progress,
    *,
    tests: bool = True,
    unit_tests: bool = True,
    changed_tests: Collection[str] = (),
) -> Built:
    """Build models, seeds and snapshots in a sandbox, and run each test that reads one of them, and their unit tests.

    `changed_tests` are run as well, whatever they read; those that the version does not have are passed over.

    What they read besides is taken from `elsewhere`, and built too where it is not there. Views are always built: a run
    that replaces one would wait for who reads it, or drop what stands on it. A model is built in full, but for one
    that can't be built again (`full_refresh: false`); that one and a snapshot go on from a copy of `elsewhere`.
    A test keeps nothing from being built. Raises BuildError where dbt gets to nothing, and ValueError for a version
    that was parsed for another sandbox.
    """
    facts = version.facts
    asked = set(unique_ids)
    of_tests = _parents_of_tests(facts, asked, changed_tests) if tests else {}
    of_unit_tests = _read_by_unit_tests(version, changed_tests) if unit_tests else {}
    wanted = _with_what_is_read(facts, asked, (*of_tests.values(), *of_unit_tests.values()), elsewhere)
    here = {one: built_as(facts, one) for one in wanted}
    if strays := {one.schema for one in here.values() if not is_of(sandbox, one.schema)}:
        raise ValueError(f"{version.label} was parsed for {', '.join(sorted(strays))} and not for {sandbox.name}")
    read = {one: relation for one, relation in elsewhere.items() if one in facts.nodes and one not in wanted}
    if not (wanted or of_tests or of_unit_tests):
        return Built(read, {}, {})
    results: dict[str, NodeResult] = {}
    if wanted:
        with connect("greenery preview", settings.warehouse_developer()) as connection:
            for one in wanted & elsewhere.keys():
                if _goes_on(facts, one):
                    _copy(connection, elsewhere[one], here[one])
        with progress.step(f"Building {words.count(len(wanted), 'model')} of {version.label}"):
            results = run_dbt(version, ["build", "--full-refresh"], wanted, (), (), read, progress)
    made = {one: relation for one, relation in here.items() if one in results and results[one].status == "success"}
    lacking = {test: sorted(parents & (wanted - made.keys())) for test, parents in of_tests.items()}
    data_tests = [test for test, missing in lacking.items() if not missing]
    of_models = _tests_of_models(version, (asked - wanted) | (asked & made.keys())) if unit_tests else []
    of_models += [
        test
        for test, read_there in of_unit_tests.items()
        if test not in of_models and read_there <= read.keys() | made.keys()
    ]
    if data_tests or of_models:
        with progress.step(f"Testing {version.label}"):
            results |= run_dbt(version, ["test"], (), data_tests, of_models, read, progress)
    results |= {test: _not_run(facts, test, missing) for test, missing in lacking.items() if missing}
    with connect("greenery preview", settings.warehouse_developer()) as connection:
        in_full = {one: made[one] for one in made if not _goes_on(facts, one)}
        return Built(read | made, costs.of_tables(connection, in_full, results), results)


def read_by(facts: Manifest, unique_ids: Collection[str], changed_tests: Collection[str] = ()) -> set[str]:
    """Models, what they descend from, and the same of what their tests read: a build of them reads nothing else."""
    tested = set().union(unique_ids, *_parents_of_tests(facts, set(unique_ids), changed_tests).values())
    return tested.union(*map(facts.upstream, tested))


def _parents_of_tests(facts: Manifest, models: set[str], others: Collection[str] = ()) -> dict[str, frozenset[str]]:
    """What each data test of models reads, by its unique id; of `others` as well."""
    return {
        one.unique_id: one.parents
        for one in facts.data_tests
        if one.unique_id in others or not one.parents.isdisjoint(models)
    }


def _read_by_unit_tests(version: Version, tests: Collection[str]) -> dict[str, frozenset[str]]:
    """The models of which unit tests ask what columns they have, by the unique id of the test."""
    facts = version.facts
    return {
        test: frozenset(
            one for model in node["depends_on"]["nodes"] for one in facts.parents(model) if one in facts.nodes
        )
        for test, node in version.whole.get("unit_tests", {}).items()
        if test in tests
    }


def _with_what_is_read(
    facts: Manifest, asked: Collection[str], of_tests: Iterable[Collection[str]], elsewhere: Mapping[str, Relation]
) -> set[str]:
    """What is asked for, and what it and its tests read that is nowhere else, or a view; no ephemeral model."""
    wanted, looked_at = set(), set()
    left = [*asked, *(parent for parents in of_tests for parent in parents)]
    while left:
        one = left.pop()
        if one not in facts.nodes or one in looked_at:
            continue
        looked_at.add(one)
        materialized = facts.nodes[one]["config"]["materialized"]
        if materialized != "ephemeral":
            if one not in asked and materialized != VIEW and one in elsewhere:
                continue
            wanted.add(one)
        left += facts.parents(one)
    return wanted


def _goes_on(facts: Manifest, one: str) -> bool:
    """Whether a node can't be built anew from what it reads."""
    node = facts.nodes[one]
    return node["resource_type"] == "snapshot" or node["config"].get("full_refresh") is False


def _copy(connection: Connection, table: Relation, to: Relation) -> None:
    with connection.cursor() as cursor:
        names = {"table": table.sql, "copy": to.sql}
        cursor.execute(sql.SQL("drop table if exists {copy}").format(**names))
        cursor.execute(sql.SQL("create table {copy} (like {table} including all)").format(**names))
        cursor.execute(
            sql.SQL("insert into {copy} ({columns}) overriding system value select {columns} from {table}").format(
                columns=columns(cursor, table), **names
            )
        )


def _tests_of_models(version: Version, models: Collection[str]) -> list[str]:
    """Unique ids of the unit tests of models."""
    return [
        unique_id
        for unique_id, test in version.whole.get("unit_tests", {}).items()
        if any(one in models for one in test["depends_on"]["nodes"])
    ]


def run_dbt(
    version: Version,
    command: list[str],
    selected: Collection[str],
    tests: Collection[str],
    unit_tests: Collection[str],
    elsewhere: Mapping[str, Relation],
    progress: Progress,
) -> dict[str, NodeResult]:
    """Run a dbt command on nodes and tests of a version; `elsewhere` are nodes that are not read where it builds them.

    Returns what became of each, without data. Raises BuildError where dbt gets to nothing.
    """
    select = [f"--select={version.facts.selector(one)}" for one in sorted(selected)]
    done = invoke(
        version.release,
        [*command, *select],
        tests=tests,
        unit_tests=unit_tests,
        elsewhere=elsewhere,
        populate_cache=True,
        hear=_telling(progress, len(selected) + len(tests) + len(unit_tests)),
    )
    results = nodes.from_dbt(getattr(done.result, "results", ()))
    if done.exception and not results:
        raise BuildError(
            f"dbt did not get to {command[0]} anything of {version.label}: {without_data(str(done.exception))}"
        )
    return {one.unique_id: replace(one, message=_message(one)) for one in results}


def _message(result: NodeResult) -> str | None:
    """dbt's message without data; how the rows of a unit test differ stays, since they are made up."""
    if not result.message or (result.resource_type == "unit_test" and result.status == "fail"):
        return result.message
    return without_data(result.message)


def _telling(progress: Progress, total: int) -> Callable[[EventMsg], None]:
    """What hears dbt's events: how many of its nodes are done."""
    done = itertools.count(1)

    def hear(event: EventMsg) -> None:
        if event.info.name in _DONE:
            progress.at(f"{next(done)} of {total}")

    return hear


def _not_run(facts: Manifest, test: str, missing: list[str]) -> NodeResult:
    node = facts.nodes[test]
    return NodeResult(
        unique_id=test,
        resource_type="test",
        name=node["name"],
        status="skipped",
        severity=node["config"]["severity"].lower(),
        failures=None,
        message=f"{', '.join(map(facts.title, missing))} was not built",
        seconds=0.0,
        rows_affected=None,
    )
