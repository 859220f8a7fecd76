"""What is in the warehouse: the relations of the dbt project as Postgres knows them, without reading any of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from include.dbt_project.manifest import Manifest
from include.settings import BUILT, LIVE
from plugins.data_health import nodes
from plugins.data_health.reading import Reading


@dataclass(frozen=True)
class Column:
    """A column, its type as Postgres writes it."""

    name: str
    type: str
    comment: str | None


@dataclass(frozen=True)
class Relation:
    """A table or a view. `rows` is Postgres' estimate, None where it has none yet; `bytes` counts its indexes too."""

    schema: str
    name: str
    kind: str
    owner: str
    comment: str | None
    columns: tuple[Column, ...]
    rows: int | None
    bytes: int


_KINDS = {"v": "VIEW", "m": "MATERIALIZED VIEW"}
_RELATIONS = """
select
    namespaces.nspname as schema,
    classes.relname as name,
    classes.relkind::text as kind,
    pg_get_userbyid(classes.relowner) as owner,
    obj_description(classes.oid, 'pg_class') as comment,
    nullif(classes.reltuples, -1)::bigint as rows,
    coalesce(pg_total_relation_size(classes.oid), 0) as bytes,
    (
        select json_agg(
            json_build_array(attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum))
            order by attnum
        )
        from pg_attribute
        where attrelid = classes.oid and attnum > 0 and not attisdropped
    ) as columns
from pg_class as classes
join pg_namespace as namespaces on namespaces.oid = classes.relnamespace
join unnest(%(schemas)s::text[], %(names)s::text[]) as wanted (schema, name)
    on wanted.schema = namespaces.nspname and wanted.name = classes.relname
where classes.relkind in ('r', 'p', 'v', 'm', 'f')
"""


def relations(reading: Reading, wanted: Collection[str]) -> dict[str, Relation]:
    """What is there of nodes and sources, by unique id: of marts, what people query and not what is being built."""
    places = {unique_id: place(reading.facts, unique_id) for unique_id in wanted}
    parameters = {
        "schemas": [schema for schema, _ in places.values()],
        "names": [name for _, name in places.values()],
    }
    there = {(row.schema, row.name): _relation(row) for row in reading.rows(_RELATIONS, parameters)}
    return {unique_id: there[where] for unique_id, where in places.items() if where in there}


def place(facts: Manifest, unique_id: str) -> tuple[str, str]:
    """In which schema people find a node, and as what."""
    node = nodes.node(facts, unique_id)
    schema = node.get("schema") or ""
    return LIVE if schema == BUILT else schema, node.get("alias") or node.get("identifier") or node["name"]


def _relation(row: Any) -> Relation:
    is_table = row.kind not in _KINDS
    return Relation(
        schema=row.schema,
        name=row.name,
        kind=_KINDS.get(row.kind, "BASE TABLE"),
        owner=row.owner,
        comment=row.comment,
        columns=tuple(Column(*column) for column in row.columns or ()),
        rows=row.rows if is_table else None,
        bytes=row.bytes,
    )
