"""Thirty days without a run, or ninety: the days after them are judged as if nothing had been, and faults are found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from random import Random

import pytest

from include.unusual.expect import Past, score
from include.unusual.observe import CAUGHT_UP
from include.unusual.series import LASTING, Measure, Observation, Series

pytestmark = pytest.mark.torture

SERIES_WATCHED, BEFORE, AFTER = 300, 120, 28
FIRST = date(2026, 1, 1)
WEEK = (1, 1, 0.9, 1.1, 1.2, 0.75, 1.05)


def orders_on(random: Random, day: date) -> float:
    """As many as chance brings a shop that differs by weekday and grows."""
    usual = 180 * WEEK[day.weekday()] * 1.005 ** ((day - FIRST).days // 7)
    return max(0.0, round(random.gauss(usual, usual**0.5)))


# What a day of each kind of series is.
DAYS: dict[Measure, Callable[[Random, date], float]] = {
    Measure.ROWS: orders_on,
    Measure.VALUE: lambda random, day: orders_on(random, day) * random.gauss(60, 1.5),
    Measure.MIDDAY: lambda random, _: random.gauss(13, 0.3),
    Measure.SHARE: lambda random, _: random.gauss(0.62, 0.03),
    Measure.MEAN: lambda random, _: random.gauss(60, 1.5),
    Measure.GREATEST: lambda random, _: random.gauss(400, 50),
}


def observed(measure: Measure, seed: int, missed: int, *, total: bool = False) -> list[Observation]:
    """A series with days on which no run came; the last of them were caught up, as far as rows don't change."""
    random, before = Random(seed), 1000.0  # noqa: S311 - the same days each time
    found = []
    for nth in range(BEFORE + missed + AFTER):
        day = FIRST + timedelta(days=nth)
        value = DAYS[measure](random, day)
        before += value
        late = BEFORE <= nth < BEFORE + missed
        if late and nth < BEFORE + missed - (0 if total else CAUGHT_UP):
            continue
        found.append(Observation(Series("x", measure), day, before if total else value, late))
    return found


def is_unusual(until: list[Observation], measure: Measure, value: float) -> bool:
    alike = [one for one in until[:-1] if measure in LASTING or one.afterwards == until[-1].afterwards]
    past = Past.of(alike, until[-1].day, measure)
    assert past
    week = past.week(value, SERIES_WATCHED)
    return score(value, past.day(SERIES_WATCHED)) > 1 or bool(week and score(*week) > 1)


@pytest.mark.parametrize(
    ("measure", "total"), [*((one, False) for one in DAYS), (Measure.ROWS, True), (Measure.VALUE, True)]
)
@pytest.mark.parametrize("missed", [30, 90])
def test_nothing_is_unusual_because_runs_were_missed(missed: int, measure: Measure, total: bool) -> None:
    for seed in range(5):
        found = observed(measure, seed, missed, total=total)
        for last in range(len(found) - AFTER, len(found)):
            assert not is_unusual(found[: last + 1], measure, found[last].value), found[last]


@pytest.mark.parametrize("missed", [30, 90])
def test_a_day_without_most_of_its_rows_is_unusual_on_the_first_morning(missed: int) -> None:
    found = observed(Measure.ROWS, 1, missed)
    first = len(found) - AFTER
    assert is_unusual(found[: first + 1], Measure.ROWS, found[first].value / 3)
