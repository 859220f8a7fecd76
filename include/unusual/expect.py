"""What a series' own past makes likely on a day. Pure: docs/unusual.md says why it is so, and how well it does.

A rule foretells each past day from the days before it: the middle of the last two weeks, and what the weekday adds.
How far it was off on those days says how far off is usual. A second look compares the last seven days with the four
weeks before: a slow leak moves no single day far enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist

from include.unusual.series import Expected, Measure, Observation

# How many false alarms all series together may give in a quarter. The promise is one; half of it is left for what no
# distribution foretells.
FALSE_ALARMS, QUARTER = 0.25, 90
# Below four weeks nothing is told: each weekday was there four times.
LEAST_DAYS, LEAST_OF_A_WEEKDAY = 28, 4
LONGEST = 126  # days that are looked at
_LEVEL, _WEEK, _BEFORE = 14, 7, 28  # days
# What happened on two days before is not unusual, within this many usual errors.
_AGAIN = 2.5
# The day the month ends differs where it did so each time, and at least so often.
_MONTHS = 3

_COUNTS = frozenset({Measure.ROWS, Measure.NEW_VALUES})
_SHARES = frozenset({Measure.NULLS, Measure.SHARE})
_EXTREMES = frozenset({Measure.LEAST, Measure.GREATEST})
# Of these a week's level says nothing that a day does not.
_NO_WEEK = frozenset({Measure.LOADED, Measure.SECONDS, Measure.LEAST, Measure.GREATEST, Measure.NEW_VALUES})


@dataclass(frozen=True)
class _Scale:
    """Where the noise of a measure is alike on all days: values go `to` it and come `back`."""

    to: Callable[[float], float]
    back: Callable[[float], float]


_AS_IT_IS = _Scale(float, float)
_ROOT = _Scale(lambda x: math.sqrt(max(x, 0.0) + 0.375), lambda y: max(max(y, 0.0) ** 2 - 0.375, 0.0))
_LOG = _Scale(math.log, lambda y: math.exp(min(y, 700.0)))
_ARC = _Scale(
    lambda x: math.asin(math.sqrt(min(max(x, 0.0), 1.0))), lambda y: math.sin(min(max(y, 0.0), math.pi / 2)) ** 2
)


def expected(
    history: Sequence[Observation],
    day: date,
    measure: Measure,
    series_watched: int,
    *,
    rows: Mapping[date, float] | None = None,
    fine: Collection[date] = (),
) -> Expected | None:
    """What the days before `day` make likely on it; None while they are too few.

    `rows`: how many rows a share is of, by day. `fine`: days of which somebody said that they were to be expected.
    """
    past = Past.of(history, day, measure, rows, fine)
    return past.day(series_watched) if past else None


def score(value: float | None, expected: Expected) -> float:
    """How far outside of what is usual: up to 1 is within; 2 is as far again."""
    if value is None:
        return 0.0
    edge = expected.most if value > expected.middle else expected.least
    off, usual = abs(value - expected.middle), abs(edge - expected.middle)
    if not off:
        return 0.0
    return off / usual if usual else math.inf


@dataclass(frozen=True)
class Past:
    """The past of a series, prepared for both looks at `on`."""

    on: date
    measure: Measure
    scale: _Scale
    days: list[int]  # ordinals, of those that count
    values: list[float]  # on the scale, without what the weekday adds
    weekday: float  # what the weekday of `on` adds
    errors: list[float]  # of the rule, on each past day but the first ones
    wanders: bool  # yesterday says more than two weeks do
    level: float
    error: float  # the middle one
    spread: float
    floor: float  # the least spread that chance alone makes, on the scale
    again: tuple[float, float]  # the errors, down and up, that happened before and were fine

    @classmethod
    def of(
        cls,
        history: Sequence[Observation],
        on: date,
        measure: Measure,
        rows: Mapping[date, float] | None = None,
        fine: Collection[date] = (),
    ) -> Past | None:
        """None where too few days before `on` have a value."""
        first = on - timedelta(days=LONGEST)
        known = [(one.day, one.value) for one in history if first <= one.day < on and one.value is not None]
        if len(known) < LEAST_DAYS:
            return None
        if measure is Measure.DISTINCT:
            known = [(day, value) for day, value in known if value > 0]
        raw = [value for _, value in known]
        if len(raw) < LEAST_DAYS:
            return None
        scale = _scale(measure, raw)
        days = [day.toordinal() for day, _ in known]
        values = [scale.to(value) for value in raw]
        total = scale is _ROOT and _never_falls(raw)
        if total:
            scale, values = _AS_IT_IS, raw
        effects = None if total else _weekdays(days, values)
        weekday = 0.0
        if effects:
            if sum(one % 7 == on.toordinal() % 7 for one in days) < LEAST_OF_A_WEEKDAY:
                return None
            values = [value - effects[one % 7] for one, value in zip(days, values, strict=True)]
            weekday = effects[on.toordinal() % 7]
        steps = [later - earlier for earlier, later in itertools.pairwise(values)]
        errors = [values[n] - _middle(values[max(0, n - _LEVEL) : n]) for n in range(_LEVEL, len(values))]
        spread, of_steps = _spread(errors), _spread(steps)
        wanders = total or of_steps < 0.75 * spread
        if wanders:
            errors, spread = steps, of_steps
        error = _middle(errors)
        level = values[-1] if wanders else _middle(values[-_LEVEL:])
        return cls(
            on,
            measure,
            scale,
            days,
            values,
            weekday,
            errors,
            wanders,
            level,
            error,
            spread,
            _floor(measure, scale, level + weekday, error, total, (rows or {}).get(on)),
            _again(errors, days[-len(errors) :], error, {one.toordinal() for one in fine}),
        )

    def day(self, series_watched: int) -> Expected:
        """What is likely on the day."""
        gap = self.on.toordinal() - self.days[-1] if self.wanders else 1
        middle = self.level + self.weekday + self.error * gap + self._month_end()
        spread = max(self.spread, self.floor) * math.sqrt(gap)
        far = _far(series_watched, len(self.errors)) * spread
        below, above = (max(far, one + _AGAIN * spread) if one > 0 else far for one in self.again)
        return self._expected(middle, middle - below, middle + above)

    def week(self, value: float, series_watched: int) -> tuple[float, Expected] | None:
        """The level of the seven days up to and with `value`, and what the four weeks before them make likely.

        None where there are not enough weeks, or where the level wanders anyway.
        """
        if self.wanders or self.measure in _NO_WEEK or len(self.values) < _WEEK + _BEFORE + LEAST_DAYS // 2:
            return None
        values = [*self.values, self.scale.to(value) - self.weekday]
        changes = [_change(values, end) for end in range(_WEEK + _BEFORE, len(values) + 1)]
        before = changes[:-_WEEK]
        if len(before) < _WEEK:
            return None
        drift = _middle(before)
        middle = _middle(values[-_WEEK - _BEFORE : -_WEEK]) + drift
        spread = max(_spread(before), 0.6 * max(self.spread, self.floor))
        far = _far(series_watched, len(self.errors)) * spread
        expected = self._expected(middle, middle - far, middle + far)
        level = self.scale.back(_middle(values[-_WEEK:]))
        if self.scale is _ROOT:  # what grows is no leak
            expected = replace(expected, most=max(expected.most, level))
        return level, expected

    def _month_end(self) -> float:
        """What the last day of a month adds, where it always did."""
        if (self.on + timedelta(days=1)).day != 1:
            return 0.0
        ends = [
            error - self.error
            for day, error in zip(self.days[-len(self.errors) :], self.errors, strict=True)
            if date.fromordinal(day + 1).day == 1
        ]
        if len(ends) < _MONTHS or not (min(ends) > self.spread or max(ends) < -self.spread):
            return 0.0
        return _middle(ends)

    def _expected(self, middle: float, least: float, most: float) -> Expected:
        """Back from the scale, and never narrower than what matters to people."""
        back = self.scale.back
        center = back(middle)
        down, up = _material(self.measure, center)
        lowest, highest = min(back(least), center - down), max(back(most), center + up)
        if self.scale is not _AS_IT_IS:
            lowest = max(lowest, 0.0)
        if self.measure in _LIMITS:
            lowest, highest = max(lowest, 0.0), min(highest, _LIMITS[self.measure])
        return Expected(center, lowest, highest, len(self.values))


def _far(series_watched: int, errors: int) -> float:
    """How many usual errors are so many that chance makes them too seldom to be told: the more series, the more.

    Two looks at each series each day, two sides. Student's t, since the usual error is itself known from few days
    (Cornish and Fisher's first terms: exact enough here from 10 days on).
    """
    looks = 4 * QUARTER * max(series_watched, 1)
    z = NormalDist().inv_cdf(1 - FALSE_ALARMS / looks)
    freedom = 0.7 * errors
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _scale(measure: Measure, values: Sequence[float]) -> _Scale:
    if measure in _SHARES:
        return _ARC
    if measure in _COUNTS or (
        measure is Measure.VALUE and min(values) >= 0 and all(float(value).is_integer() for value in values)
    ):
        return _ROOT
    if measure in (Measure.HOURS, Measure.MIDDAY, Measure.LOADED) or min(values) <= 0:
        return _AS_IT_IS
    return _LOG


def _floor(measure: Measure, scale: _Scale, level: float, step: float, total: bool, rows: float | None) -> float:
    """The least that chance makes: Poisson's for counts, the binomial's for shares."""
    if total:
        return math.sqrt(max(abs(step), 1.0))
    if scale is _ROOT:
        return 0.5
    if measure in _SHARES:
        return 0.5 / math.sqrt(rows) if rows else 0.01
    if measure is Measure.HOURS:
        return max(0.5, math.sqrt(max(level * (24 - level), 0.0) / 24))
    if measure is Measure.MIDDAY:
        return 8.0 / math.sqrt(rows) if rows else 0.25
    return _LEAST_SPREAD.get(measure, 0.0)


_LEAST_SPREAD = {Measure.LOADED: 0.5, Measure.SECONDS: 0.2, Measure.DISTINCT: 0.01, Measure.MEAN: 0.01}
_LIMITS = {Measure.HOURS: 24.0, Measure.NULLS: 1.0, Measure.SHARE: 1.0, Measure.DISTINCT: 1.0}


def _material(measure: Measure, center: float) -> tuple[float, float]:
    """How far down and up is too little to be told."""
    if measure in _SHARES or measure is Measure.DISTINCT:
        least = max(0.02, 0.1 * min(center, 1 - center))
        return least, least
    match measure:
        case Measure.HOURS:
            return 3.0, 3.0
        case Measure.MIDDAY:
            return 0.75, 0.75
        case Measure.LOADED:
            return 3.0, 3.0
        case Measure.SECONDS:
            return center, 30.0 + 2 * center
        case Measure.LEAST | Measure.GREATEST:
            return abs(center) * 2 / 3, abs(center) * 2
    return abs(center) * 0.1, abs(center) * 0.1


def _never_falls(values: Sequence[float]) -> bool:
    """Whether these are totals, or never move: they fell on fewer than one day of thirty."""
    falls = sum(later < earlier for earlier, later in itertools.pairwise(values))
    return falls * 30 < len(values)


def _weekdays(days: Sequence[int], values: Sequence[float]) -> list[float] | None:
    """What each weekday adds to its week's middle, where weekdays differ by more than the noise."""
    around = [_middle(values[n - 3 : n + 4]) for n in range(3, len(values) - 3)]
    off = [value - middle for value, middle in zip(values[3:], around, strict=False)]
    by_weekday: list[list[float]] = [[] for _ in range(7)]
    for day, one in zip(days[3:], off, strict=False):
        by_weekday[day % 7].append(one)
    effects = [_middle(of_one) if of_one else 0.0 for of_one in by_weekday]
    left = [one - effects[day % 7] for day, one in zip(days[3:], off, strict=False)]
    fitted = math.sqrt(len(off) / max(len(off) - 6, 1))
    return effects if _spread(left) * fitted < 0.95 * _spread(off) else None


def _change(values: Sequence[float], end: int) -> float:
    """From the level of four weeks to that of the seven days after them."""
    start = end - _WEEK
    return _middle(values[start:end]) - _middle(values[start - _BEFORE : start])


def _again(errors: Sequence[float], days: Sequence[int], error: float, fine: set[int]) -> tuple[float, float]:
    """How far down and up was no fault: what happened on two days, or on one of which somebody said it was fine."""
    off = sorted(one - error for one in errors)
    said = [one - error for day, one in zip(days, errors, strict=True) if day in fine]
    return max([-off[1], *(-one for one in said)]), max([off[-2], *said])


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _spread(values: Sequence[float]) -> float:
    """The standard deviation about the middle, with what is beyond three of them drawn in."""
    middle = _middle(values)
    off = [abs(value - middle) for value in values]
    most = 3 * 1.4826 * _middle(off)
    if not most:  # more than half are the same
        most = math.inf
    return math.sqrt(sum(min(one, most) ** 2 for one in off) / len(off))
