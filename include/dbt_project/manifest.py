"""What the manifest says of tests: which there are, and which task of the day runs each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DataTest:
    """An enabled data test. `parents` are the unique ids of the models, snapshots and sources that it reads."""

    unique_id: str
    name: str
    severity: str
    parents: frozenset[str]


@dataclass(frozen=True)
class Manifest:
    """The part of dbt's manifest.json that the daily run asks about."""

    nodes: dict[str, dict[str, Any]]
    sources: dict[str, dict[str, Any]]

    @property
    def models(self) -> frozenset[str]:
        """Unique ids of the models that dbt builds as relations."""
        return frozenset(
            unique_id
            for unique_id, node in self.nodes.items()
            if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
        )

    def model_named(self, name: str) -> dict[str, Any] | None:
        """A model's node; None where there is no such model."""
        return next((self.nodes[model] for model in self.models if self.nodes[model]["name"] == name), None)

    def tables_of(self, schema: str) -> frozenset[str]:
        """Names of the tables that models own in a schema."""
        return frozenset(
            self.nodes[model].get("alias") or self.nodes[model]["name"]
            for model in self.models
            if self.nodes[model].get("schema") == schema
        )

    @property
    def snapshots(self) -> dict[str, dict[str, Any]]:
        """The snapshots' nodes by their unique ids."""
        return {unique_id: node for unique_id, node in self.nodes.items() if node["resource_type"] == "snapshot"}

    @property
    def data_tests(self) -> list[DataTest]:
        """All enabled data tests (unit tests aren't among them)."""
        return [
            DataTest(
                unique_id,
                node["name"],
                node["config"]["severity"].lower(),
                frozenset(node["depends_on"]["nodes"]),
            )
            for unique_id, node in self.nodes.items()
            if node["resource_type"] == "test"
        ]

    @property
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

    @property
    def personal_columns(self) -> frozenset[str]:
        """Names of the columns that are marked `meta: {personal: true}` anywhere: they are never shown."""
        return frozenset(
            name
            for node in (*self.nodes.values(), *self.sources.values())
            for name, column in node.get("columns", {}).items()
            if {**column.get("meta", {}), **column.get("config", {}).get("meta", {})}.get("personal")
        )

    def ancestors(self, unique_id: str) -> set[str]:
        """What is there before a model is built: all that it descends from, and every source."""
        found, left = set(self.sources), [unique_id]
        while left:
            parents = set(self.nodes.get(left.pop(), {"depends_on": {"nodes": []}})["depends_on"]["nodes"]) - found
            found |= parents
            left += parents
        return found


def read(path: Path) -> Manifest:
    """Read manifest.json; the same file is read once a process."""
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, _mtime: int, _size: int) -> Manifest:
    content = json.loads(path.read_bytes())
    return Manifest(content["nodes"], content["sources"])
