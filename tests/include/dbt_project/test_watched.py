"""What the words `unusual: say`, `hold` and `ignore` mean, and what is said of another one."""

from __future__ import annotations

import pytest

from include.dbt_project import watched
from include.dbt_project.manifest import Manifest
from include.dbt_project.watched import Consequence

ORDERS, MART, METRIC, DAILY = "source.p.shop.orders", "model.p.fact_orders", "metric.p.orders", "model.p.daily_metrics"


def node(name: str, said: str | None = None, **columns: str) -> dict:
    """What the manifest has of a node: where it says a word, and which its columns say."""
    return {
        "name": name,
        "schema": "raw",
        "resource_type": "model",
        "original_file_path": f"models/{name}.yml",
        "config": {"materialized": "table", "meta": {"unusual": said} if said else {}},
        "columns": {column: {"config": {"meta": {"unusual": word}}} for column, word in columns.items()},
    }


def project(orders: str | None = None, mart: str | None = None, metric: str | None = None, **columns: str) -> Manifest:
    return Manifest(
        {MART: node("fact_orders", mart), DAILY: node("daily_metrics")},
        {ORDERS: node("orders", orders, **columns)},
        metrics={METRIC: node("orders", metric)},
    )


def test_what_says_nothing_is_said() -> None:
    assert watched.consequence(project(), ORDERS, "status") is Consequence.SAY
    assert watched.consequence(project(), "model.p.gone") is Consequence.SAY
    assert not watched.holding(project())


def test_a_column_has_the_word_of_its_table_unless_it_has_its_own() -> None:
    assert watched.consequence(project("hold"), ORDERS, "status") is Consequence.HOLD
    assert watched.consequence(project("hold", status="say"), ORDERS, "status") is Consequence.SAY
    assert not watched.is_watched(project(status="ignore"), ORDERS, "status")
    assert watched.is_watched(project(status="ignore"), ORDERS)


def test_what_holds_is_named() -> None:
    facts = project(mart="hold", metric="hold", status="hold")
    assert sorted(watched.holding(facts)) == ["fact_orders", "orders", "raw.orders.status"]


@pytest.mark.parametrize("of", [{"mart": "hold"}, {"metric": "hold"}, {"status": "hold"}])
def test_a_table_may_hold_by_its_columns_and_the_table_of_the_metrics_by_each_metric(of: dict[str, str]) -> None:
    holders = {"mart": MART, "metric": DAILY, "status": ORDERS}
    facts = project(**of)
    assert [one for one in (MART, DAILY, ORDERS) if watched.may_hold(facts, one)] == [holders[next(iter(of))]]


def test_another_word_is_a_problem_of_the_project() -> None:
    assert list(watched.problems(project("shout", status="mute"))) == [
        ("models/orders.yml", "raw.orders has `unusual: shout` in its `meta`. Known are say, hold, ignore."),
        ("models/orders.yml", "raw.orders.status has `unusual: mute` in its `meta`. Known are say, hold, ignore."),
    ]
