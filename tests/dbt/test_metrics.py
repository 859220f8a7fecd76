"""The metrics as definitions: MetricFlow makes of them what `daily_metrics` tells, on every day of the real shop."""

from __future__ import annotations

from datetime import date

import pytest
from dbt.adapters.factory import get_adapter_by_type
from dbt.contracts.graph.manifest import Manifest
from dbt_metricflow.cli.dbt_connectors.adapter_backed_client import AdapterBackedSqlClient
from metricflow.engine.metricflow_engine import MetricFlowEngine, MetricFlowQueryRequest
from metricflow_semantics.model.dbt_manifest_parser import parse_manifest_from_dbt_generated_manifest
from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup

from include.dbt_project import explained_by
from include.dbt_project import manifest as manifests
from include.receipts import explain
from tests.dbt.conftest import Dbt, Shop
from tests.dbt.test_project import daily_metrics

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def metricflow(dbt: Dbt, greenery: Shop) -> MetricFlowEngine:
    """MetricFlow on the project's semantic manifest; it writes the SQL, the tests run it."""
    definitions = (dbt.work / "target" / "semantic_manifest.json").read_text()
    return MetricFlowEngine(
        SemanticManifestLookup(parse_manifest_from_dbt_generated_manifest(definitions)),
        AdapterBackedSqlClient(get_adapter_by_type("postgres")),
    )


def by_day(metricflow: MetricFlowEngine, shop: Shop, metric: str) -> dict[date, float | None]:
    """The metric's value by day, as MetricFlow's SQL gives it."""
    request = MetricFlowQueryRequest.create(metric_names=[metric], group_by_names=["metric_time__day"])
    rows = shop.query(metricflow.explain(request).sql_statement.sql)
    return {
        day if type(day) is date else day.date(): None if value is None else float(value)
        for day, value in rows
        if day is not None  # what has not happened yet: orders on their way, buyers who have not come back
    }


def test_metricflow_and_the_table_agree_on_every_day(
    metricflow: MetricFlowEngine, greenery: Shop, manifest: Manifest, subtests: pytest.Subtests
):
    for metric in daily_metrics(manifest):
        with subtests.test(metric=metric):
            told = dict(greenery.query("select day, value from analytics_next.daily_metrics where metric = %s", metric))
            computed = by_day(metricflow, greenery, metric)
            assert len(told) == 411
            assert computed.keys() <= told.keys()
            # A day that a cumulative metric or a ratio leaves out is one with nothing yet to count or to divide by.
            expected = {day: float(value) for day, value in told.items() if value}
            assert {day: value for day, value in computed.items() if value} == pytest.approx(expected, abs=0.0001)
            nothing = {day for day, value in told.items() if value is None}
            assert nothing <= {day for day in told if computed.get(day) is None}


def test_on_the_real_data_every_split_that_a_metric_asks_for_adds_up_to_it(
    dbt: Dbt, greenery: Shop, manifest: Manifest, subtests: pytest.Subtests
):
    facts = manifests.read(dbt.work / "target" / "manifest.json")
    asking = [metric.name for metric in manifest.metrics.values() if metric.config.meta.get("explained_by")]
    assert {"orders", "revenue", "conversion"} <= set(asking)
    greenery.query("alter schema analytics_next rename to analytics")
    try:
        for metric in asking:
            with subtests.test(metric=metric):
                # The fullest two days: people signed up on other days than they ordered.
                [(former, day)] = greenery.query(
                    "with pairs as (select day, lag(day) over (order by day) as former, value,"
                    " lag(value) over (order by day) as was from analytics.daily_metrics where metric = %s)"
                    " select former, day from pairs where value <> was order by least(value, was) desc, day limit 1",
                    metric,
                )
                found = explain.explain(greenery.connection, facts, metric, day, former)
                assert found
                wanted = [one.name for one in explained_by.dimensions(facts, metric)]
                wanted += [explain.FACTORS] if explained_by.factors(facts, metric) else []
                assert [one.dimension for one in found.splits] == wanted
                assert {sum(share.amount for share in one.shares) for one in found.splits} == {found.difference}
    finally:
        greenery.query("alter schema analytics rename to analytics_next")
