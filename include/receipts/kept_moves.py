"""`ops.moves`: what publications changed of what was told, as `moves` found it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from include.receipts.move import Cause, Found, Move, Part, Period, Side, What


def keep(cursor: Cursor, publication_id: int, found: Iterable[Found]) -> None:
    """Call in the transaction that publishes."""
    found = list(found)
    ids = execute_values(
        cursor,
        """
        insert into ops.moves (publication_id, metric, period, starts, told, value, usual, adds_up, parts, causes)
        values %s
        returning metric, period, starts, move_id
        """,
        [
            (
                publication_id,
                move.metric,
                move.period,
                move.starts,
                move.told,
                move.value,
                move.usual,
                move.adds_up,
                json.dumps([vars(part) for part in move.parts], default=str),
                json.dumps([vars(cause) for cause in move.causes]),
            )
            for move in (one.move for one in found)
        ],
        fetch=True,
    )
    move_ids = {(metric, period, starts): move_id for metric, period, starts, move_id in ids}
    execute_values(
        cursor,
        """
        insert into ops.moved_rows
            (move_id, side, unique_id, key_column, key, what, before, after, changed, other_day)
        values %s
        """,
        [
            (
                move_ids[one.move.metric, one.move.period, one.move.starts],
                row.side,
                row.unique_id,
                row.key_column,
                row.key,
                row.what,
                row.before,
                row.after,
                list(row.changed),
                row.other_day,
            )
            for one in found
            for row in one.rows
        ],
        template="(%s, %s, %s, %s, %s, %s, %s, %s, %s::text[], %s::date)",
    )


def of_publication(connection: Connection, publication_id: int) -> tuple[Move, ...]:
    """What a publication changed of what was told, the largest period first, then the newest."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select metric, period, starts, told, value, usual, adds_up, parts, causes
            from ops.moves
            where publication_id = %s
            order by array_position('{year,month,day}'::text[], period), starts desc, metric
            """,
            (publication_id,),
        )
        return tuple(_move(*row) for row in cursor.fetchall())


def of_figure(connection: Connection, metric: str, day: date, limit: int) -> dict[int, tuple[int, Move]]:
    """How a metric of a day moved, by publication, the newest first: with the number of each move."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select publication_id, move_id, metric, period, starts, told, value, usual, adds_up, parts, causes
            from ops.moves
            where metric = %s and period = %s and starts = %s
            order by publication_id desc
            limit %s
            """,
            (metric, Period.DAY, day, limit),
        )
        return {publication: (move_id, _move(*row)) for publication, move_id, *row in cursor.fetchall()}


def _move(
    metric: str,
    period: str,
    starts: date,
    told: Decimal | None,
    value: Decimal | None,
    usual: bool,
    adds_up: bool,
    parts: list[dict[str, Any]],
    causes: list[dict[str, Any]],
) -> Move:
    return Move(
        metric,
        Period(period),
        starts,
        told,
        value,
        usual,
        adds_up,
        tuple(_part(part) for part in parts),
        tuple(Cause(**cause) for cause in causes),
    )


def _part(kept: Mapping[str, Any]) -> Part:
    return Part(
        Side(kept["side"]),
        What(kept["what"]),
        kept["model"],
        kept["rows"],
        Decimal(kept["amount"]),
        tuple(kept["keys"]),
        tuple(kept["changed"]),
    )
