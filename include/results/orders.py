"""What changed in the orders: the snapshot has it, and `ops.runs` remembers up to when a message has told it."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2.extensions import connection as Connection

# How many orders of a change are named.
FEW_ORDERS = 5

# Orders of which the snapshot closed a version whose successor has another status; one seen for the first time is none.
# `changed_at` is when a run saw it, in UTC.
STATUS_CHANGES = """
select
    before.status as status_before,
    after.status as status_after,
    after.order_id,
    after.dbt_valid_from as changed_at
from snapshots.orders_snapshot as after
join snapshots.orders_snapshot as before
    on before.order_id = after.order_id
    and before.dbt_valid_to = after.dbt_valid_from
where after.status is distinct from before.status
"""


@dataclass(frozen=True)
class OrderChange:
    """Orders that the snapshot of a run saw go from one status to another; `first` holds the ids of a few, in order."""

    before: str | None
    after: str | None
    count: int
    first: tuple[str, ...]


def changes(connection: Connection, run_id: str) -> list[OrderChange]:
    """What the snapshots saw change that no earlier run has told: rows closed, whose successor has another status.

    An order seen for the first time is no change. Most frequent change first; [] before the first snapshot. Where no
    run has told anything yet, the run's own start is where telling begins.
    """
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('snapshots.orders_snapshot')")
        if cursor.fetchone()[0] is None:
            return []
        cursor.execute(
            f"""
            with told as (
                select coalesce(
                    max(changes_told_until) filter (where run_id <> %(run_id)s),
                    min(started_at) filter (where run_id = %(run_id)s)
                ) as until
                from ops.runs
            )

            select
                status_before,
                status_after,
                count(*),
                (array_agg(order_id::text order by order_id))[1:%(few)s]
            from ({STATUS_CHANGES}) as changes
            where changed_at > (select until at time zone 'UTC' from told)
                -- One that a wrong clock dated ahead is told when its time has come.
                and changed_at <= now() at time zone 'UTC'
            group by status_before, status_after
            order by count(*) desc, status_before, status_after
            """,  # noqa: S608 - a constant
            {"run_id": run_id, "few": FEW_ORDERS},
        )
        return [OrderChange(before, after, count, tuple(first)) for before, after, count, first in cursor.fetchall()]


def note_told(connection: Connection, run_id: str) -> None:
    """Note that a run's message has told every change that the snapshots hold now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            update ops.runs
            set changes_told_until = coalesce(
                (
                    select max(dbt_valid_to) at time zone 'UTC'
                    from snapshots.orders_snapshot
                    where dbt_valid_to <= now() at time zone 'UTC'
                ),
                started_at
            )
            where run_id = %s
            """,
            (run_id,),
        )
