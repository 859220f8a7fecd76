"""A series in words: what it is called, and its values in their unit. An `item` is a value of rows: escape it."""

from __future__ import annotations

import math

from include import words
from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest
from include.unusual.series import Expected, Measure, Series
from include.words import Unit

_TITLES = {
    Measure.ROWS: "rows of {of}",
    Measure.HOURS: "hours of the day with rows of {of}",
    Measure.MIDDAY: "middle of the day’s rows of {of}",
    Measure.LOADED: "arrival of {of}",
    Measure.NULLS: "{rows} without {column}",
    Measure.DISTINCT: "distinct {column} of {rows}",
    Measure.SHARE: "{rows} with {column} {item}",
    Measure.NEW_VALUES: "new values of {column} of {rows}",
    Measure.LEAST: "least {column} of {rows}",
    Measure.GREATEST: "greatest {column} of {rows}",
    Measure.MEAN: "mean {column} of {rows}",
    Measure.SECONDS: "time to build {of}",
}
SHARES = frozenset({Measure.NULLS, Measure.DISTINCT, Measure.SHARE})
COUNTS = frozenset({Measure.ROWS, Measure.HOURS, Measure.NEW_VALUES})
# Hours after midnight UTC.
TIMES_OF_DAY = frozenset({Measure.MIDDAY, Measure.LOADED})


def title(series: Series, facts: Manifest) -> str:
    """What a series is called: "rows of raw.orders", "events without product_id", "Revenue"."""
    if series.measure is Measure.VALUE:
        return series.item or metrics.one(series.unique_id, facts).label
    source = facts.sources.get(series.unique_id)
    of = facts.title(series.unique_id)
    rows = source["name"] if source else f"rows of {of}"
    return _TITLES[series.measure].format(of=of, rows=rows, column=series.column, item=series.item)


def subject(unique_id: str, facts: Manifest) -> str:
    """What a series is of: a table, a model, or a metric by its label."""
    metric = unique_id.startswith("metric.")
    return metrics.one(unique_id, facts).label if metric else facts.title(unique_id)


def value(value: float | None, series: Series, facts: Manifest) -> str:
    """A value of a series in its unit: "1,204", "41.0 %", "05:40", "$12,345", "2.50 s"."""
    if value is None:
        return "nothing"
    if series.measure in SHARES:
        return words.percent(value)
    if series.measure in TIMES_OF_DAY:
        return _time_of_day(value)
    if series.measure is Measure.SECONDS:
        return words.duration(value)
    unit = unit_of(series, facts)
    if unit is Unit.NUMBER and not float(value).is_integer() and abs(value) < 10:  # a mean of 1.26 is not one of 1.3
        return f"{value:,.3g}"
    return words.figure(value, unit)


def usual(expected: Expected, series: Series, facts: Manifest) -> str:
    """What is usual, from the least to the most: "31 to 48", "18.0 to 23.0 %", "24" where it is always the same."""
    least, most = expected.least, expected.most
    if series.measure in COUNTS and math.ceil(least) <= math.floor(most):  # 31 is less than 31.4: 32 is usual
        least, most = math.ceil(least), math.floor(most)
    first, last = (value(one, series, facts) for one in (least, most))
    if first == last:
        return first
    number, _, unit = first.partition(" ")
    return f"{number if unit == last.partition(' ')[2] else first} to {last}"


def unit_of(series: Series, facts: Manifest) -> Unit:
    """In what the values are, where that is no time."""
    if series.measure in SHARES:
        return Unit.PERCENT
    return metrics.one(series.unique_id, facts).unit if series.measure is Measure.VALUE else Unit.NUMBER


def _time_of_day(hours: float) -> str:
    minutes = round(hours * 60)
    days, of_day = divmod(minutes, 24 * 60)
    clock = f"{of_day // 60:02}:{of_day % 60:02}"
    match days:
        case 0:
            return clock
        case 1:
            return f"{clock} the next day"
    return f"{clock} {words.count(abs(days), 'day')} {'later' if days > 0 else 'before'}"
