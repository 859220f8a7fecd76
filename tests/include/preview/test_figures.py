"""Which figures a change moves, and on which days."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.preview import figures
from include.preview.report import FigureDay, FigureMove
from include.words import Unit

pytestmark = pytest.mark.db

LAST = date(2026, 3, 9)


def metric(name: str, **meta: Any) -> dict[str, Any]:
    return {"name": name, "label": name.capitalize(), "config": {"meta": meta}}


def project(*, with_table: bool = True) -> Manifest:
    """Three metrics of which the message tells two, and the repeat rate."""
    metrics = [
        metric("users"),
        metric("orders", in_message=2),
        metric("revenue", in_message=1, unit="dollars"),
        metric("repeat_rate", unit="percent"),
    ]
    daily = {"resource_type": "model", "name": "daily_metrics", "config": {"materialized": "table"}}
    return Manifest(
        {"model.p.daily_metrics": daily} if with_table else {},
        {},
        metrics={f"metric.p.{one['name']}": one for one in metrics},
    )


def tell(db: Connection, schema: str, rows: list[tuple[str, int, Any]]) -> None:
    """The metrics of a schema: name, how many days ago, value."""
    with db.cursor() as cursor:
        cursor.execute(f"create schema {schema}")
        cursor.execute(f"create table {schema}.daily_metrics (metric text, day date, value double precision)")
        for name, ago, value in rows:
            cursor.execute(
                f"insert into {schema}.daily_metrics values (%s, %s, %s)", (name, LAST - timedelta(days=ago), value)
            )


def moves(db: Connection, days: int = 30, facts: Manifest | None = None) -> tuple[FigureMove, ...]:
    return figures.compare(db, facts or project(), "here", "there", days)


def test_a_figure_that_moves_is_told_with_its_days_the_newest_first(db: Connection) -> None:
    tell(db, "here", [("orders", 0, 10), ("orders", 1, 20), ("orders", 2, 30)])
    tell(db, "there", [("orders", 0, 11), ("orders", 1, 20), ("orders", 2, 33)])
    assert moves(db) == (
        FigureMove(
            metric="orders",
            label="Orders",
            unit=Unit.NUMBER,
            is_told=True,
            compared=3,
            moved=2,
            days=(
                FigureDay(LAST, Decimal(10), Decimal(11)),
                FigureDay(LAST - timedelta(days=2), Decimal(30), Decimal(33)),
            ),
        ),
    )


def test_what_the_message_tells_comes_first_as_it_tells_it(db: Connection) -> None:
    every = ("unknown", "users", "orders", "revenue", "repeat_rate")
    tell(db, "here", [(name, 0, 1) for name in every])
    tell(db, "there", [(name, 0, 2) for name in every])
    assert [(one.metric, one.unit, one.is_told) for one in moves(db)] == [
        ("repeat_rate", Unit.PERCENT, True),
        ("revenue", Unit.DOLLARS, True),
        ("orders", Unit.NUMBER, True),
        ("users", Unit.NUMBER, False),
        ("unknown", Unit.NUMBER, False),
    ]


def test_the_last_days_are_those_of_the_data(db: Connection) -> None:
    tell(db, "here", [("orders", ago, 1) for ago in range(1, 10)])
    tell(db, "there", [("orders", ago, 2) for ago in range(10)])
    [move] = moves(db, days=3)
    assert (move.compared, move.moved) == (3, 3)
    assert [(one.day, one.before) for one in move.days] == [
        (LAST, None),
        (LAST - timedelta(days=1), Decimal(1)),
        (LAST - timedelta(days=2), Decimal(1)),
    ]


def test_a_figure_that_differs_by_rounding_alone_has_not_moved(db: Connection) -> None:
    tell(db, "here", [("orders", 0, 0.3), ("users", 0, None), ("revenue", 0, "nan")])
    tell(db, "there", [("orders", 0, 0.1 + 0.2), ("users", 0, None), ("revenue", 0, "nan")])
    assert moves(db) == ()


def test_without_a_table_of_metrics_before_each_figure_is_new(db: Connection) -> None:
    tell(db, "there", [("orders", 0, 2)])
    [move] = moves(db)
    assert move.days == (FigureDay(LAST, None, Decimal(2)),)


def test_where_the_project_has_no_table_of_metrics_any_more_no_figure_is_told(db: Connection) -> None:
    tell(db, "here", [("orders", 0, 2)])
    [move] = moves(db, facts=project(with_table=False))
    assert move.days == (FigureDay(LAST, Decimal(2), None),)


def test_a_table_of_metrics_that_was_not_built_moves_nothing(db: Connection) -> None:
    tell(db, "here", [("orders", 0, 2)])
    assert moves(db) == ()
