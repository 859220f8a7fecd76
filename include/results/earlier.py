"""How a run stands to those before it: what is known since when, what is well again, how long nothing was published."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection

from include.results.failures import BROKEN
from include.results.node_results import COLUMNS
from include.results.nodes import NodeResult


@dataclass(frozen=True)
class Recovery:
    """The first publish after days without: how long it took, and the results that had failed, as they failed last."""

    after: timedelta
    failed: tuple[NodeResult, ...]


def since(
    connection: Connection, run_id: str, unique_ids: Collection[str], *, bad: Sequence[str]
) -> dict[str, datetime]:
    """The start of the first run that found the same, for what was bad already in the last run that tells.

    Counted from when it was last not `bad`. What was skipped tells nothing; a task that left no result did its work.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with earlier as (
                select run_id, started_at
                from ops.runs
                where started_at < (select started_at from ops.runs where run_id = %(run_id)s)
            ),

            told as (
                select distinct on (results.unique_id, earlier.run_id)
                    results.unique_id, earlier.started_at, results.status = any(%(bad)s) as is_bad
                from ops.node_results as results
                join earlier using (run_id)
                where results.unique_id = any(%(unique_ids)s) and results.status <> 'skipped'
                order by results.unique_id, earlier.run_id, results.recorded_at desc
            ),

            silent as (
                select asked.unique_id, earlier.started_at, false as is_bad
                from unnest(%(unique_ids)s::text[]) as asked (unique_id)
                cross join earlier
                where asked.unique_id like 'task.%%'
                    and not exists (
                        select from ops.node_results as results
                        where results.run_id = earlier.run_id and results.unique_id = asked.unique_id
                    )
            ),

            known as (
                select *, max(started_at) filter (where not is_bad) over (partition by unique_id) as last_good
                from (select * from told union all select * from silent) as both_kinds
            )

            select unique_id, min(started_at)
            from known
            where is_bad and started_at > coalesce(last_good, '-infinity')
            group by unique_id
            """,
            {"run_id": run_id, "unique_ids": list(unique_ids), "bad": list(bad)},
        )
        return dict(cursor.fetchall())


def fixed(connection: Connection, run_id: str) -> list[NodeResult]:
    """What is well in this run and was broken in the last one before it that tells.

    Or in this run itself, as it was last told before it was cleared.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {COLUMNS}
            from ops.last_words as latest
            where run_id = %s
                and status in ('pass', 'success')
                and (
                    select results.status
                    from ops.node_results as results
                    join ops.runs as others using (run_id)
                    where results.unique_id = latest.unique_id
                        and results.status <> 'skipped'
                        and (
                            others.started_at < (select started_at from ops.runs where runs.run_id = latest.run_id)
                            or (
                                results.run_id = latest.run_id
                                and results.recorded_at < (
                                    select max(created_at)
                                    from ops.messages
                                    where messages.run_id = latest.run_id and kind <> 'progress'
                                        and created_at < latest.recorded_at
                                )
                            )
                        )
                    order by results.recorded_at desc
                    limit 1
                ) = any(%s)
            order by recorded_at, unique_id
            """,  # noqa: S608 - constants
            (run_id, list(BROKEN)),
        )
        return [NodeResult(*row) for row in cursor.fetchall()]


def recovery(connection: Connection, run_id: str) -> Recovery | None:
    """What a published run ended: the days without since the publish before it. None where there were none.

    A run that had failed, was mended and cleared, ends its own; of others, their last word on each node counts. One
    that was published before, and failed when it was cleared, counts from that on.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with own as (
                select runs.started_at, max(published_at) as published_at
                from ops.publications
                join ops.runs using (run_id)
                where run_id = %(run_id)s
                group by runs.started_at
            ),

            before as (
                select coalesce(max(made.published_at), '-infinity') as published_at
                from ops.publications as made
                cross join own
                where made.published_at < own.published_at and made.published_at = made.data_as_of
            )

            select
                runs.run_id,
                greatest(runs.started_at, before.published_at),
                own.published_at
            from ops.runs
            cross join own
            cross join before
            where runs.started_at <= own.started_at
                and case
                    when runs.run_id = %(run_id)s then exists (
                        select from ops.messages
                        where messages.run_id = runs.run_id and kind = 'failed' and created_at > before.published_at
                    )
                    else runs.started_at > before.published_at
                        -- Cleared since, and broken again: a task that was cleared alone changed nothing.
                        or begun_at > before.published_at and exists (
                            select from ops.node_results as results
                            where results.run_id = runs.run_id
                                and results.status = any(%(broken)s)
                                and results.recorded_at > before.published_at
                        )
                end
            """,
            {"run_id": run_id, "broken": list(BROKEN)},
        )
        runs = cursor.fetchall()
        if not runs:
            return None
        cursor.execute(
            f"""
            select {COLUMNS}
            from (
                select distinct on (unique_id) *
                from (
                    select distinct on (run_id, unique_id, case when run_id = %s then attempt end) *
                    from ops.node_results
                    where run_id = any(%s)
                    order by run_id, unique_id, case when run_id = %s then attempt end, recorded_at desc
                ) as last_words
                where status = any(%s)
                order by unique_id, recorded_at desc
            ) as broken
            order by recorded_at, unique_id
            """,  # noqa: S608 - a constant
            (run_id, [one for one, _, _ in runs], run_id, list(BROKEN)),
        )
        after = runs[0][2] - min(started_at for _, started_at, _ in runs)
        return Recovery(after, tuple(NodeResult(*row) for row in cursor.fetchall()))
