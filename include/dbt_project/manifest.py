"""What the manifest says: which tests there are, which task runs each, who owns what, and what leads where."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

# What Cosmos calls the task that builds a model, after the model's name.
MODEL_TASK = "_model_build"
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

    @cached_property
    def models(self) -> frozenset[str]:
        """Unique ids of the models that dbt builds as relations."""
        return frozenset(
            unique_id
            for unique_id, node in self.nodes.items()
            if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
        )

    def model_of(self, task_id: str) -> str | None:
        """The unique id of the model that a task builds; None for a task that builds none."""
        name = task_id.rsplit(".", 1)[-1]
        return next((model for model in self.models if name == f"{self.nodes[model]['name']}{MODEL_TASK}"), None)

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

    @property
    def snapshots(self) -> dict[str, dict[str, Any]]:
        """The snapshots' nodes by their unique ids."""
        return {unique_id: node for unique_id, node in self.nodes.items() if node["resource_type"] == "snapshot"}

    @cached_property
    def data_tests(self) -> list[DataTest]:
        """All enabled data tests (unit tests aren't among them)."""
        return [
            DataTest(
                unique_id,
                node["name"],
                node["config"]["severity"].lower(),
                frozenset(node["depends_on"]["nodes"]),
                node["config"].get("error_if", ANY_ROW),
            )
            for unique_id, node in self.nodes.items()
            if node["resource_type"] == "test"
        ]

    @cached_property
    def tests_of_no_single_model(self) -> list[DataTest]:
        """Tests that neither `check_sources` nor the build of one model runs: those across models.

        `dbt build --select MODEL --indirect-selection buildable` runs a test on MODEL if its other parents are
        sources or ancestors of MODEL, so that they are built by then. What is left needs a task of its own.
        """
        return [
            test
            for test in self.data_tests
            if not (test.parents and test.parents <= self.sources.keys())
            and not any(test.parents - {model} <= self.ancestors(model) for model in test.parents)
        ]

    @cached_property
    def personal_columns(self) -> frozenset[str]:
        """Names of the columns that are marked `meta: {personal: true}` anywhere: they are never shown."""
        return frozenset(
            name
            for node in (*self.nodes.values(), *self.sources.values())
            for name, column in node.get("columns", {}).items()
            if {**column.get("meta", {}), **column.get("config", {}).get("meta", {})}.get("personal")
        )

    def tests_personal(self, test: str) -> bool:
        """Whether the rows that a test finds may hold a personal column under another name, as dbt's own tests do."""
        node = self.nodes.get(test, {})
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
        return {unique_id: node["depends_on"].get("nodes", []) for unique_id, node in self.nodes.items()}

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
    content = json.loads(path.read_bytes())
    return Manifest(content["nodes"], content["sources"], content.get("groups", {}), content.get("exposures", {}))
