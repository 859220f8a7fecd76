"""What a series' own past makes likely on a day. Pure: docs/unusual.md says why it is so, and how well it does.

A rule foretells each past day from the days before it: the middle of the last four weeks, and what the weekday adds.
How far it was off on those days says how far off is usual. A second look compares the last seven days with the weeks
before: a slow leak moves no single day far enough.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from statistics import NormalDist, median

from include.unusual.series import Expected, Measure, Observation

# How many false alarms all series together may give in a quarter. The promise is one; the rest is left for what no
# distribution foretells.
FALSE_ALARMS, QUARTER = 0.25, 90
# Below four weeks nothing is told: each weekday was there four times.
LEAST_DAYS, LEAST_OF_A_WEEKDAY = 28, 4
LONGEST = 126  # days that are looked at
_LEVEL = 28  # days
# Of a young shop nothing is told for so many days; days on which it was so many times smaller were another shop's.
YOUNG, _OTHER_TIMES = 14, 5
# A week is compared with the six weeks, at least three, that ended a week before it: a leak is slow.
_WEEK, _BETWEEN, _BEFORE, _LEAST_BEFORE = 7, 7, 42, 21
# What happened on two days before, or on one, is not unusual when it comes again and so many usual errors more.
_AGAIN, _ONCE = 2.5, 1.0
# Of fewer days both sides are taken together: half of them would say too little of each.
_FEW = 56
# How much wider noise may be above the middle than below it, and the other way round; what is more is campaigns.
_WIDER = 1.25
_CHANGES = 3  # of weeks before, at least
# How much less the level of a week strays than a day: days are not quite independent.
_OF_A_WEEK = 0.5
# The day the month ends differs where it did so each time, and at least so often.
_MONTHS = 3

_COUNTS = frozenset({Measure.ROWS, Measure.NEW_VALUES})
_SHARES = frozenset({Measure.NULLS, Measure.SHARE})
# What is late or slow may be so by far.
_SKEWED = frozenset({Measure.LOADED, Measure.SECONDS, Measure.LEAST, Measure.GREATEST})
# Of these a week's level says nothing that a day does not.
_NO_WEEK = frozenset({Measure.LOADED, Measure.SECONDS, Measure.LEAST, Measure.GREATEST, Measure.NEW_VALUES})


@dataclass(frozen=True)
class _Scale:
    """Where the noise of a measure is alike on all days: values go `to` it and come `back`."""

    to: Callable[[float], float]
    back: Callable[[float], float]


_AS_IT_IS = _Scale(float, float)
_ROOT = _Scale(lambda x: math.sqrt(max(x, 0.0) + 0.375), lambda y: max(max(y, 0.0) ** 2 - 0.375, 0.0))
_LOG = _Scale(lambda x: math.log(max(x, 1e-9)), lambda y: math.exp(min(y, 700.0)))
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
    wanders: bool  # yesterday says more than four weeks do
    level: float
    error: float  # the middle one
    spread: tuple[float, float]  # of the errors, down and up
    floor: float  # the least spread that chance alone makes, on the scale
    fine: set[int]  # ordinals of days that somebody said were to be expected

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
        if measure is Measure.DISTINCT:
            known = [(day, value) for day, value in known if value > 0]
        if measure in (Measure.ROWS, Measure.VALUE):
            known = known[_begin([value for _, value in known]) :]
        raw = [value for _, value in known]
        if len(raw) < LEAST_DAYS:
            return None
        scale = _scale(measure, raw)
        days = [day.toordinal() for day, _ in known]
        values = [scale.to(value) for value in raw]
        if measure is Measure.DISTINCT and rows and rows.get(on):
            values = _distinct(known, values, rows, rows[on])
        counts = scale is _ROOT
        total = (counts or (measure is Measure.VALUE and raw[0] < raw[-1])) and _never_falls(raw)
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
        levels = [] if total else _middles(values, _LEVEL)
        errors = steps if total else [values[n] - levels[n - 1] for n in range(7, len(values))]
        # A leak looks like it, so not by the last two weeks.
        until = max(LEAST_DAYS, len(values) - _BETWEEN - _WEEK)
        wanders = total or _spread(steps[: until - 1]) < 0.75 * _spread(errors[: until - 7])
        if wanders:
            errors = steps
        error = median(errors)
        level = values[-1] if wanders else levels[-1]
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
            _spreads(errors, alike=measure not in _SKEWED),
            _floor(measure, scale, error, total and counts, (rows or {}).get(on)),
            {one.toordinal() for one in fine},
        )

    def day(self, series_watched: int) -> Expected:
        """What is likely on the day."""
        gap = self.on.toordinal() - self.days[-1] if self.wanders else 1
        middle = self.level + self.weekday + self.error * gap + self._month_end()
        few = self.measure not in _SKEWED and len(self.errors) < _FEW
        far = _far(series_watched, len(self.errors) / (1 if few else 2))
        spreads = [max(one, self.floor) * math.sqrt(gap) for one in self.spread]
        of = self.days[-len(self.errors) :]
        below = _again([-one for one in self.errors], of, -self.error, self.fine, spreads[0])
        above = _again(self.errors, of, self.error, self.fine, spreads[1])
        below, above = max(below, far * spreads[0]), max(above, far * spreads[1])
        return self._expected(middle, middle - below, middle + above)

    def week(self, value: float, series_watched: int) -> tuple[float, Expected] | None:
        """The level of the seven days up to and with `value`, and what the weeks before them make likely.

        None where there are not enough weeks, or where the level wanders anyway.
        """
        if self.wanders or self.measure in _NO_WEEK:
            return None
        values = [*self.values, self.scale.to(value) - self.weekday]
        newest, least = len(values), _LEAST_BEFORE + _BETWEEN + _WEEK
        # Not those of the last two weeks, in which it may have leaked already. Each third one: they are much alike.
        before = [_change(values, end) for end in range(newest - _BETWEEN - _WEEK, least - 1, -3)]
        if len(before) < _CHANGES:
            return None
        change = median(before)
        middle = _before(values, newest) + change
        errors = self.errors[: -_BETWEEN - _WEEK]
        far = _far(series_watched / _WEEK, len(errors))
        below, above = (
            far * max(of_changes, _OF_A_WEEK * max(of_days, self.floor))
            for of_changes, of_days in zip(
                _spreads(before, alike=True, few=0), _spreads(errors, alike=True), strict=True
            )
        )
        expected = self._expected(middle, middle - below, middle + above)
        level = self.scale.back(_level(values[-_WEEK:]))
        if self.measure in _LIMITS:
            level = min(max(level, 0.0), _LIMITS[self.measure])
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
        down, up = self.spread
        if len(ends) < _MONTHS or not (min(ends) > up or max(ends) < -down):
            return 0.0
        return median(ends)

    def _expected(self, middle: float, least: float, most: float) -> Expected:
        """Back from the scale, and never narrower than what matters to people."""
        back = self.scale.back
        center = back(middle)
        down, up = _material(self.measure, center)
        if self.scale is _ROOT or self.measure is Measure.VALUE:
            up = max(up, _MORE * abs(center))
        lowest, highest = min(back(least), center - down), max(back(most), center + up)
        if self.scale is not _AS_IT_IS:
            lowest = max(lowest, 0.0)
        if self.measure in _LIMITS:
            limit = _LIMITS[self.measure]
            center, lowest, highest = min(max(center, 0.0), limit), min(max(lowest, 0.0), limit), min(highest, limit)
        return Expected(center, lowest, highest, len(self.values))


@lru_cache(maxsize=4096)
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


def _distinct(
    known: Sequence[tuple[date, float]], values: list[float], rows: Mapping[date, float], now: float
) -> list[float]:
    """A share of distinct values, as it would be with as many rows as on the day.

    30 products are 30 on a busy day, too. How much the share falls with more rows is learned: not at all for keys, as
    much as there are more rows for a small set.
    """
    busy = [math.log((rows.get(day) or now) / now) for day, _ in known]
    middle, level = median(busy), median(values)
    varies = sum((one - middle) ** 2 for one in busy)
    slope = sum((one - middle) * (value - level) for one, value in zip(busy, values, strict=True)) / (varies or 1.0)
    slope = min(max(slope, -1.0), 0.0)
    return [value - slope * one for one, value in zip(busy, values, strict=True)]


def _floor(measure: Measure, scale: _Scale, step: float, total: bool, rows: float | None) -> float:
    """The least that chance makes: Poisson's for counts, the binomial's for shares."""
    if total:
        return math.sqrt(max(abs(step), 1.0))
    if scale is _ROOT:
        return 0.5
    if measure in _SHARES:
        return 0.5 / math.sqrt(rows) if rows else 0.01
    if measure is Measure.HOURS:
        return 0.75
    if measure is Measure.MIDDAY:
        return 8.0 / math.sqrt(rows) if rows else 0.25
    if scale is _AS_IT_IS and measure in (Measure.LEAST, Measure.GREATEST):
        return 1.0  # of what was always 0 nothing is a part
    return _LEAST_SPREAD.get(measure, 0.0)


# More is what a shop wants: below half as much again it is not told. Rows that came twice show in
# their distinct values.
_MORE = 0.5
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
            return 6.0, 6.0
        case Measure.SECONDS:
            return center, 30.0 + 2 * center
        case Measure.LEAST | Measure.GREATEST:
            return abs(center) * 2 / 3, abs(center) * 2
    return abs(center) * 0.1, abs(center) * 0.1


def _never_falls(values: Sequence[float]) -> bool:
    """Whether these are totals, or never move: they fell on fewer than one day of thirty."""
    falls = sum(later < earlier for earlier, later in itertools.pairwise(values))
    return falls * 30 < len(values)


def _begin(values: Sequence[float]) -> int:
    """Where the days begin that were like the last ones: before it a shop had not opened, or was five times smaller.

    Of what is a total, by its steps.
    """
    if len(values) < LEAST_DAYS:
        return 0
    if _never_falls(values):
        values = [later - earlier for earlier, later in itertools.pairwise(values)]
    now = median(values[-YOUNG:])
    if now <= 1:
        return 0
    for end in range(len(values) - 1, YOUNG - 1, -1):
        if _OTHER_TIMES * median(values[end - YOUNG : end]) < now:
            return end - YOUNG // 2 + 1
    return 0


def _weekdays(days: Sequence[int], values: Sequence[float]) -> list[float] | None:
    """What each weekday adds to its week's middle, where weekdays differ by more than the noise."""
    around = _middles(values, 7)[6:]
    off = [value - middle for value, middle in zip(values[3:], around, strict=False)]
    by_weekday: list[list[float]] = [[] for _ in range(7)]
    for day, one in zip(days[3:], off, strict=False):
        by_weekday[day % 7].append(one)
    effects = [median(of_one) if of_one else 0.0 for of_one in by_weekday]
    left = [one - effects[day % 7] for day, one in zip(days[3:], off, strict=False)]
    fitted = math.sqrt(len(off) / max(len(off) - 6, 1))
    return effects if _spread(left) * fitted < 0.95 * _spread(off) else None


