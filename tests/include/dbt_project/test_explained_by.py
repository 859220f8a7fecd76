"""By what a metric is explained, as the project's YAML says it, and what is refused when the project is read."""

from __future__ import annotations

from typing import Any

import pytest

from include.dbt_project import explained_by, limits
from include.dbt_project.explained_by import Column
from include.dbt_project.manifest import Manifest


def semantic(
    name: str, entities: dict[str, str], dimensions: list[str], measures: list[dict[str, Any]]
) -> dict[str, Any]:
    """A semantic model of a mart of its own name."""
    return {
        "name": name,
        "node_relation": {"alias": f"fact_{name}"},
        "depends_on": {"nodes": [f"model.p.fact_{name}"]},
        "defaults": {"agg_time_dimension": "at"},
        "entities": [{"name": one, "type": kind, "expr": f"{one}_id"} for one, kind in entities.items()],
        "dimensions": [{"name": "at", "type": "time"}, *({"name": one, "type": "categorical"} for one in dimensions)],
        "measures": [{"agg": "sum", "expr": one["name"], **one} for one in measures],
    }


SEMANTIC = [
    semantic("orders", {"order": "primary", "user": "foreign"}, ["state"], [{"name": "revenue"}, {"name": "margin"}]),
    semantic(
        "items",
        {"item": "primary", "order": "foreign"},
        ["plant"],
        [{"name": "amount", "config": {"meta": {"adds_up_to": "revenue"}}}],
    ),
    semantic("users", {"user": "primary"}, ["country", "email"], []),
    semantic("visits", {"visit": "primary", "user": "foreign"}, ["channel"], [{"name": "visits"}]),
]


def project(kind: str = "simple", **meta: Any) -> Manifest:
    """A project with these metrics, of which `revenue` has this `meta`."""
    metrics = {
        name: {
            "name": name,
            "type": kind if name == "revenue" else "simple",
            "type_params": {"measure": {"name": name}},
            "original_file_path": "models/_metrics.yml",
            "config": {"meta": meta if name == "revenue" else {}},
        }
        for name in ("revenue", "margin", "visits")
    }
    users = {
        "resource_type": "source",
        "schema": "raw",
        "name": "users",
        "columns": {"email": {"config": {"meta": {"personal": True}}}},
    }
    return Manifest(
        {}, {"source.p.s.users": users}, metrics=metrics, semantic_models={one["name"]: one for one in SEMANTIC}
    )


def test_a_dimension_is_of_the_rows_or_of_what_each_has_one_of_or_of_finer_rows() -> None:
    names = ["order__state", "user__country", "item__plant"]
    facts = project(explained_by=names, factors={"Visits": "visits", "Value of a visit": "revenue"})
    assert limits.problem(facts) is None
    found = [
        (one.name, side.measure.name, side.item, side.of)
        for one in explained_by.dimensions(facts, "revenue")
        for side in one.sides
    ]
    assert found == [
        ("order__state", "revenue", "state", None),
        ("user__country", "revenue", "user_id", Column("fact_users", "user_id", "country")),
        ("item__plant", "amount", "plant", None),
    ]
    factors = [(one.label, one.metric, one.measure.relation) for one in explained_by.factors(facts, "revenue")]
    assert factors == [("Visits", "visits", "fact_visits"), ("Value of a visit", "revenue", "fact_orders")]
    assert explained_by.dimensions(facts, "margin") == explained_by.factors(facts, "margin") == ()


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"explained_by": "state"}, "has `explained_by: state` in its `meta`. Give a list of dimensions"),
        (
            {"explained_by": ["order__colour"]},
            "is to be explained by order__colour, which its rows don't have. They have item__plant, order__state, "
            "user__country.",
        ),
        ({"explained_by": ["visit__channel"]}, "is to be explained by visit__channel, which its rows don't have."),
        ({"explained_by": [{"a": 1}]}, "is to be explained by {'a': 1}, which its rows don't have."),
        ({"explained_by": ["user__email"]}, "is to be explained by user__email, which is personal and never shown."),
        ({"explained_by": ["order__state"], "kind": "cumulative"}, "a day of it can't be counted by rows"),
        ({"factors": ["visits", "revenue"]}, "Give each factor's label with its metric, the metric itself last"),
        ({"factors": {"Visits": "visits"}}, "Give each factor's label with its metric, the metric itself last"),
        ({"factors": {"Luck": "luck", "Value": "revenue"}}, "has the factor Luck, and luck is no metric that is a sum"),
    ],
)
def test_what_means_nothing_is_refused_with_its_file_and_a_way_out(meta: dict[str, Any], said: str) -> None:
    facts = project(meta.pop("kind", "simple"), **meta)
    problem = limits.problem(facts)
    assert problem
    assert problem.startswith("models/_metrics.yml: metric revenue ")
    assert said in problem
    assert explained_by.dimensions(facts, "revenue") == explained_by.factors(facts, "revenue") == ()
