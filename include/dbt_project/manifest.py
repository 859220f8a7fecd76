"""What the manifest says: which tests there are, which task runs each, who owns what, and what leads where."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

# The tasks of the day that run the tests which are no single node's.
CHECK_SOURCES = "check_sources"
SNAPSHOT = "snapshot"
CROSS_MODEL_TESTS = "cross_model_tests"
# How the name of a task that builds a node ends, as Cosmos gives it, after the node's own.
BUILDS = re.compile(r"_(model|seed)_build$")
# A test that is tagged so has to pass before a snapshot of what it is on is taken.
_SNAPSHOT_KEY = "snapshot_key"
# dbt's own `error_if`: a test fails of a single row.
ANY_ROW = "!= 0"
# The relation that a generic test is on, as its arguments name it.
_TESTED = re.compile(r"(ref|source)\(\s*'(\w+)'(?:\s*,\s*'(\w+)')?")


@dataclass(frozen=True)
class DataTest:
    """An enabled data test. `parents` are the unique ids of the models, snapshots and sources that it reads.

    Of severity error it fails where the number of its rows is `error_if`.
    """

    unique_id: str
    name: str
    severity: str
    parents: frozenset[str]
    error_if: str = ANY_ROW


@dataclass(frozen=True)
class Manifest:
    """The part of dbt's manifest.json that the daily run asks about."""

    nodes: dict[str, dict[str, Any]]
    sources: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    exposures: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    semantic_models: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Over its macros and variables (`release.write_macros_hash`).
    macros_hash: str = ""

    @cached_property
    def drawn(self) -> list[str]:
        """Unique ids of the nodes that have a task each, models and seeds, in the order of the manifest."""
        return [unique_id for unique_id, node in self.nodes.items() if node["resource_type"] in ("model", "seed")]

    @cached_property
    def history(self) -> frozenset[str]:
        """Those of them that descend from a snapshot, and so come after it."""
        snapshots = self.snapshots.keys()
        return frozenset(one for one in self.drawn if not snapshots.isdisjoint(self.upstream(one)))

    @cached_property
    def models(self) -> frozenset[str]:
        """Unique ids of the models and seeds that dbt builds as relations."""
        return frozenset(one for one in self.drawn if self.nodes[one]["config"]["materialized"] != "ephemeral")

    def task_of(self, unique_id: str) -> str:
        """The id of the task that builds a node, below its task group: its folders, and the name that Cosmos gives."""
        folders = Path(self.nodes[unique_id]["original_file_path"]).parts[:-1]
        return ".".join((*folders, f"{_task_name(unique_id)}_{self.nodes[unique_id]['resource_type']}_build"))

    def node_of(self, task_id: str) -> str | None:
        """The unique id of the node that a task builds; None for a task that builds none.

        A node whose file has moved since the task was drawn is known by its name.
        """
        below = task_id.partition(".")[2]
        if below in self._by_task:
            return self._by_task[below]
        name = task_id.rsplit(".", 1)[-1]
        named = [node for task, node in self._by_task.items() if task.rsplit(".", 1)[-1] == name]
        return named[0] if len(named) == 1 else None

    @cached_property
    def _by_task(self) -> dict[str, str]:
        return {self.task_of(unique_id): unique_id for unique_id in self.drawn}

    def selector(self, unique_id: str) -> str:
        """What dbt selects this very node by. By its name alone it takes what is in a folder of that name as well."""
        node = self.nodes[unique_id]
        return ",".join(
            (
                f"fqn:{'.'.join(node['fqn'])}",
                f"file:{Path(node['original_file_path']).name}",
                f"package:{node['package_name']}",
                f"resource_type:{node['resource_type']}",
            )
        )

    @cached_property
    def relations(self) -> dict[str, str]:
        """The name in the database, without its schema, of what each model makes, by the model's unique id."""
        return {model: self.nodes[model].get("alias") or self.nodes[model]["name"] for model in self.models}

    def relations_of(self, schema: str) -> dict[str, str]:
        """Those of one schema."""
        return {model: name for model, name in self.relations.items() if self.nodes[model].get("schema") == schema}

    def tables_of(self, schema: str) -> frozenset[str]:
        """Names of what models own in a schema."""
        return frozenset(self.relations_of(schema).values())

    @cached_property
    def snapshots(self) -> dict[str, dict[str, Any]]:
        """The snapshots' nodes by their unique ids."""
        return {unique_id: node for unique_id, node in self.nodes.items() if node["resource_type"] == "snapshot"}

    @cached_property
    def data_tests(self) -> list[DataTest]:
        """All enabled data tests, no unit tests; dbt switches one off whose model is gone."""
        return [
            DataTest(
                unique_id,
                node["name"],
                node["config"]["severity"].lower(),
                frozenset(node["depends_on"]["nodes"]),
                node["config"].get("error_if", ANY_ROW),
            )
            for unique_id, node in self.nodes.items()
            if node["resource_type"] == "test" and node["config"].get("enabled", True)
        ]

    def tests_of(self, home: str) -> frozenset[str]:
        """Unique ids of the tests that a task runs: of a node's by its unique id, or of one of the day's other tasks.

        Each test has exactly one such home. The snapshots' task runs the key tests of what they read as well.
        """
        return self._tests_by_home.get(home, frozenset())

    @cached_property
    def _tests_by_home(self) -> dict[str, frozenset[str]]:
        homes = defaultdict(set)
        for test in self.data_tests:
            homes[self.home_of(test)].add(test.unique_id)
        homes[SNAPSHOT] |= {test.unique_id for test in self.data_tests if self._guards_a_snapshot(test)}
        return {home: frozenset(tests) for home, tests in homes.items()}

    def home_of(self, test: DataTest) -> str:
        """Where a test runs: with the last of the nodes that it reads, where that one descends from the others.

        Tests of sources run in `check_sources`, those of snapshots in `snapshot`, and all others in
        `cross_model_tests`.
        """
        if test.parents and test.parents <= self.sources.keys() - self.made_here:
            return CHECK_SOURCES
        if not test.parents.isdisjoint(self.snapshots) and test.parents <= self.snapshots.keys() | self.sources.keys():
            return SNAPSHOT
        drawn = (one for one in sorted(test.parents) if one in self.nodes and one not in self.snapshots)
        if len(test.parents) == 1:  # as most: to look for what is upstream would take seconds for a thousand models
            return next(drawn, CROSS_MODEL_TESTS)
        return next((one for one in drawn if test.parents - {one} <= self.ancestors(one)), CROSS_MODEL_TESTS)

    @cached_property
    def made_here(self) -> frozenset[str]:
        """Sources that are what a node makes: declared as a source, so that what reads it does not descend from it."""
        made = {(node.get("schema"), node["alias"]) for node in self.nodes.values() if node.get("alias")}
        return frozenset(
            one for one, source in self.sources.items() if (source.get("schema"), source.get("identifier")) in made
        )

    def _guards_a_snapshot(self, test: DataTest) -> bool:
        """Whether a snapshot may only be taken if this passes: what has a key twice can't be mended once it is in."""
        node = self.nodes[test.unique_id]
        read = {parent for snapshot in self.snapshots for parent in self.parents(snapshot)}
        if not (test.parents and test.parents <= read):
            return False
        if _SNAPSHOT_KEY in node.get("tags", ()):
            return True
        keys = {
            column
            for snapshot, of in self.snapshots.items()
            if test.parents <= set(self.parents(snapshot))
            for column in _columns(of["config"].get("unique_key"))
        }
        generic = (node.get("test_metadata") or {}).get("name")
        return generic in ("unique", "not_null") and node.get("column_name") in keys

    @cached_property
    def personal(self) -> dict[str, str | None]:
        """Columns that are marked `meta: {personal: …}` anywhere, by name: they are never shown.

        The value is the mark where that names the key which the column holds (`user_id`, `address_id`), else None.
        """
        return {
            name: mark if isinstance(mark, str) else None
            for node in (*self.nodes.values(), *self.sources.values())
            for name, column in node.get("columns", {}).items()
            if (mark := {**column.get("meta", {}), **column.get("config", {}).get("meta", {})}.get("personal"))
        }

    @cached_property
    def personal_columns(self) -> frozenset[str]:
        """The names of these columns."""
        return frozenset(self.personal)

    def tests_personal(self, test: str) -> bool:
        """Whether the rows that a test finds may hold a personal column under another name, as dbt's own tests do.

        A test whose SQL sees to it that they don't says `meta={'hides_personal': true}` there.
        """
        node = self.nodes.get(test, {})
        if node.get("config", {}).get("meta", {}).get("hides_personal"):
            return False
        arguments = (node.get("test_metadata") or {}).get("kwargs", {})
        asked = " ".join(map(str, (node.get("column_name"), arguments.get("columns"), arguments.get("key"))))
        return not self.personal_columns.isdisjoint(re.findall(r"\w+", asked))

    def ancestors(self, unique_id: str) -> set[str]:
        """What is there before a model is built: all that it descends from, and every source."""
        return self.upstream(unique_id) | set(self.sources)

    def upstream(self, unique_id: str) -> set[str]:
        """All that a node descends from."""
        return _reached(unique_id, self._parents)

    def downstream(self, unique_id: str) -> set[str]:
        """Models and snapshots that descend from a node."""
        return _reached(unique_id, self._children)

    def parents(self, unique_id: str) -> list[str]:
        """What a node reads, in the order of the manifest; a source reads nothing."""
        return self._parents.get(unique_id, [])

    def children(self, unique_id: str) -> list[str]:
        """Models and snapshots that read a node."""
        return self._children.get(unique_id, [])

    @cached_property
    def _parents(self) -> Mapping[str, list[str]]:
        # A seed depends on nothing that dbt would write down.
        return {unique_id: node.get("depends_on", {}).get("nodes", []) for unique_id, node in self.nodes.items()}

    @cached_property
    def _children(self) -> Mapping[str, list[str]]:
        children = defaultdict(list)
        for unique_id, node in self.nodes.items():
            for parent in self._parents[unique_id] if node["resource_type"] in ("model", "snapshot") else ():
                children[parent].append(unique_id)
        return dict(children)

    def tested(self, test: str) -> list[str]:
        """Unique ids of what a data test is about: the one node that it stands at, else all that it reads."""
        node = self.nodes[test]
        if node.get("attached_node"):
            return [node["attached_node"]]
        parents = node["depends_on"]["nodes"]
        model = str((node.get("test_metadata") or {}).get("kwargs", {}).get("model", ""))
        if named := _TESTED.search(model):  # dbt attaches no test to a source
            ending = ".".join(part for part in named.groups()[1:] if part)
            return [parent for parent in parents if parent.endswith(f".{ending}")] or parents
        return parents

    def title(self, unique_id: str) -> str:
        """What people call a node: a model by its name, a source's table with its schema."""
        if source := self.sources.get(unique_id):
            return f"{source['schema']}.{source['name']}"
        return self.nodes[unique_id]["name"] if unique_id in self.nodes else unique_id.split(".")[-1]

    def group_of(self, unique_id: str) -> dict[str, Any] | None:
        """The group that answers for a node: a model's own, a source's by `meta: {group: …}`."""
        node = self.nodes.get(unique_id) or self.sources.get(unique_id) or {}
        config = node.get("config", {})
        name = node.get("group") or config.get("group") or (node.get("meta") or config.get("meta") or {}).get("group")
        return next((group for group in self.groups.values() if group["name"] == name), None)


def _task_name(unique_id: str) -> str:
    return unique_id.split(".", 2)[2].replace(".", "_")


def _columns(unique_key: str | list[str] | None) -> list[str]:
    return unique_key if isinstance(unique_key, list) else [unique_key] if unique_key else []


def _reached(start: str, steps: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        new = set(steps.get(left.pop(), ())) - found
        found |= new
        left += new
    return found


def read(path: Path) -> Manifest:
    """Read manifest.json; the same file is read once a process."""
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, _mtime: int, _size: int) -> Manifest:
    return of(json.loads(path.read_bytes()))


def of(content: Mapping[str, Any]) -> Manifest:
    """That part, of the content of a manifest.json."""
    others = ("groups", "exposures", "functions", "metrics", "semantic_models")
    hashes = (one["macro_sql"] for one in content.get("macros", {}).values() if one["name"] == "macros_hash")
    macros = hashlib.blake2b(next(hashes, "").encode(), digest_size=8).hexdigest()
    return Manifest(content["nodes"], content["sources"], *(content.get(kind, {}) for kind in others), macros)