def _before(values: Sequence[float], end: int) -> float:
    """The level of the weeks that a week is compared with."""
    stop = end - _WEEK - _BETWEEN
    return median(values[max(stop - _BEFORE, 0) : stop])


def _change(values: Sequence[float], end: int) -> float:
    """From there to the level of the week."""
    return _level(values[end - _WEEK : end]) - _before(values, end)


def _again(errors: Sequence[float], days: Sequence[int], error: float, fine: set[int], spread: float) -> float:
    """How far up (down, with all signs turned) was no fault, as a day of the past and a bit more.

    What happened on two days may be more so; on one day, or on one of which somebody said it was fine, as much so.
    """
    off = sorted(one - error for one in errors)
    said = [one - error for day, one in zip(days, errors, strict=True) if day in fine]
    return max(off[-2] + _AGAIN * spread, off[-1] + _ONCE * spread, *(one + _AGAIN * spread for one in said))


def _middles(values: Sequence[float], most: int) -> list[float]:
    """The middle of each value and those before it, so many at most."""
    window, found = [], []
    for n, value in enumerate(values):
        if n >= most:
            del window[bisect_left(window, values[n - most])]
        insort(window, value)
        half = len(window) // 2
        found.append(window[half] if len(window) % 2 else (window[half - 1] + window[half]) / 2)
    return found


