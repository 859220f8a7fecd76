"""What an incremental mart says of the changes that it follows, checked when the project is read (docs/incremental.md).

A mart that reads something and follows no change of it would be right in a full build and wrong on every other day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from include.dbt_project.manifest import Manifest
from include.raw.contract import TABLES

STRATEGY = "replace_changed"
# With what it adds for the tables beside a mart, Postgres would cut a longer name.
_LONGEST_ALIAS = 63 - len("__changes")
_CAST = re.compile(r"cast\((?P<column>\w+) as \w+\)")
_ENTRY = {"of", "on", "in", "parent_key", "rows_where"}
# What is no part of a query: comments, and `config()` with its hooks and descriptions.
_NO_QUERY = re.compile(r"--[^\n]*|/\*.*?\*/|\{#.*?#\}|\{\{-?\s*config\(.*?\)\s*-?\}\}", re.DOTALL)
# In a staging view: what may leave rows out, and what makes other rows as time goes by.
_LEAVES_OUT = re.compile(
    r"\b(where|group\s+by|having|limit|offset|fetch|(?<!is )(?<!is not )distinct)\b", re.IGNORECASE
)
_CLOCK = re.compile(
    r"\b(current_timestamp|current_date\b|localtime(stamp)?\b|((clock|statement)_timestamp|now)\()", re.IGNORECASE
)


def problems(facts: Manifest, unique_id: str, raw_schema: str) -> Iterator[str]:
    """What is wrong with a model's `key`, `follows` and `ignores`, a sentence each, with the words that mend it."""
    node = facts.nodes[unique_id]
    config, meta = node["config"], node["config"].get("meta", {})
    name, key, follows = node["name"], meta.get("key"), meta.get("follows")
    if config.get("materialized") != "incremental" or config.get("incremental_strategy") != STRATEGY:
        return
    if not key and not follows:
        return  # dbt builds it by increments of its own
    if not key or not follows:
        there, lacking = ("`follows`", "`key`") if follows else ("`key`", "`follows`")
        yield f"model {name} has {there} in its `meta` and no {lacking}. It needs both."
        return
    if len(alias := node.get("alias") or name) > _LONGEST_ALIAS:
        yield (
            f"model {name} would be called {alias}, and the table of its changes has {len('__changes')} letters more. "
            f"Give it an `alias` of at most {_LONGEST_ALIAS} letters."
        )
    if clock := _clock(node):
        yield (
            f"model {name} takes changes alone and looks at the clock ({clock}): a row of it would keep the moment at "
            f"which it was built last. Build {name} as a table, or let what reads it look at the clock."
        )
    read = {_name(facts, parent): parent for parent in node["depends_on"]["nodes"]}
    ignored = meta.get("ignores", {})
    for entry in follows:
        if strange := entry.keys() - _ENTRY:
            yield f"model {name} has {sorted(strange)} in `follows`. Known are {sorted(_ENTRY)}."
    followed = [entry for entry in follows if "of" in entry]
    for parent in read.keys() - {entry["of"] for entry in followed} - ignored.keys():
        entry = _entry(facts, unique_id, key, parent, read[parent])
        yield (
            f"model {name} reads {parent} and follows no change of it. Add {entry} to its `follows`; or, if no change "
            f"there may change a row, add '{parent}' to its `ignores` with the reason."
        )
    for parent in {one for entry in followed for one in (entry["of"], entry.get("in")) if one} - read.keys():
        yield f"model {name} follows {parent} and does not read it. Read it with ref(), or delete that entry."
    for entry in followed:
        if parent := read.get(entry["of"]):
            column = entry.get("parent_key") or entry.get("on") or key
            yield from _can_be_followed(facts, name, parent, entry["of"], column, raw_schema)
            yield from _lacks(facts, name, entry, parent, column)
        if "on" in entry:
            there = read.get(entry["in"]) if "in" in entry else unique_id
            for asked in [entry["on"], key] if there else []:
                yield from _lacks(facts, name, entry, there, asked)


