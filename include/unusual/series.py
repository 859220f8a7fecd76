"""What is watched: series of numbers about the data, one number a UTC day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from include.answers.answer import About


class Measure(StrEnum):
    """What the numbers of a series are. Shares are between 0 and 1."""

    ROWS = "rows"  # of a raw table: dated on the day; of a model, or a table whose rows have no date: all there are
    HOURS = "hours"  # of a raw table: in how many hours of the day there was a row
    MIDDAY = "midday"  # of a raw table: the middle of the day's rows, in hours after midnight UTC
    LOADED = "loaded"  # of a raw table: when the first load came after the day, in hours after midnight UTC
    NULLS = "nulls"  # of a column: share of the day's rows without a value
    DISTINCT = "distinct"  # of a column: distinct values / rows with a value
    SHARE = "share"  # of a column with few values: share of the day's rows that have the value `item`
    NEW_VALUES = "new_values"  # of such a column: how many of the day's values were never there before
    LEAST = "least"
    GREATEST = "greatest"
    MEAN = "mean"
    VALUE = "value"  # of a metric; what no dbt metric is called is the `item` of the mart that tells it
    SECONDS = "seconds"  # of a model: how long its build took


# Rows that were measured long after their day may have changed since in all but these.
LASTING = frozenset({Measure.ROWS, Measure.HOURS, Measure.MIDDAY, Measure.LOADED, Measure.SECONDS})


@dataclass(frozen=True, order=True)
class Series:
    """What is measured of what. `unique_id` is dbt's, of a source, a model, or a metric.

    `column` and `item` are empty where a measure has none.
    """

    unique_id: str
    measure: Measure
    column: str = ""
    item: str = ""

    def about(self, day: date | None = None) -> About:
        """The same as what an answer is about, on a day."""
        return About(self.unique_id, self.measure, self.column, self.item, day)


@dataclass(frozen=True)
class Observation:
    """A number of a series on a day; None where there was nothing to measure.

    `afterwards` where it was not measured by the day after, but later: rows change as orders are shipped, say.
    """

    series: Series
    day: date
    value: float | None
    afterwards: bool = False


@dataclass(frozen=True)
class Expected:
    """What a series' own past makes likely on a day: `middle`, and from `least` to `most` is usual.

    `days` is how many observations say so.
    """

    middle: float
    least: float
    most: float
    days: int


@dataclass(frozen=True)
class Unusual:
    """An observation that its series' past makes unlikely.

    `score` orders them: how far outside, the larger the worse. `since` is the first of the days in a row on which it
    was so, `day` itself where it is new. `because` is the series that explains it: told with that one and not by
    itself. `holds` where its owner wants no publish with it. `days`: `value` is the middle of so many days up to `day`,
    without what weekdays add; 7 where a slow change was found that no single day shows.
    """

    series: Series
    day: date
    value: float | None
    expected: Expected
    score: float
    since: date
    because: Series | None = None
    holds: bool = False
    days: int = 1
