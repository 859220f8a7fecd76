"""One series: its values by day, what was usual on each, and what was told and answered."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, timedelta

from include.answers import answers
from include.answers.answer import Answer, Kind
from include.dbt_project import watched as said_of
from include.dbt_project.watched import Consequence
from include.results.unusual import is_personal
from include.unusual import find, words
from include.unusual.series import Expected, Measure, Observation, Series
from plugins.data_health import charts, nodes, observed
from plugins.data_health.reading import Reading


@dataclass(frozen=True)
class DayOfSeries:
    """A UTC day: its value, and what its past made likely, None while there was too little. The same in words.

    `is_unusual`: a run told so. `answers` are what people answered about it: "expected by ada: Black Friday".
    """

    day: date
    value: float | None
    expected: Expected | None
    said: str
    usual: str
    is_unusual: bool
    answers: tuple[str, ...]


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
    known = sum(one.value is not None for one in observations)
    return OneSeries(
        series=series,
        title=words.title(series, facts),
        of=words.subject(about, facts),
        page=names.get(about),
        consequence=said_of.consequence(facts, about, column),
        since=observations[0].day,
        speaks_from=observed.speaks_from(newest, known),
        days=days,
        values=of_days(reading, observations, newest - timedelta(days=days - 1)),
        axis=charts.axis_of(series, facts),
    )


def of_days(reading: Reading, observations: tuple[Observation, ...], first: date) -> tuple[DayOfSeries, ...]:
    """The days of a series from one on; `observations` are all that there are of it."""
    series, facts = observations[0].series, reading.facts
    answered, told = _answered(reading, series), find.of_series(reading.connection, series)
    fine = {day for day, found in answered.items() if any(one.kind is Kind.EXPECTED for one in found)}
    rows = observed.rows_by_day(reading, series.unique_id)
    usual = observed.bands(observations, first, told, fine, observed.count(reading), rows)
    usual |= {one.day: one.expected for one in told if one.days == 1}
    unusual = {one.day for one in told}
    return tuple(
        DayOfSeries(
            day=one.day,
            value=one.value,
            expected=usual.get(one.day),
            said=words.value(one.value, series, facts),
            usual=words.usual(usual[one.day], series, facts) if usual.get(one.day) else "",
            is_unusual=one.day in unusual,
            answers=tuple(map(_in_words, answered[one.day])),
        )
        for one in observations
        if one.day >= first
    )


def _answered(reading: Reading, series: Series) -> dict[date, list[Answer]]:
    """What people answered to a series, by the day that it was about, or else by the day on which they did."""
    found: dict[date, list[Answer]] = defaultdict(list)
    for kept in answers.kept(reading.connection):
        one = kept.answer
        if answers.is_about(one, series.unique_id, measure=series.measure, column=series.column, item=series.item):
            found[one.about.day or one.answered_at.astimezone(UTC).date()].append(one)
    return found


def _in_words(one: Answer) -> str:
    until = f" until {one.until:%-d %b %Y}" if one.until else ""
    return f"{one.kind}{until}, by {one.by}: {one.reason}"
