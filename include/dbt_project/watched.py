"""What is watched, and what follows where it is unusual: the words of the project's YAML, below `config: meta:`.

    unusual: say      # the message says it; so it is where nothing is said
    unusual: hold     # and nothing is published with it
    unusual: ignore   # it is not watched

They stand at a source, one of its tables, a column, a model or a metric. A column's own word goes before its table's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest

_WORD = "unusual"


class Consequence(StrEnum):
    """What follows where something is unusual."""

    SAY = "say"
    HOLD = "hold"
    IGNORE = "ignore"


def consequence(facts: Manifest, unique_id: str, column: str = "") -> Consequence:
    """What the owner of a source's table, a model or a metric wants; what is no such word says nothing."""
    node = facts.sources.get(unique_id) or facts.nodes.get(unique_id) or facts.metrics.get(unique_id) or {}
    said = _said(node)
    if said is not Consequence.IGNORE and column:
        return _said(node.get("columns", {}).get(column, {})) or said or Consequence.SAY
    return said or Consequence.SAY


def is_watched(facts: Manifest, unique_id: str, column: str = "") -> bool:
    """Whether nobody wants it ignored."""
    return consequence(facts, unique_id, column) is not Consequence.IGNORE


def may_hold(facts: Manifest, unique_id: str) -> bool:
    """Whether something unusual of it, of one of its columns, or of a metric that it tells, holds the publish."""
    node = facts.sources.get(unique_id) or facts.nodes.get(unique_id) or {}
    told = facts.metrics if unique_id == metrics.model(facts) else ()
    asked = [*((unique_id, column) for column in ("", *node.get("columns", {}))), *((metric, "") for metric in told)]
    return any(consequence(facts, one, column) is Consequence.HOLD for one, column in asked)


def problems(facts: Manifest) -> Iterator[tuple[str, str]]:
    """Words that mean nothing: the file, and a sentence with the words that mend it."""
    for nodes in (facts.sources, facts.nodes, facts.metrics):
        for unique_id, node in nodes.items():
            columns = {f".{name}": column for name, column in node.get("columns", {}).items()}
            for name, one in ({"": node} | columns).items():
                word = _meta(one).get(_WORD)
                if word is not None and word not in list(Consequence):
                    yield (
                        node["original_file_path"],
                        f"{facts.title(unique_id)}{name} has `{_WORD}: {word}` in its `meta`. Known are "
                        f"{', '.join(Consequence)}.",
                    )


def _said(node: Mapping[str, Any]) -> Consequence | None:
    word = _meta(node).get(_WORD)
    return Consequence(word) if word in list(Consequence) else None


def _meta(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(node.get("meta") or {}), **(node.get("config", {}).get("meta") or {})}
