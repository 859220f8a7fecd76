"""dbt's own documentation of the project: its single page, and the two files that it reads, of what is there now."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from include.dbt_project import release
from include.settings import BUILT, LIVE
from plugins.data_health import catalog, nodes
from plugins.data_health.catalog import Relation
from plugins.data_health.reading import Reading

# What names the page: browsers may keep one of it for ever.
VERSION = version("dbt-core")
_SCHEMA = "https://schemas.getdbt.com/dbt/catalog/v1.json"
_SECRET = re.compile(r"passw|secret|token|credential|api_?key|private_?key", re.IGNORECASE)


@lru_cache(maxsize=1)
def page() -> bytes:
    """dbt's page, out of its package."""
    [package] = find_spec("dbt.task.docs").submodule_search_locations or ()
    return (Path(package) / "index.html").read_bytes()


@lru_cache(maxsize=1)
def policy() -> str:
    """What that page may do: run its own scripts, by their hashes, and ask this host alone.

    It makes markup of descriptions, which may hold scripts: these, being none of its own, do not run.
    """
    scripts = re.findall(rb"<script[^>]*>(.*?)</script>", page(), re.DOTALL)
    hashes = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'"
    )


def manifest() -> bytes:
    """dbt's manifest.json of the project as it is now. Raises LookupError where no project ever parsed."""
    project = release.current()
    if project is None:
        raise LookupError("The dbt project has not been parsed yet, so there is nothing to show of it.")
    return _manifest(project.manifest)


@lru_cache(maxsize=1)
def _manifest(path: Path) -> bytes:
    told = _without_secrets(json.loads(path.read_bytes()))
    # dbt's page would load a script of its makers' that tells them who looks at what.
    told["metadata"] |= {"env": {}, "send_anonymous_usage_stats": False, "user_id": None}
    for node in told["nodes"].values():
        if node.get("schema") == BUILT:  # where dbt builds; people query it elsewhere
            node["schema"] = LIVE
    return json.dumps(told, separators=(",", ":")).encode()


def _without_secrets(value: Any) -> Any:
    """The same without texts that stand under a name like that of a password."""
    if isinstance(value, dict):
        return {
            key: "***" if isinstance(inner, str) and inner and _SECRET.search(key) else _without_secrets(inner)
            for key, inner in value.items()
        }
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def read(reading: Reading) -> dict[str, Any]:
    """dbt's catalog.json (v1) of what is in the warehouse now; of marts, of what is published."""
    there = catalog.relations(reading, list(nodes.relations(reading.facts)))
    told = {unique_id: _told(reading, unique_id, relation) for unique_id, relation in there.items()}
    return {
        "metadata": {
            "dbt_schema_version": _SCHEMA,
            "dbt_version": VERSION,
            "generated_at": reading.at.isoformat(),
            "invocation_id": None,
            "env": {},
        },
        "nodes": {unique_id: one for unique_id, one in told.items() if unique_id in reading.facts.nodes},
        "sources": {unique_id: one for unique_id, one in told.items() if unique_id in reading.facts.sources},
        "errors": None,
    }


def _told(reading: Reading, unique_id: str, relation: Relation) -> dict[str, Any]:
    stats = [_stat("bytes", "Size", relation.bytes, "With its indexes, in bytes.")]
    if relation.rows is not None:
        stats.append(_stat("row_count", "Rows", relation.rows, "As Postgres estimates them."))
    stats.append({**_stat("has_stats", "Has Stats?", True, "Whether there are statistics."), "include": False})
    return {
        "unique_id": unique_id,
        "metadata": {
            "type": relation.kind,
            "schema": relation.schema,
            "name": relation.name,
            "database": nodes.node(reading.facts, unique_id).get("database"),
            "comment": relation.comment,
            "owner": relation.owner,
        },
        "columns": {
            column.name: {"type": column.type, "index": index, "name": column.name, "comment": column.comment}
            for index, column in enumerate(relation.columns, start=1)
        },
        "stats": {stat["id"]: stat for stat in stats},
    }


def _stat(id_: str, label: str, value: Any, description: str) -> dict[str, Any]:
    return {"id": id_, "label": label, "value": value, "include": True, "description": description}
