"""How each metric is counted: from which rows, on which day, and what a row counts for.

As the project's semantic models say it. A metric that is no sum over rows, one with a filter, and one that is derived
from others is not there: what it is made of can't be counted row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest

# What a row counts for, of the column or SQL that is aggregated.
_COUNTS_FOR = {
    "sum": "{}",
    "sum_boolean": "case when {} then 1 else 0 end",
    "count": "case when {} is not null then 1 else 0 end",
    "average": "{}",
}


@dataclass(frozen=True)
class Measure:
    """A sum over the rows of a model: each counts for `expr` on the UTC day of `day`. All three are SQL on the model.

    `relation` is the model's name in the database without its schema, `key` what tells its rows apart.
    """

    name: str
    unique_id: str
    relation: str
    key: str
    day: str
    expr: str


@dataclass(frozen=True)
class Counted:
    """A metric as sums: the first one, divided by the second where there is one.

    One that is `running` counts all days up to its own.
    """

    metric: str
    numerator: Measure
    denominator: Measure | None = None
    running: bool = False

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Its sums, the numerator first."""
        return (self.numerator, self.denominator) if self.denominator else (self.numerator,)


def counted(facts: Manifest) -> dict[str, Counted]:
    """Each metric that can be counted by rows, by its name."""
    metrics = {metric["name"]: metric for metric in facts.metrics.values()}
    found = {name: _counted(metric, metrics, facts) for name, metric in metrics.items()}
    return {name: one for name, one in found.items() if one}


def nouns(facts: Manifest) -> dict[str, str]:
    """What a row of a model is called, by the model's name: its semantic model's primary entity, such as order."""
    return {
        facts.title(model["depends_on"]["nodes"][0]): entity["name"].replace("_", " ")
        for model in facts.semantic_models.values()
        for entity in model["entities"]
        if entity["type"] == "primary"
    }


def stands_on(facts: Manifest, metric: str) -> frozenset[str]:
    """Unique ids of the models and sources that a metric is made of, and of the model that has its values.

    Of one that can't be counted by rows, all that the model of metrics descends from.
    """
    table = metrics.model(facts)
    whole = {table, *facts.upstream(table)} if table else set()
    one = counted(facts).get(metric)
    if one is None:
        return frozenset(whole)
    models = {measure.unique_id for measure in one.measures}
    behind = models.union(*(facts.upstream(model) for model in models))
    between = whole.intersection(*(facts.downstream(model) for model in models)) | ({table} if table else set())
    return frozenset(behind | between)


def _counted(metric: dict[str, Any], metrics: dict[str, dict[str, Any]], facts: Manifest) -> Counted | None:
    if metric["type"] != "ratio":
        return _sum(metric, facts)
    given = (metric["type_params"]["numerator"], metric["type_params"]["denominator"])
    if metric.get("filter") or any(one.get("filter") or one.get("offset_window") for one in given):
        return None
    above, below = (_sum(metrics.get(one["name"], {}), facts) for one in given)
    if not above or not below or above.denominator or below.denominator or above.running != below.running:
        return None
    return Counted(metric["name"], above.numerator, below.numerator, above.running)


def _sum(metric: dict[str, Any], facts: Manifest) -> Counted | None:
    """One that is a single measure, of each day or of all days up to it."""
    if metric.get("type") not in ("simple", "cumulative") or metric.get("filter"):
        return None
    asked = metric["type_params"].get("measure") or {}
    over = metric["type_params"].get("cumulative_type_params") or {}
    if asked.get("filter") or over.get("window") or over.get("grain_to_date"):
        return None
    for model in facts.semantic_models.values():
        for measure in model["measures"]:
            if measure["name"] == asked.get("name"):
                return measured(metric, measure, model)
    return None


def measured(metric: dict[str, Any], measure: dict[str, Any], model: dict[str, Any]) -> Counted | None:
    """A metric that is a measure of a semantic model, all three as the manifest has them."""
    day = measure.get("agg_time_dimension") or (model.get("defaults") or {}).get("agg_time_dimension")
    days = {one["name"]: one.get("expr") or one["name"] for one in model["dimensions"] if one["type"] == "time"}
    key = next((one.get("expr") or one["name"] for one in model["entities"] if one["type"] == "primary"), None)
    if measure["agg"] not in _COUNTS_FOR or key is None or day not in days or measure.get("non_additive_dimension"):
        return None
    what = measure.get("expr") or measure["name"]
    of = {
        "name": measure["name"],
        "unique_id": model["depends_on"]["nodes"][0],
        "relation": model["node_relation"]["alias"],
        "key": key,
        "day": days[day],
    }
    return Counted(
        metric["name"],
        Measure(**of, expr=_COUNTS_FOR[measure["agg"]].format(what)),
        Measure(**of, expr=_COUNTS_FOR["count"].format(what)) if measure["agg"] == "average" else None,
        running=metric["type"] == "cumulative",
    )
