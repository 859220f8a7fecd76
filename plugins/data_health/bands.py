"""The days of a series, each with the band of what was usual on it, and with what was told and answered."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from threading import Lock

from cachetools import LRUCache, cached

from include.answers import answers
from include.answers.answer import Kind
from include.answers.answers import Kept
from include.unusual import expect, find, words
from include.unusual.series import Expected, Observation, Series, Unusual
from plugins.data_health import observed
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


def of_days(reading: Reading, observations: tuple[Observation, ...], first: date) -> tuple[DayOfSeries, ...]:
    """The days of a series from one on; `observations` are all that there are of it."""
    series, facts = observations[0].series, reading.facts
    answered, told = _answered(reading, series), find.of_series(reading.connection, series)
    fine = {day for day, found in answered.items() if any(map(_says_fine, found))}
    rows = observed.rows_by_day(reading, series.unique_id)
    usual = _bands(observations, first, told, fine, observed.count(reading), rows)
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


def of_newest(reading: Reading, series: Series, days: int) -> tuple[DayOfSeries, ...]:
    """The last so many days of a series; () where nothing was observed of it."""
    observations = observed.values(reading, series)
    return of_days(reading, observations, observations[-1].day - timedelta(days=days - 1)) if observations else ()


def _answered(reading: Reading, series: Series) -> dict[date, list[Kept]]:
    """What people answered to a series, by the day that it was about, or else by the day on which they did."""
    found: dict[date, list[Kept]] = defaultdict(list)
    for kept in answers.kept(reading.connection):
        one = kept.answer
        if answers.is_about(one, series.about()):
            found[one.about.day or one.answered_at.astimezone(UTC).date()].append(kept)
    return found


def _says_fine(kept: Kept) -> bool:
    return kept.answer.kind is Kind.EXPECTED and kept.end is None


def _in_words(kept: Kept) -> str:
    one = kept.answer
    until = f" until {one.until:%-d %b %Y}" if one.until else ""
    ended = f" (ended by {kept.end.ended_by})" if kept.end else ""
    return f"{one.kind}{until}, by {one.by}: {one.reason}{ended}"


def _bands(
    observations: tuple[Observation, ...],
    first: date,
    told: tuple[Unusual, ...],
    fine: Collection[date],
    series_watched: int,
    rows: Mapping[date, float],
) -> dict[date, Expected]:
    """What was usual on each day from one on, as it is judged; not of days with too little before. See `find.usual`."""
    found = {}
    series = repr(observations[0].series)
    known = [repr((one.day, one.value, one.afterwards)) for one in observations]
    said = [(one, repr(one)) for one in told]
    for number, one in enumerate(observations):
        if one.day >= first:
            begin = max(0, number - expect.LONGEST)
            told_then = [(each, text) for each, text in said if each.day < one.day]
            fine_then = sorted(day for day in fine if day < one.day)
            usual = _usual(
                _digest(
                    series,
                    *known[begin : number + 1],
                    *(text for _, text in told_then),
                    *map(str, fine_then),
                    str(series_watched),
                    str(rows.get(one.day)),
                ),
                observations[begin : number + 1],
                [each for each, _ in told_then],
                fine_then,
                series_watched,
                {one.day: rows[one.day]} if one.day in rows else {},
            )
            if usual:
                found[one.day] = usual
    return found


def _digest(*of: str) -> bytes:
    return hashlib.blake2b("\n".join(of).encode(), digest_size=16).digest()


# By a digest of the rest: the rest itself, which each look reads anew, would be 17 kB a day.
@cached(LRUCache(8192), key=lambda key, *_: key, lock=Lock())
def _usual(
    _key: bytes,
    observations: Sequence[Observation],
    told: Sequence[Unusual],
    fine: Collection[date],
    series_watched: int,
    rows: Mapping[date, float],
) -> Expected | None:
    """What was usual on the last day. That takes a millisecond or two, and the past does not change: it is kept."""
    return find.usual(observations, told, fine, series_watched, rows)
