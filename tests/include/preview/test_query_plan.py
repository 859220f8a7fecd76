"""What is read off a plan of Postgres': relations that are read as a whole, and the time that grows with history."""

from __future__ import annotations

from typing import Any

import pytest

from include.preview.query_plan import QueryPlan, read
from include.warehouse.relation import Relation

VISITS = Relation("sandbox", "visits")
ROWS = 20_000


def step(kind: str, milliseconds: float, rows: float, *below: dict[str, Any], **more: object) -> dict[str, Any]:
    """A step that was done once, all below it included."""
    names = {name.replace("_", " "): value for name, value in more.items()}
    done = {"Node Type": kind, "Actual Total Time": milliseconds, "Actual Rows": rows, "Actual Loops": 1}
    return done | {"Plans": list(below)} | names


def scan(milliseconds: float = 100, rows: float = ROWS, **more: object) -> dict[str, Any]:
    return step("Seq Scan", milliseconds, rows, Schema="sandbox", Relation_Name="visits", **more)


def explained(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"Plan": plan, "Planning Time": 0, "Execution Time": plan["Actual Total Time"]}]


def told(plan: dict[str, Any], looked_up: dict[str, Any] | None = None, keys: int = 1) -> QueryPlan:
    return read(explained(plan), explained(looked_up or plan), {VISITS: ROWS}, keys)


def test_steps_grow_that_take_history_and_not_what_takes_their_result() -> None:
    plan = told(step("Sort", 200, 5, step("Hash Join", 150, 5, scan(100))))
    assert plan.growing == pytest.approx(0.150)
    assert plan.seconds == pytest.approx(0.200)


def test_what_an_index_could_spare_is_not_read_as_a_whole() -> None:
    looked_up = step(
        "Index Scan", 1, 5, Schema="sandbox", Relation_Name="visits", Index_Cond="(order_id = keys.order_id)"
    )
    plan = told(scan(), looked_up)
    assert (plan.whole, plan.growing) == ({}, 0)


def test_an_index_without_a_condition_is_no_help() -> None:
    assert told(scan(), step("Index Scan", 1, ROWS, Schema="sandbox", Relation_Name="visits")).whole == {VISITS: ROWS}


def test_rows_that_are_read_and_left_out_are_read() -> None:
    assert told(scan(rows=5, Rows_Removed_by_Filter=ROWS - 5)).whole == {VISITS: ROWS}


def test_a_day_that_is_about_most_of_a_table_may_read_it() -> None:
    assert told(scan(), keys=ROWS // 5).whole == {}


def test_less_than_half_of_a_table_is_not_all_of_it() -> None:
    assert read(explained(scan()), explained(scan()), {VISITS: 3 * ROWS}, 1).whole == {}


def test_what_two_read_of_a_with_is_made_once() -> None:
    made = scan(100, Subplan_Name="CTE all_visits")
    readers = (step("CTE Scan", 110, ROWS, CTE_Name="all_visits"), step("CTE Scan", 10, ROWS, CTE_Name="all_visits"))
    plan = told(step("Aggregate", 1000, 1, step("Hash Join", 150, 5, made, *readers)))
    assert plan.growing == pytest.approx(0.150)


def test_workers_read_side_by_side() -> None:
    counted = step("Aggregate", 55, 1, scan(50, ROWS / 2, Actual_Loops=2), Actual_Loops=2)
    plan = told(step("Gather", 60, 2, counted, Workers_Launched=1))
    assert (plan.whole, plan.growing) == ({VISITS: ROWS}, pytest.approx(0.055))