def _can_be_followed(
    facts: Manifest, name: str, parent: str, called: str, column: str, raw_schema: str
) -> Iterator[str]:
    node = facts.nodes.get(parent) or facts.sources[parent]
    if node["resource_type"] == "snapshot" or takes_changes(node):
        return
    source = _raw_table(facts, parent, raw_schema)
    if not source:
        yield (
            f"model {name} can't follow {called}, which is built as a whole in each run, so that nothing says what "
            f"changed in it. Build {name} as a table, or let {called} follow what it reads itself."
        )
    elif source["identifier"] not in TABLES:
        yield (
            f"model {name} can't follow {called}: nothing says which rows left {raw_schema}.{source['identifier']}, "
            f"which is none of {', '.join(TABLES)}. Build {name} as a table."
        )
    elif column not in _unique_columns(facts, parent):
        yield (
            f"model {name} follows {called} by {column}, and a row that is gone from raw is known by its key alone. "
            f"Follow it by its key (`on`), which its `unique` test names."
        )
    elif parent not in facts.sources:
        yield from _shows_other_rows(facts.nodes[parent], name, source, called, column)


def _shows_other_rows(
    view: dict[str, Any], name: str, source: dict[str, Any], called: str, column: str
) -> Iterator[str]:
    """Whether a row may leave a staging view, or become another, of which no load tells."""
    if clock := _clock(view):
        yield (
            f"model {name} follows {called}, which looks at the clock ({clock}): a row of it changes then though "
            f"nothing was loaded. Move that to a model that is a table."
        )
    code = _NO_QUERY.sub("", view["raw_code"])
    raw_columns = source.get("columns", {})
    if raw_columns and column not in raw_columns and (found := _LEAVES_OUT.search(code)):
        yield (
            f"model {name} follows {called} by {column}, which is no column of raw, and {called} leaves rows out "
            f"(`{found[1].lower()}`): one that it no longer shows would stay in {name}. Leave them out in {name}."
        )


def _clock(node: dict[str, Any]) -> str | None:
    """What a model asks for the present moment with; None where it doesn't."""
    found = _CLOCK.search(_NO_QUERY.sub("", node["raw_code"]))
    return found[1].rstrip("(") if found else None


def _lacks(facts: Manifest, name: str, entry: dict[str, str], unique_id: str, column: str) -> Iterator[str]:
    columns = _columns(facts, unique_id)
    if cast := _CAST.fullmatch(column):
        column = cast["column"]
    if columns and column not in columns:
        yield (
            f"model {name} follows {entry}, and {_name(facts, unique_id)} has no column {column}. `on` is the column "
            "by which the rows of a changed key are found, and `parent_key` what the followed model calls it."
        )


def _entry(facts: Manifest, unique_id: str, key: str, called: str, parent: str) -> str:
    """What is to be added to `follows` for a parent, as it is written."""
    if key in _columns(facts, parent):
        return f"{{'of': '{called}'}}"
    keys = _unique_columns(facts, parent)
    if shared := sorted(keys & _columns(facts, unique_id)):
        return f"{{'of': '{called}', 'on': '{shared[0]}'}}"
    its = f"'{min(keys)}'" if keys else "the key of it"
    return f"{{'of': '{called}', 'on': the column that holds it here, 'parent_key': {its}}}"


def _columns(facts: Manifest, unique_id: str) -> set[str]:
    """The columns that are declared."""
    return set((facts.nodes.get(unique_id) or facts.sources[unique_id]).get("columns", {}))


def _name(facts: Manifest, unique_id: str) -> str:
    """What a model is called in `follows`; of a source, source and table."""
    source = facts.sources.get(unique_id)
    return f"{source['source_name']}.{source['name']}" if source else facts.nodes[unique_id]["name"]


def takes_changes(node: dict[str, Any]) -> bool:
    """Whether a model builds only what changed, by our strategy; `takes_changes` of dbt's macros asks the same."""
    config = node["config"]
    meta = config.get("meta", {})
    return (
        config.get("materialized") == "incremental"
        and config.get("incremental_strategy") == STRATEGY
        and bool(meta.get("key") and meta.get("follows"))
    )


def _raw_table(facts: Manifest, unique_id: str, raw_schema: str) -> dict[str, Any] | None:
    """The source in raw that a source or a staging view is of; None for anything else."""
    source = facts.sources.get(unique_id)
    if not source:
        node = facts.nodes[unique_id]
        parents = node["depends_on"].get("nodes", ())  # a seed has none
        shows_one = node["config"].get("materialized") == "view" and len(parents) == 1
        source = facts.sources.get(parents[0]) if shows_one else None
    return source if source and source["schema"] == raw_schema else None


def _unique_columns(facts: Manifest, unique_id: str) -> set[str]:
    return {
        node["column_name"]
        for node in facts.nodes.values()
        if node["resource_type"] == "test"
        and (node.get("test_metadata") or {}).get("name") == "unique"
        and node["depends_on"]["nodes"] == [unique_id]
    }
