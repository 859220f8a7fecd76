"""What dbt allows in a project and can't be run here: said when the project is read, with the file and a way out.

`docs/own-project.md` lists what works and what is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from include import settings
from include.dbt_project import explained_by, follows, metrics, watched
from include.dbt_project.manifest import Manifest
from include.settings import BUILT, LIVE

# Postgres cuts longer names.
_LONGEST_NAME = 63
# Airflow's own limit, and room for the task group.
_LONGEST_TASK = 230
# What Airflow allows in the id of a task, and of a task group.
_TASK_NAME, _FOLDER = re.compile(r"[\w.-]+"), re.compile(r"[\w-]+")


def problem(facts: Manifest) -> str | None:
    """All that can't be run, a line each; None where there is nothing."""
    found = [
        f"{node['original_file_path']}: {sentence}"
        for unique_id, node in facts.nodes.items()
        for sentence in _of_node(facts, unique_id, node)
    ]
    tasks = Counter(map(facts.task_of, facts.drawn))
    found += [
        f"{facts.nodes[one]['original_file_path']}: {one} is drawn as the task {facts.task_of(one)}, and so is another "
        "one, of another package. Move one of them to another folder, or give it another name."
        for one in facts.drawn
        if tasks[facts.task_of(one)] > 1
    ]
    named = Counter(node["name"] for node in facts.snapshots.values())
    found += [
        f"{node['original_file_path']}: snapshot {node['name']} has the name of another package's, and a run "
        "remembers by its name how each was left. Give one of them another name."
        for node in facts.snapshots.values()
        if named[node["name"]] > 1
    ]
    found += [
        f"{function['original_file_path']}: function {function['name']} has no task that would make it. Make it "
        "by hand, or in an `on-run-start` hook."
        for function in facts.functions.values()
    ]
    found += [
        f"{file}: {sentence}" for part in (metrics, watched, explained_by) for file, sentence in part.problems(facts)
    ]
    return "\n".join(sorted(found)) or None


def _of_node(facts: Manifest, unique_id: str, node: dict[str, Any]) -> Iterator[str]:
    kind, name, config = node["resource_type"], node["name"], node["config"]
    if unique_id in facts.drawn:
        yield from _as_task(Path(node["original_file_path"]), facts.task_of(unique_id))
    yield from follows.problems(facts, unique_id, settings.raw_schema())
    kept_test = kind == "test" and config.get("store_failures")
    if not (kind in ("model", "seed", "snapshot") or kept_test) or config.get("materialized") == "ephemeral":
        return
    schema, alias, database = node["schema"], node["alias"], node["database"]
    where = settings.warehouse().database
    if database != where:
        yield (
            f"{kind} {name} goes to database {database}, and Postgres writes to the one that it is connected to alone, "
            f"{where}. Leave `database` out, and give it a schema of its own."
        )
    if len(alias.encode()) > _LONGEST_NAME:
        yield (
            f"{kind} {name} would be called {alias} in the warehouse, and Postgres takes {_LONGEST_NAME} bytes. Give "
            "it a shorter `alias`."
        )
    if schema in (LIVE, "ops", settings.raw_schema()):
        yield (
            f"{kind} {name} goes to schema {schema}, which is not dbt's to write to: publish alone fills {LIVE}, "
            "`ops` is the memory of the runs, and loaders fill raw. Leave `schema` out to have it published, or name "
            "another one."
        )
    if schema == BUILT and kind in ("snapshot", "test"):
        yield (
            f"{kind} {name} goes to schema {BUILT}, which is exchanged with what people query at each publish: every "
            "second day's rows would be missing. Give it a schema of its own, in dbt_project.yml for all of them: "
            f"`{'data_tests' if kept_test else 'snapshots'}: {{+schema: {'audit' if kept_test else 'snapshots'}}}`."
        )
    if schema == BUILT and config.get("materialized") == "incremental" and not _leaves_word(config):
        yield (
            f"model {name} is incremental and leaves no word of what it builds, so no run could go on from it. Give "
            "all models the two hooks of docs/own-project.md, step 2, beside their own."
        )
    if schema != BUILT and follows.takes_changes(node):
        yield (
            f"model {name} takes changes alone and goes to schema {schema}. Its one table there would serve both "
            "buffers, and what it changed for one would never be taken into the other. Leave `schema` out."
        )
    if node.get("language", "sql") != "sql":
        yield f"{kind} {name} is written in {node['language']}, which Postgres does not run. Write it in SQL."
    if (config.get("latest_version_pointer") or {}).get("enabled"):
        yield (
            f"model {name} asks for a `latest_version_pointer`, which dbt makes beside its nodes, so that publish "
            "would take it for somebody's own. Leave it out, and write a model that selects from the latest version."
        )
    if kind == "snapshot" and (late := facts.upstream(unique_id) & facts.history):
        yield (
            f"snapshot {name} reads {facts.title(min(late))}, which reads a snapshot itself. All snapshots are taken "
            "before what reads them is built. Let it read what that one is made of."
        )
    if schema == BUILT and config.get("materialized") in ("view", "materialized_view"):
        yield from _drops_with(facts, unique_id, name)


def _drops_with(facts: Manifest, unique_id: str, name: str) -> Iterator[str]:
    """Whether a view that people query would be dropped with what it reads, which dbt makes anew in its place."""
    left, read = list(facts.parents(unique_id)), set()
    while left:
        one = left.pop()
        if one in facts.drawn and one not in facts.models:  # an ephemeral model is part of what reads it
            left += facts.parents(one)
        elif one in facts.models and facts.nodes[one]["schema"] != BUILT:
            read.add(facts.title(one))
    if read:
        yield (
            f"model {name} is a view that people query, and reads {', '.join(sorted(read))} in another schema, which "
            "dbt drops as it makes it anew, and the view with it: it would be gone until the run is published. "
            "Materialize it as a table, or leave `schema` out of what it reads."
        )


def _leaves_word(config: dict[str, Any]) -> bool:
    """Whether a model has our hooks: before it is built, and after."""
    return all(
        any(ours in hook["sql"] for hook in config.get(when, ()))
        for when, ours in (("pre-hook", "before_build"), ("post-hook", "after_build"))
    )


def _as_task(file: Path, task: str) -> Iterator[str]:
    if bad := next((folder for folder in file.parts[:-1] if not _FOLDER.fullmatch(folder)), None):
        yield f'Airflow can\'t draw a folder that is called "{bad}". Use letters, digits, "_" and "-" alone.'
    if not _TASK_NAME.fullmatch(name := task.rsplit(".", 1)[-1]):
        yield f'Airflow can\'t draw a task that is called "{name}". Use letters, digits, "_" and "-" alone.'
    if len(task) > _LONGEST_TASK:
        yield f"Airflow can't draw a task whose folders and name have {len(task)} letters. Shorten them."
