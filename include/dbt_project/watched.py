"""What a project says of unusual figures, by the `meta` of a source's table, a column, a model or a metric.

    - name: fact_orders
      config: {meta: {unusual: hold}}

`say`, the default: it is told. `hold`: it holds the publish as well. `ignore`: it is not watched.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from include.dbt_project.manifest import Manifest

_WORD = "unusual"


class Consequence(StrEnum):
    """What follows of an unusual figure."""

    SAY = "say"
    HOLD = "hold"
    IGNORE = "ignore"


def consequence(facts: Manifest, unique_id: str, column: str = "") -> Consequence:
    """What a column says, or else the table, model or metric that it is of."""
    node = facts.nodes.get(unique_id) or facts.sources.get(unique_id) or facts.metrics.get(unique_id) or {}
    said = _said(node.get("columns", {}).get(column, {})) or _said(node)
    return Consequence(said) if said in list(Consequence) else Consequence.SAY


def holding(facts: Manifest) -> tuple[str, ...]:
    """What people call the tables, models, metrics and columns that say `hold`."""
    return tuple(name for _, _, name, said in _words(facts) if said == Consequence.HOLD)


def problems(facts: Manifest) -> Iterator[tuple[str, str]]:
    """What is wrong with these words: the file, and a sentence with the words that mend it."""
    for file, kind, name, said in _words(facts):
        if said not in list(Consequence):
            yield (
                file,
                f"{kind} {name} has `unusual: {said}` in its `meta`. Known are {', '.join(Consequence)}.",
            )


def _words(facts: Manifest) -> Iterator[tuple[str, str, str, Any]]:
    """Each such word: the file that it stands in, the kind and the name of what says it, and the word."""
    for unique_id, node in (*facts.sources.items(), *facts.nodes.items(), *facts.metrics.items()):
        file, kind = node.get("original_file_path", ""), node.get("resource_type", "source")
        if kind == "test":
            continue
        name = facts.title(unique_id)
        for of, where, said in (
            (kind, name, _said(node)),
            *(("column", f"{name}.{column}", _said(about)) for column, about in node.get("columns", {}).items()),
        ):
            if said is not None:
                yield file, of, where, said


def _said(node: dict[str, Any]) -> Any:
    return {**(node.get("meta") or {}), **(node.get("config", {}).get("meta") or {})}.get(_WORD)