def _level(week: Sequence[float]) -> float:
    """The mean of a week without its least and greatest day."""
    return sum(sorted(week)[1:-1]) / (len(week) - 2)


def _spreads(values: Sequence[float], *, alike: bool, few: int = _FEW) -> tuple[float, float]:
    """The same below and above the middle: campaigns make a shop busier, and say nothing of how slow it can be.

    Where noise is `alike` on both sides the wider one is more than noise, and counts for a quarter more at most.
    """
    middle = median(values)
    if alike and len(values) < few:
        return (_spread_about(middle, values),) * 2
    below = _spread_about(middle, [one for one in values if one < middle])
    above = _spread_about(middle, [one for one in values if one > middle])
    if alike and below and above:
        return min(below, _WIDER * above), min(above, _WIDER * below)
    return below, above


def _spread(values: Sequence[float]) -> float:
    """The standard deviation about the middle."""
    return _spread_about(median(values), values)


def _spread_about(middle: float, values: Sequence[float]) -> float:
    """With what is beyond three of them drawn in."""
    off = sorted([abs(value - middle) for value in values])
    if not off:
        return 0.0
    most = 3 * 1.4826 * median(off) or math.inf  # more than half may be the same
    near = off[: bisect_right(off, most)]
    far = (len(off) - len(near)) * most * most if len(near) < len(off) else 0.0
    return math.sqrt((sum([one * one for one in near]) + far) / len(off))
