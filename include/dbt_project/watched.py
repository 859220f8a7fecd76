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


def holding(facts: Manifest) -> list[str]:
    """What people call the tables, columns, models and metrics that hold the publish where they are unusual."""
    return [what for _, what, word in _words(facts) if word == Consequence.HOLD]


def problems(facts: Manifest) -> list[tuple[str, str]]:
    """Words that mean nothing: the file, and a sentence with the words that mend it."""
    return [
        (file, f"{what} has `{_WORD}: {word}` in its `meta`. Known are {', '.join(Consequence)}.")
        for file, what, word in _words(facts)
        if word not in list(Consequence)
    ]


def _words(facts: Manifest) -> Iterator[tuple[str, str, Any]]:
    """Each such word: its file, what people call the thing that says it, and the word."""
    for nodes in (facts.sources, facts.nodes, facts.metrics):
        for unique_id, node in nodes.items():
            for what, of in ((facts.title(unique_id), node), *_columns(facts.title(unique_id), node)):
                word = _meta(of).get(_WORD)
                if word is not None:
                    yield node["original_file_path"], what, word


def _columns(title: str, node: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"{title}.{name}", column) for name, column in node.get("columns", {}).items()]


def _said(node: Mapping[str, Any]) -> Consequence | None:
    word = _meta(node).get(_WORD)
    return Consequence(word) if word in list(Consequence) else None


def _meta(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(node.get("meta") or {}), **(node.get("config", {}).get("meta") or {})}
