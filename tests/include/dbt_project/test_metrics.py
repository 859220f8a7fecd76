"""Which metrics the message tells, as the dbt project says beside each, and what is refused when it is read."""

from __future__ import annotations

from typing import Any

import pytest

from include.dbt_project import limits, metrics
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import Metric
from include.words import Unit


def metric(name: str, label: str | None = None, **meta: Any) -> dict[str, Any]:
    return {"name": name, "label": label, "original_file_path": "models/_metrics.yml", "config": {"meta": meta}}


def project(*defined: dict[str, Any], daily: list[str] | None = None) -> Manifest:
    """A project with these metrics, and with a `daily_metrics` of those names."""
    test = {
        "resource_type": "test",
        "name": "accepted",
        "config": {"severity": "ERROR"},
        "depends_on": {"nodes": []},
        "original_file_path": "models/_models.yml",
        "test_metadata": {"name": "accepted_values", "kwargs": {"values": daily}},
        "column_name": "metric",
        "attached_node": "model.p.daily_metrics",
    }
    nodes = {"test.p.accepted": test} if daily is not None else {}
    return Manifest(nodes, {}, metrics={f"metric.p.{one['name']}": one for one in defined})


def test_a_metric_is_told_where_its_meta_says_so_in_that_order() -> None:
    paid, late = metric("paid", "Paid", in_message=2, unit="dollars"), metric("late_rate", "Late", unit="percent")
    facts = project(paid, late, metric("orders", "Orders", in_message=1))
    assert metrics.told(facts) == (Metric("orders", "Orders", Unit.NUMBER), Metric("paid", "Paid", Unit.DOLLARS))


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
            "is to be told in the message, and daily_metrics has none of that name. Add it",
        ),
        (metric("repeat_rate", in_message=1), "is in every message, of all buyers. Leave `in_message` out"),
    ],
)
def test_what_can_not_be_told_is_refused_with_its_file_and_a_way_out(refused: dict[str, Any], because: str) -> None:
    found = limits.problem(project(refused, daily=["paid", "repeat_rate"]))
    assert found
    assert found.startswith(f"models/_metrics.yml: metric {refused['name']} {because}")
