"""What is unusual, as people need to hear of it: in words, with owner, what stands on it, and what goes with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from include.dbt_project.manifest import Manifest
from include.results.failures import Owner
from include.results.unusual import findings
from include.unusual.series import Expected, Measure, Series, Unusual
from include.words import Unit
from tests.include.results.project import FACTS, ORDERS, USERS

DAY = date(2026, 11, 23)
MART, DAILY, METRIC = "model.p.fact_orders", "model.p.daily_metrics", "metric.p.revenue"


def published(name: str) -> dict:
    return {**FACTS.nodes[MART], "name": name, "schema": "analytics_next"}


def dated(source: str) -> dict:
    return {**FACTS.sources[source], "config": {**FACTS.sources[source]["config"], "event_time": "created_at"}}


PROJECT = Manifest(
    {
        **FACTS.nodes,
        MART: published("fact_orders"),
        DAILY: published("daily_metrics"),
        "model.p.int_a": published("int_a"),
    },
    {**FACTS.sources, ORDERS: dated(ORDERS)},
    FACTS.groups,
    FACTS.exposures,
    metrics={METRIC: {"name": "revenue", "label": "Revenue", "config": {"meta": {"unit": Unit.DOLLARS}}}},
)


def unusual(unique_id: str, measure: Measure, score: float = 2, because: Series | None = None, **of: str) -> Unusual:
    series = Series(unique_id, measure, **of)
    return Unusual(series, DAY, 12, Expected(40, 31, 48, 60), score, DAY, because)


FEW = unusual(ORDERS, Measure.ROWS)


def test_a_finding_has_words_an_owner_and_what_stands_on_it() -> None:
    [found] = findings([FEW], PROJECT)
    assert (found.title, found.value, found.usual) == ("rows of raw.orders", "12", "31 to 48")
    assert found.owner == Owner("Data platform")
    assert found.exposures == ("Sales",)


def test_a_metric_is_owned_by_who_owns_the_table_that_tells_it() -> None:
    [found] = findings([unusual(METRIC, Measure.VALUE)], PROJECT)
    assert (found.title, found.value, found.usual) == ("Revenue", "$12", "$31 to $48")
    assert found.owner == Owner("Analytics", "S0ANALYTICS")


def test_the_worst_comes_first_each_with_what_it_explains_in_the_end() -> None:
    mart = unusual(MART, Measure.ROWS, 3, FEW.series)
    metric = unusual(METRIC, Measure.VALUE, 4, mart.series)
    other = unusual(USERS, Measure.ROWS, 5)
    first, second = findings([FEW, mart, metric, other], PROJECT)
    assert (first.unusual, first.with_it) == (other, ())
    assert (second.unusual, [one.unusual for one in second.with_it]) == (FEW, [metric, mart])


def test_what_explains_it_may_not_be_told_or_be_explained_by_it() -> None:
    mart = unusual(MART, Measure.ROWS, 3, FEW.series)
    assert [one.unusual for one in findings([mart], PROJECT)] == [mart]
    circle = [replace(FEW, because=mart.series), mart]
    assert {one.unusual for one in findings(circle, PROJECT)} == set(circle)


def test_figures_of_marts_are_those_that_people_query() -> None:
    told = {
        (one.series.unique_id, one.series.measure): findings([one], PROJECT)[0].of_marts
        for one in (
            FEW,
            unusual(MART, Measure.ROWS),
            unusual(MART, Measure.SECONDS),
            unusual("model.p.int_a", Measure.ROWS),
            unusual("model.p.stg_orders", Measure.ROWS),
            unusual(METRIC, Measure.VALUE),
            unusual(DAILY, Measure.VALUE, item="baskets"),
        )
    }
    assert [of for of, marts in told.items() if marts] == [
        (MART, Measure.ROWS),
        (METRIC, Measure.VALUE),
        (DAILY, Measure.VALUE),
    ]


def test_only_what_is_dated_is_told_of_its_day_and_only_counts_of_its_weekday() -> None:
    told = [
        findings([unusual(of, measure)], PROJECT)[0]
        for of, measure in (
            (ORDERS, Measure.ROWS),
            (ORDERS, Measure.NULLS),
            (ORDERS, Measure.LOADED),
            (USERS, Measure.ROWS),
        )
    ]
    assert [one.of_day for one in told] == [True, True, False, False]
    assert [one.by_weekday for one in told] == [True, False, False, False]


def test_values_of_personal_columns_are_not_told() -> None:
    measures = (Measure.SHARE, Measure.LEAST, Measure.GREATEST, Measure.MEAN)
    values = [unusual(USERS, measure, column="email", item="ada@shop.example") for measure in measures]
    assert findings(values, PROJECT) == ()
    assert len(findings([unusual(USERS, Measure.NULLS, column="email")], PROJECT)) == 1
    explained = replace(unusual(USERS, Measure.ROWS), because=values[0].series)
    assert [one.unusual.because for one in findings([explained], PROJECT)] == [None]
