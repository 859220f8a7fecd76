"""Models, snapshots, sources and tests as the page names and sorts them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from include.dbt_project.manifest import DataTest, Manifest

_SHOWN = ("model", "snapshot", "seed")


class Names:
    """What each page is called: a node's title or a test's name, and its unique id where two share that."""

    def __init__(self, titles: Iterable[tuple[str, str]]) -> None:
        """Of pairs of a unique id and what people call it."""
        self._titles = dict(titles)
        self._shared = Counter(self._titles.values())

    def __getitem__(self, unique_id: str) -> str:
        """The name of a page. Raises KeyError for what has none."""
        title = self._titles[unique_id]
        return title if self._shared[title] == 1 else unique_id

    def get(self, unique_id: str) -> str | None:
        """The same; None for what has no page."""
        if unique_id not in self:
            return None
        return self[unique_id]

    def __contains__(self, unique_id: str) -> bool:
        """Whether it has a page."""
        return unique_id in self._titles

    def __iter__(self) -> Any:
        """All that have a page, by unique id."""
        return iter(self._titles)

    def find(self, name: str, what: str) -> str:
        """The unique id of who is called so; unique ids are names too. Raises LookupError for an unknown one."""
        if name in self._titles:
            return name
        found = next((unique_id for unique_id, title in self._titles.items() if title == name), None)
        if found is None:
            raise LookupError(f"There is no {what} {name} in the dbt project as it is now.")
        return found


def relations(facts: Manifest) -> Names:
    """The models, snapshots, seeds and sources."""
    shown = [unique_id for unique_id, node in facts.nodes.items() if node["resource_type"] in _SHOWN]
    return Names((unique_id, facts.title(unique_id)) for unique_id in (*shown, *facts.sources))


def data_tests(facts: Manifest) -> Names:
    """The data tests."""
    return Names((test.unique_id, test.name) for test in facts.data_tests)


def node(facts: Manifest, unique_id: str) -> dict[str, Any]:
    """What the manifest says of a model, snapshot, seed or source."""
    return facts.nodes.get(unique_id) or facts.sources[unique_id]


def folder(facts: Manifest, unique_id: str) -> str:
    """Where it stands: `marts/core`, `staging/greenery`; all snapshots, and all sources, are in one."""
    if unique_id in facts.sources:
        return "sources"
    of = facts.nodes[unique_id]
    if of["resource_type"] != "model":
        return f"{of['resource_type']}s"
    return "/".join(of.get("fqn", ())[1:-1]) or "models"


def grain(description: str | None) -> str:
    """What one row is: the first sentence of a description."""
    return re.split(r"(?<=\.)\s|\n\n", (description or "").strip(), maxsplit=1)[0]


def tests_by_node(facts: Manifest) -> dict[str, list[DataTest]]:
    """The data tests on each node; one across several is on each of them."""
    found: dict[str, list[DataTest]] = defaultdict(list)
    for test in facts.data_tests:
        for tested in facts.tested(test.unique_id):
            found[tested].append(test)
    return found
