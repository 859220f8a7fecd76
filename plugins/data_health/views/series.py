"""One series: its values by day, what was usual on each, and what was told and answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from include.dbt_project import watched as said_of
from include.dbt_project.watched import Consequence
from include.results.unusual import is_personal
from include.unusual import words
from include.unusual.series import Measure, Series
from plugins.data_health import bands, charts, nodes, observed
from plugins.data_health.bands import DayOfSeries
from plugins.data_health.reading import Reading


@dataclass(frozen=True)
class OneSeries:
    """A series over the last so many days, the first one first. `page` names the page of what it is of.

    `since` is the first UTC day that was ever observed, `speaks_from` the one from which it is judged; None where it
    is already. `axis` is how the axis of its chart says the values.
    """

    series: Series
    title: str
    of: str
    page: str | None
    consequence: Consequence
    since: date
    speaks_from: date | None
    days: int
    values: tuple[DayOfSeries, ...]
    axis: str

    @property
    def unusual(self) -> tuple[DayOfSeries, ...]:
        """The days that were told as unusual."""
        return tuple(one for one in self.values if one.is_unusual)


def read(reading: Reading, days: int, about: str, measure: Measure, column: str = "", item: str = "") -> OneSeries:
    """A series by its parts. Raises LookupError where nothing was observed of it, or where it may not be shown."""
    facts, series = reading.facts, Series(about, measure, column, item)
    observations = () if is_personal(series, facts) else observed.values(reading, series)
    if not observations:
        raise LookupError(f"Nothing was observed of {words.title(series, facts)}.")
    newest, names = observations[-1].day, nodes.relations(facts)
    watched = next((one for one in observed.watched(reading, about) if one.series == series), None)
    return OneSeries(
        series=series,
        title=words.title(series, facts),
        of=words.subject(about, facts),
        page=names.get(about),
        consequence=said_of.consequence(facts, about, column),
        since=observations[0].day,
        speaks_from=watched.speaks_from if watched else None,
        days=days,
        values=bands.of_days(reading, observations, newest - timedelta(days=days - 1)),
        axis=charts.axis_of(series, facts),
    )
