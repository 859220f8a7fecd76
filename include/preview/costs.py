"""What models cost to build in full: as past runs left word in `ops`, and as a build here took."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg2.extensions import connection as Connection

from include.preview.report import Cost, Kind, Plan
from include.results.nodes import NodeResult
from include.settings import LIVE
from include.warehouse.relation import Relation

_KNOWN = """
with published as (
    select models.unique_id, nullif(tables.reltuples, -1)::bigint as rows, pg_total_relation_size(tables.oid) as bytes
    from ops.buffer_models as models
    join pg_class as tables
        on tables.relnamespace = models.schema_oid
        and tables.relname = coalesce(models.identifier, split_part(models.unique_id, '.', 3))
        and tables.relkind in ('r', 'p')
    where models.schema_oid = to_regnamespace(%(live)s)::oid and models.unique_id = any(%(models)s)
)
select asked.unique_id, builds.seconds, published.rows, published.bytes
from unnest(%(models)s::text[]) as asked (unique_id)
left join published using (unique_id)
left join lateral (
    select seconds
    from ops.node_results as results
    where results.unique_id = asked.unique_id
        and results.status = 'success'
        and coalesce(results.rows_affected >= published.rows * 0.5, true)
    order by recorded_at desc
    limit 1
) as builds on true
"""


def known(connection: Connection, plan: Plan) -> Plan:
    """The plan with what each model costs to build in full, as `ops` knows it; only reads.

    Seconds are those of the newest build that wrote at least half of the rows that there are now. Rows and bytes are
    those of what is published, as Postgres estimates them; a view has none.
    """
    models = [one.unique_id for one in (*plan.models, *plan.snapshots) if one.kind is not Kind.GONE]
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, {"live": LIVE, "models": models})
        return plan.with_costs({unique_id: Cost(*cost) for unique_id, *cost in cursor.fetchall()})


def of_tables(
    connection: Connection, tables: Mapping[str, Relation], full_builds: Mapping[str, NodeResult]
) -> dict[str, Cost]:
    """What tables cost: by the results of their full builds, where there was one, and by Postgres' catalog.

    Rows that no full build has counted are as Postgres estimates them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select named.unique_id, pg_total_relation_size(tables.oid), nullif(tables.reltuples, -1)::bigint
            from unnest(%s::text[], %s::text[], %s::text[]) as named (unique_id, schema, name)
            join pg_namespace as spaces on spaces.nspname = named.schema
            join pg_class as tables on tables.relnamespace = spaces.oid and tables.relname = named.name
            where tables.relkind in ('r', 'p', 'm')
            """,
            (list(tables), [one.schema for one in tables.values()], [one.name for one in tables.values()]),
        )
        found = cursor.fetchall()
    costs = {}
    for one, size, estimated in found:
        built = full_builds.get(one)
        counted = built.rows_affected if built else None
        costs[one] = Cost(built.seconds if built else None, estimated if counted is None else counted, size)
    return costs
