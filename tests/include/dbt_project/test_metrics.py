"""Which metrics the message tells, as the dbt project says beside each, and what is refused when it is read."""

from __future__ import annotations

from typing import Any

import pytest

from include import settings
from include.dbt_project import limits, metrics
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import Metric
from include.words import Unit


def metric(name: str, label: str | None = None, **meta: Any) -> dict[str, Any]:
    return {"name": name, "label": label, "original_file_path": "models/_metrics.yml", "config": {"meta": meta}}


def project(*defined: dict[str, Any], daily: list[str] | None = None, table: str = "daily_metrics") -> Manifest:
    """A project with these metrics and a table of their values; `daily` are the names that its test accepts."""
    model = {
        "resource_type": "model",
        "name": table,
        "alias": table,
        "config": {"materialized": "table"},
        "schema": "analytics_next",
        "database": settings.warehouse().database,
        "depends_on": {"nodes": []},
        "original_file_path": f"models/{table}.sql",
    }
    test = {
        "resource_type": "test",
        "name": "accepted",
        "config": {"severity": "ERROR"},
        "depends_on": {"nodes": [f"model.p.{table}"]},
        "original_file_path": "models/_models.yml",
        "test_metadata": {"name": "accepted_values", "kwargs": {"values": daily}},
        "column_name": "metric",
        "attached_node": f"model.p.{table}",
    }
    nodes = {f"model.p.{table}": model} | ({} if daily is None else {"test.p.accepted": test})
    return Manifest(nodes, {}, metrics={f"metric.p.{one['name']}": one for one in defined})


def test_a_metric_is_told_where_its_meta_says_so_in_that_order() -> None:
    paid, late = metric("paid", "Paid", in_message=2, unit="dollars"), metric("late_rate", "Late", unit="percent")
    facts = project(paid, late, metric("orders", "Orders", in_message=1))
    assert metrics.told(facts) == (Metric("orders", "Orders", Unit.NUMBER), Metric("paid", "Paid", Unit.DOLLARS))


def test_all_are_there_by_name_those_first_that_are_told() -> None:
    facts = project(metric("paid", "Paid"), metric("orders", "Orders", in_message=2), metric("units", in_message=1))
    assert list(metrics.by_name(facts)) == ["units", "orders", "paid"]
    assert metrics.by_name(facts)["paid"] == Metric("paid", "Paid", Unit.NUMBER)


def test_one_without_a_label_is_called_by_its_name() -> None:
    assert [one.label for one in metrics.told(project(metric("orders", in_message=1)))] == ["orders"]


@pytest.mark.parametrize("daily", [None, ["paid"]])
def test_what_can_be_told_is_not_refused(daily: list[str] | None) -> None:
    told, another_use = metric("paid", in_message=1, unit="dollars"), metric("late_rate", unit="of late orders")
    assert limits.problem(project(told, another_use, daily=daily)) is None


@pytest.mark.parametrize(
    ("refused", "because"),
    [
        (
            metric("paid", in_message=1, unit="euros"),
            "has the unit euros in its `meta`. Known are number, dollars, per",
        ),
        (metric("paid", in_message=True), "has `in_message: True` in its `meta`. Give its place"),
        (
            metric("buyers", in_message=1),
            "is to be told in the message, and there is no daily_metrics with that name in",
        ),
        (metric("repeat_rate", in_message=1), "is in every message, of all buyers. Leave `in_message` out"),
    ],
)
def test_what_can_not_be_told_is_refused_with_its_file_and_a_way_out(refused: dict[str, Any], because: str) -> None:
    found = limits.problem(project(refused, daily=["paid", "repeat_rate"]))
    assert found
    assert found.startswith(f"models/_metrics.yml: metric {refused['name']} {because}")


def test_where_there_is_no_table_of_their_values_none_can_be_told() -> None:
    found = limits.problem(project(metric("paid", in_message=1), table="takings"))
    assert found
    assert "there is no daily_metrics with that name in it" in found
