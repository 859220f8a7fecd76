"""One whole build on Greenery's real data, and the figures that everybody knows of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from dbt.contracts.graph.manifest import Manifest

from tests.dbt.conftest import Dbt, Shop
from tests.dbt.test_project import MARTS, models, snapshots

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def greenery(dbt: Dbt, shop: Shop, real_data: Path) -> Shop:
    """The real shop, built."""
    shop.reset()
    shop.copy(real_data)
    statuses = dbt("build", "--exclude-resource-type", "unit_test")
    assert {name: status for name, status in statuses.items() if status not in ("success", "pass", "no-op")} == {}
    return shop


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("select count(*) from dim_users where orders >= 1", 124),
        ("select count(*) from dim_users where is_repeat_buyer", 99),
        ("select count(*) from int_user_sessions", 578),
        ("select count(*) from int_user_sessions where is_converted", 361),
        ("select count(*) from fact_orders", 361),
        ("select sum(order_total) from fact_orders", Decimal("91351.57")),
        ("select sum(order_cost) - sum(items_amount) from fact_orders", 0),
        ("select count(*) from fact_orders where session_id is null", 0),
        ("select count(*) from fact_order_items", 862),
        ("select sum(units) from fact_product", 2165),
        ("select count(*) from fact_product where oversold_units > 0", 12),
        ("select count(*) from fact_orders where is_late is null", 361 - 286),
        # Packages go out as late as the 13th: cut by them, a session would last for days.
        ("select max(session_minutes) < 60 from int_user_sessions", True),
    ],
)
def test_real_figures(greenery: Shop, question: str, answer: object):
    greenery.query("set search_path to analytics_next")
    assert greenery.value(question) == answer


@pytest.mark.parametrize("mart", MARTS)
def test_one_row_a_key(greenery: Shop, mart: str):
    key = greenery.value(
        "select column_name from information_schema.columns"
        f" where table_schema = 'analytics_next' and table_name = '{mart}' and ordinal_position = 1"
    )
    assert greenery.value(f"select count(*) = count(distinct {key}) from analytics_next.{mart}")


def test_every_column_of_the_warehouse_is_documented(greenery: Shop, manifest: Manifest):
    for node in (*models(manifest), *snapshots(manifest)):
        built = greenery.query(
            "select column_name from information_schema.columns where table_schema = %s and table_name = %s",
            node.schema,
            node.name,
        )
        assert {name for (name,) in built} == set(node.columns), node.name


def test_a_rebuild_after_the_snapshot_has_the_same_rows(dbt: Dbt, greenery: Shop):
    before = {name: greenery.rows(f"analytics_next.{name}") for name in MARTS}
    dbt("run", "--selector", "transform")
    assert {name: greenery.rows(f"analytics_next.{name}") for name in MARTS} == before
