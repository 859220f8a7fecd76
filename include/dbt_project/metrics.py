"""Which dbt metrics the message tells, by the `meta` of each: what it is called, its unit, and its place.

    - name: revenue
      label: Revenue
      config: {meta: {in_message: 2, unit: dollars}}

Its values are those of the same name in `daily_metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from include.dbt_project.manifest import Manifest
from include.words import Unit

# The message tells it of all buyers, in a line of its own.
REPEAT_RATE = "repeat_rate"
_TABLE = "daily_metrics"


@dataclass(frozen=True)
class Metric:
    """A metric as people read it."""

    name: str
    label: str
    unit: Unit


def model(facts: Manifest) -> str | None:
    """The unique id of the model that has their values, if there is one."""
    return next((model for model in facts.models if facts.nodes[model]["name"] == _TABLE), None)


def is_told(metric: dict[str, Any]) -> bool:
    """Whether the message tells it, by the manifest's entry."""
    return "in_message" in _meta(metric)


def told(facts: Manifest) -> tuple[Metric, ...]:
    """Those that the message tells, in the order in which it does."""
    found = [metric for metric in facts.metrics.values() if is_told(metric)]
    found.sort(key=lambda metric: (_meta(metric)["in_message"], metric["name"]))
    return tuple(Metric(one["name"], one.get("label") or one["name"], Unit(_unit(one))) for one in found)


def one(unique_id: str, facts: Manifest) -> Metric:
    """Any metric by its unique id, told or not; one that the project has no more is called by its name."""
    metric = facts.metrics.get(unique_id) or {"name": unique_id.split(".")[-1]}
    unit = _unit(metric)
    return Metric(
        metric["name"], metric.get("label") or metric["name"], Unit(unit) if unit in list(Unit) else Unit.NUMBER
    )


def by_name(facts: Manifest) -> dict[str, Metric]:
    """All metrics by their names, those first that the message tells."""
    every = (*told(facts), *(one(unique_id, facts) for unique_id in facts.metrics))
    return {metric.name: metric for metric in every}


def problems(facts: Manifest) -> Iterator[tuple[str, str]]:
    """What is wrong with a metric's `meta`: the file, and a sentence with the words that mend it."""
    daily = _daily(facts)
    for metric in facts.metrics.values():
        for sentence in _of_metric(metric, daily):
            yield metric["original_file_path"], f"metric {metric['name']} {sentence}"


def _of_metric(metric: dict[str, Any], daily: list[str] | None) -> Iterator[str]:
    if "in_message" not in _meta(metric):
        return
    if _unit(metric) not in list(Unit):
        yield f"has the unit {_unit(metric)} in its `meta`. Known are {', '.join(Unit)}."
    place = _meta(metric)["in_message"]
    if type(place) is not int:
        yield f"has `in_message: {place}` in its `meta`. Give its place among the figures, such as `1`."
    if metric["name"] == REPEAT_RATE:
        yield "is in every message, of all buyers. Leave `in_message` out of its `meta`."
    elif daily is not None and metric["name"] not in daily:
        yield (
            f"is to be told in the message, and there is no {_TABLE} with that name in it. Add it to {_TABLE} and to "
            "the `accepted_values` of its column `metric`, or leave `in_message` out of its `meta`."
        )


def _daily(facts: Manifest) -> list[str] | None:
    """The names that the table has, as its `accepted_values` say; None where there is no such test."""
    if model(facts) is None:
        return []
    return next(
        (
            node["test_metadata"]["kwargs"]["values"]
            for node in facts.nodes.values()
            if (node.get("test_metadata") or {}).get("name") == "accepted_values"
            and node.get("column_name") == "metric"
            and (node.get("attached_node") or "").endswith(f".{_TABLE}")
        ),
        None,
    )


def _meta(metric: dict[str, Any]) -> dict[str, Any]:
    return metric.get("config", {}).get("meta") or {}


def _unit(metric: dict[str, Any]) -> str:
    return str(_meta(metric).get("unit", Unit.NUMBER))
