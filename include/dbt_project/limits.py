"""What dbt allows in a project and can't be run here: said when the project is read, with the file and a way out.

`docs/own-project.md` lists what works and what is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from include import settings
from include.dbt_project.manifest import Manifest

# Postgres cuts longer names.
_LONGEST_NAME = 63
# Airflow's own limit, and room for the task group.
_LONGEST_TASK = 230
# What Airflow allows in the id of a task, and of a task group.
_TASK_NAME, _FOLDER = re.compile(r"[\w.-]+"), re.compile(r"[\w-]+")
_BUILT, _LIVE = "analytics_next", "analytics"


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
    return "\n".join(sorted(found)) or None


def _of_node(facts: Manifest, unique_id: str, node: dict[str, Any]) -> Iterator[str]:
    kind, name, config = node["resource_type"], node["name"], node["config"]
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
            f"{kind} {name} would be called {alias} in the warehouse, and Postgres takes {_LONGEST_NAME} letters. Give "
            "it a shorter `alias`."
        )
    if schema in (_LIVE, "ops", settings.raw_schema()):
        yield (
            f"{kind} {name} goes to schema {schema}, which is not dbt's to write to: publish alone fills {_LIVE}, "
            "`ops` is the memory of the runs, and loaders fill raw. Leave `schema` out to have it published, or name "
            "another one."
        )
    if schema == _BUILT and kind in ("snapshot", "test"):
        yield (
            f"{kind} {name} goes to schema {_BUILT}, which is exchanged with what people query at each publish: every "
            "second day's rows would be missing. Give it a schema of its own, in dbt_project.yml for all of them: "
            f"`{'data_tests' if kept_test else 'snapshots'}: {{+schema: {'audit' if kept_test else 'snapshots'}}}`."
        )
    if schema == _BUILT and config.get("materialized") == "incremental" and not _leaves_word(config):
        yield (
            f"model {name} is incremental and leaves no word of what it builds, so no run could go on from it. Give "
            "all models the two hooks of docs/own-project.md, step 2, beside their own."
        )
    if node.get("language", "sql") != "sql":
        yield f"{kind} {name} is written in {node['language']}, which Postgres does not run. Write it in SQL."
    if unique_id in facts.drawn:
        yield from _as_task(facts.task_of(unique_id))


def _leaves_word(config: dict[str, Any]) -> bool:
    """Whether a model has our hooks: before it is built, and after."""
    return all(
        any(ours in hook["sql"] for hook in config.get(when, ()))
        for when, ours in (("pre-hook", "before_build"), ("post-hook", "after_build"))
    )


def _as_task(task: str) -> Iterator[str]:
    *folders, name = task.split(".")
    if bad := next((folder for folder in folders if not _FOLDER.fullmatch(folder)), None):
        yield (f'Airflow can\'t draw a folder that is called "{bad}". Use letters, digits, "_" and "-" alone.')
    if not _TASK_NAME.fullmatch(name):
        yield f'Airflow can\'t draw a task that is called "{name}". Use letters, digits, "_" and "-" alone.'
    if len(task) > _LONGEST_TASK:
        yield f"Airflow can't draw a task whose folders and name have {len(task)} letters. Shorten them."
