"""Hooks of dbt's runs (`on-run-end`) that failed after a run's models were built, and fail no model's task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg2.extensions import connection as Connection

from include import words
from include.results.failures import BROKEN, without_data
from include.results.nodes import NodeResult
from include.settings import BUILT

# What dbt calls a hook of its run among the kinds of nodes.
HOOK = "operation"


def not_ended(nodes: Iterable[Any]) -> list[NodeResult]:
    """The word on each hook at the end of a dbt run until it has ended, which one that is killed or raises never does.

    `nodes` are those of dbt's own manifest.
    """
    said = "{} has not run to its end: the log of its task says why"
    return [
        NodeResult(one.unique_id, HOOK, one.name, "error", None, None, said.format(one.name), 0.0, None)
        for one in nodes
        if one.resource_type == HOOK and "on-run-end" in one.tags
    ]


def problem(connection: Connection, run_id: str) -> str | None:
    """Why a run has nothing to publish though its models are built; None where no hook stands in the way.

    A task's last word on each hook counts, if it came since the run began to build.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select distinct on (task_id, unique_id) status, message
            from ops.node_results as said
            join ops.buffers on buffers.run_id = said.run_id and recorded_at > since
            where said.run_id = %s and resource_type = %s and schema_oid = to_regnamespace(%s)::oid
            order by task_id, unique_id, recorded_at desc
            """,
            (run_id, HOOK, BUILT),
        )
        failed = [without_data(message or "") for status, message in cursor.fetchall() if status in BROKEN]
    if not failed:
        return None
    told = "\n".join(f"  {one}" for one in failed)
    return (
        f"{words.count(len(failed), 'hook')} of dbt's run failed after models were built, so nothing was published:\n"
        f"{told}\nMend that, then clear check_sources with everything downstream of it; or publish by hand."
    )
