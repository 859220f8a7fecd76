"""One whole build on Greenery's real data, and the figures that everybody knows of it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from dbt.contracts.graph.manifest import Manifest

from include.results.figures import open_days
from tests.dbt.conftest import Dbt, Shop
from tests.dbt.real_figures import RealFigures
from tests.dbt.test_project import daily_metrics, history, marts, models, snapshots

pytestmark = pytest.mark.db


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


@pytest.fixture(scope="module")
def figures(real_data: Path) -> RealFigures:
    """The same shop, counted in Python."""
    return RealFigures(real_data)


def test_one_row_a_key(greenery: Shop, manifest: Manifest):
    keys = {mart.name: next(iter(mart.columns)) for mart in marts(manifest)}
    counts = {
        mart: greenery.query(f"select count(*), count(distinct {key}) from analytics_next.{mart}")[0]
        for mart, key in keys.items()
    }
    assert {mart: count for mart, count in counts.items() if count[0] != count[1]} == {}


def test_every_column_of_the_warehouse_is_documented(greenery: Shop, manifest: Manifest):
    for node in (*models(manifest), *snapshots(manifest)):
        built = greenery.query(
            "select column_name from information_schema.columns where table_schema = %s and table_name = %s",
            node.schema,
            node.name,
        )
        assert {name for (name,) in built} == set(node.columns), node.name


def test_a_rebuild_after_the_snapshot_has_the_same_rows(dbt: Dbt, greenery: Shop, manifest: Manifest):
    names = {mart.name for mart in marts(manifest)} - history(manifest)
    before = {name: greenery.rows(f"analytics_next.{name}") for name in names}
    dbt("run", "--selector", "transform")
    assert {name: greenery.rows(f"analytics_next.{name}") for name in names} == before


def test_the_indicators_tell_124_buyers_and_how_many_had_no_time_to_come_back(greenery: Shop):
    assert greenery.query(
        "select come_back_days, buyers_total, buyers_without_time, buyers, repeat_buyers"
        " from analytics_next.repeat_purchase_indicators where indicator = 'all buyers' order by 1"
    ) == [(1, 124, 27, 97, 70), (7, 124, 124, 0, 0), (30, 124, 124, 0, 0)]


@pytest.mark.parametrize("days", [1, 7])
def test_the_indicators_are_what_the_files_say(greenery: Shop, figures: RealFigures, days: int):
    rows = greenery.query(
        "select indicator, value, buyers_total, buyers, repeat_buyers, buyers_without_time"
        " from analytics_next.repeat_purchase_indicators where come_back_days = %s and indicator <> 'first delivery'",
        days,
    )
    assert {(indicator, value): tuple(counts) for indicator, value, *counts in rows} == {
        key: (told.total, told.counted, told.repeat, told.total - told.counted)
        for key, told in figures.indicators(days).items()
    }


def test_rates_have_their_interval_and_their_lift(greenery: Shop, figures: RealFigures):
    rows = greenery.query(
        "select indicator, value, repeat_rate::float, repeat_rate_low::float, repeat_rate_high::float, lift::float"
        " from analytics_next.repeat_purchase_indicators"
        " where come_back_days = 1 and buyers > 0 and indicator <> 'first delivery'"
    )
    told = figures.indicators(1)
    everybody = told["all buyers", "all buyers"]
    assert len(rows) > 40
    for indicator, value, *numbers in rows:
        of_value = told[indicator, value]
        rate = of_value.repeat / of_value.counted
        expected = [rate, *of_value.interval, rate / (everybody.repeat / everybody.counted)]
        assert numbers == pytest.approx(expected, abs=0.0001), value


def test_no_first_order_was_delivered_a_day_before_the_end(greenery: Shop):
    """So nothing can be said of late deliveries yet, and the table says that of all 124."""
    assert greenery.query(
        "select sum(buyers_total), sum(buyers) from analytics_next.repeat_purchase_indicators"
        " where indicator = 'first delivery' and value <> 'all buyers' and come_back_days = 1"
    ) == [(124, 0)]


def test_there_is_one_row_a_metric_and_day(greenery: Shop, manifest: Manifest):
    metrics = len(daily_metrics(manifest))
    assert greenery.query(
        "select count(*), count(distinct metric), count(distinct day), min(day), max(day)"
        " from analytics_next.daily_metrics"
    ) == [(metrics * 411, metrics, 411, date(2020, 1, 5), date(2021, 2, 18))]


@pytest.mark.parametrize("day", [date(2020, 1, 5), date(2021, 2, 8), *(date(2021, 2, n) for n in range(9, 19))])
def test_the_metrics_of_a_day_are_what_the_files_say(greenery: Shop, figures: RealFigures, day: date):
    told = dict(greenery.query("select metric, value from analytics_next.daily_metrics where day = %s", day))
    expected = figures.daily(day)
    assert told.keys() == expected.keys()
    for metric, value in expected.items():
        if value is None:
            assert told[metric] is None, metric
        else:
            assert float(told[metric]) == pytest.approx(float(value), abs=0.0001), metric


def test_the_day_that_a_message_tells_is_that_of_the_last_order_or_visit(greenery: Shop, figures: RealFigures):
    greenery.query("create schema analytics create view daily_metrics as table analytics_next.daily_metrics")
    told = open_days(greenery.connection, None)
    greenery.query("drop schema analytics cascade")
    assert told == (date(2021, 2, 9), date(2021, 2, 11))
    assert told[1] == figures.observed_until.date()


def test_a_metric_is_its_numerator_by_its_denominator(greenery: Shop):
    greenery.query("set search_path to analytics_next")
    assert greenery.query(
        "select numerator, denominator, value from daily_metrics where metric = 'repeat_rate' and day = '2021-02-11'"
    ) == [(99, 124, Decimal("0.7984"))]


def test_the_funnel_is_what_the_files_say(greenery: Shop, figures: RealFigures):
    rows = greenery.query(
        "select product_id, day, sessions_viewed, sessions_added, sessions_bought"
        " from analytics_next.product_funnel_daily"
    )
    assert {(product, day): tuple(steps) for product, day, *steps in rows} == figures.funnel()


def test_a_first_run_saw_no_order_change_and_no_product_out_of_stock(greenery: Shop):
    for mart in ("order_status_changes", "product_stock_outs"):
        assert greenery.value(f"select count(*) from analytics_next.{mart}") == 0


def test_from_week_one_to_week_two_three_orders_were_shipped(dbt: Dbt, greenery: Shop):
    """The last test of this shop, since it lets a week pass."""
    greenery.query(
        "update raw.orders set status = 'shipped', shipping_service = 'ups', tracking_id = 'tracked',"
        " estimated_delivery_at = '2021-02-19 00:00:00+00'"
        " where substr(order_id, 1, 8) in ('914b8929', '05202733', '939767ac')"
    )
    dbt("build", "--select", "orders_snapshot", "order_status_changes", "--exclude-resource-type", "unit_test")
    assert greenery.query(
        "select substr(order_id, 1, 8), what_changed, from_status, to_status, tracking_id, shipping_service,"
        " estimated_delivery_at::text from analytics_next.order_status_changes order by 1"
    ) == [
        (order, "status", "preparing", "shipped", "tracked", "ups", "2021-02-19 00:00:00")
        for order in ("05202733", "914b8929", "939767ac")
    ]
