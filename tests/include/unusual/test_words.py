"""A series and its values, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.unusual import words
from include.unusual.series import Expected, Measure, Series
from tests.include.results import project

EVENTS, MART, REVENUE = "source.p.shop.events", "model.p.fact_orders", "metric.p.revenue"
FACTS = replace(
    project.FACTS,
    nodes={MART: {**project.model(), "name": "fact_orders"}},
    sources={EVENTS: project.source("events")},
    metrics={REVENUE: {"name": "revenue", "label": "Revenue", "config": {"meta": {"unit": "dollars"}}}},
)


@pytest.mark.parametrize(
    ("series", "title", "value", "said"),
    [
        (Series(EVENTS, Measure.ROWS), "rows of raw.events", 1204.0, "1,204"),
        (Series(EVENTS, Measure.HOURS), "hours of the day with rows of raw.events", 24.0, "24"),
        (Series(EVENTS, Measure.MIDDAY), "middle of the day’s rows of raw.events", 13.999, "14:00"),
        (Series(EVENTS, Measure.LOADED), "arrival of raw.events", 29.675, "05:40 the next day"),
        (Series(EVENTS, Measure.NULLS, "product_id"), "events without product_id", 0.4104, "41.0 %"),
        (Series(EVENTS, Measure.DISTINCT, "session_id"), "distinct session_id of events", 0.5, "50.0 %"),
        (Series(EVENTS, Measure.SHARE, "type", "{<b>}"), "events with type {<b>}", 0.5, "50.0 %"),
        (Series(EVENTS, Measure.NEW_VALUES, "type"), "new values of type of events", 3.0, "3"),
        (Series(EVENTS, Measure.GREATEST, "price"), "greatest price of events", 12.5, "12.5"),
        (Series(EVENTS, Measure.MEAN, "price"), "mean price of events", 1.2604, "1.26"),
        (Series(EVENTS, Measure.LEAST, "price"), "least price of events", None, "nothing"),
        (Series(MART, Measure.ROWS), "rows of fact_orders", 12.0, "12"),
        (Series(MART, Measure.NULLS, "promo_id"), "rows of fact_orders without promo_id", 0.0, "0.0 %"),
        (Series(MART, Measure.SECONDS), "time to build fact_orders", 2.5, "2.50 s"),
        (Series(REVENUE, Measure.VALUE), "Revenue", 12345.67, "$12,346"),
        (Series("metric.p.gone", Measure.VALUE), "gone", 7.25, "7.25"),
        (Series("source.p.shop.gone", Measure.ROWS), "rows of gone", 7.0, "7"),
    ],
)
def test_a_series_and_its_values_are_told_in_words(series: Series, title: str, value: float | None, said: str) -> None:
    assert (words.title(series, FACTS), words.value(value, series, FACTS)) == (title, said)


def test_every_measure_has_words() -> None:
    assert all(words.title(Series(MART, measure, "a", "b"), FACTS) for measure in Measure)


@pytest.mark.parametrize(
    ("series", "least", "most", "said"),
    [
        (Series(EVENTS, Measure.ROWS), 31.4, 48.6, "32 to 48"),
        (Series(EVENTS, Measure.ROWS), 3.2, 3.8, "3.2 to 3.8"),
        (Series(EVENTS, Measure.HOURS), 24.0, 24.0, "24"),
        (Series(EVENTS, Measure.NULLS, "product_id"), 0.18, 0.23, "18.0 to 23.0 %"),
        (Series(EVENTS, Measure.LOADED), 4.5, 5.75, "04:30 to 05:45"),
        (Series(EVENTS, Measure.LOADED), 28.5, 29.75, "04:30 to 05:45 the next day"),
        (Series(EVENTS, Measure.LOADED), 23.5, 24.25, "23:30 to 00:15 the next day"),
        (Series(MART, Measure.SECONDS), 2.0, 3.0, "2.00 to 3.00 s"),
        (Series(REVENUE, Measure.VALUE), 1000.0, 2000.0, "$1,000 to $2,000"),
    ],
)
def test_what_is_usual_is_told_from_the_least_to_the_most(series: Series, least: float, most: float, said: str) -> None:
    assert words.usual(Expected(least, least, most, 30), series, FACTS) == said
