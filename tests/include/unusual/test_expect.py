"""What is expected of a series: on shops that are made up, with noise of a known kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.unusual.expect import LEAST_DAYS, Past, expected, score
from include.unusual.series import Measure, Observation, Series

MONDAY = date(2026, 1, 5)
WEEK = (1, 1, 0.9, 1.1, 1.2, 0.75, 1.05)
SERIES_WATCHED = 300
HISTORY = 100


def seeded(seed: int) -> Random:
    """Chance that is the same each time."""
    return Random(seed)  # noqa: S311 - no secret hangs on it


def poisson(random: Random, mean: float) -> float:
    if mean > 50:
        return max(0.0, round(random.gauss(mean, math.sqrt(mean))))
    n, left = 0, random.random()
    while left > math.exp(-mean):
        n, left = n + 1, left * random.random()
    return float(n)


def busy(day: int) -> float:
    """Weekdays, growth, campaigns of five days, and a holiday."""
    campaign = 1.35 if day % 33 in range(20, 25) else 1
    holiday = 0.6 if day == 150 else 1
    return WEEK[day % 7] * 1.005 ** (day / 7) * campaign * holiday


def orders(random: Random, days: int, size: float = 400) -> list[float]:
    return [poisson(random, size * busy(day) * random.gauss(1, 0.04)) for day in range(days)]


def share(random: Random, days: int, of: float, rows: int) -> list[float]:
    return [sum(random.random() < of for _ in range(rows)) / rows for _ in range(days)]


def observed(
    values: Sequence[float | None], measure: Measure = Measure.ROWS, first: date = MONDAY
) -> list[Observation]:
    series = Series("source.shop.raw.orders", measure)
    return [Observation(series, first + timedelta(days=n), value) for n, value in enumerate(values)]


def unusual(
    values: Sequence[float | None], measure: Measure = Measure.ROWS, rows: float | None = None, **given
) -> bool:
    """Whether the last of the values is."""
    *history, newest = observed(values, measure)
    likely = expected(history, newest.day, measure, SERIES_WATCHED, rows={newest.day: rows} if rows else None, **given)
    return likely is not None and score(newest.value, likely) > 1


# What a shop's days were like, the last of them without the fault, and what the fault makes of that one.
CHANCE = seeded(1)
FAULTS: dict[str, tuple[Measure, Sequence[float], Callable[[float], float]]] = {
    "half a day missing": (Measure.ROWS, orders(CHANCE, HISTORY), lambda value: value * 0.5),
    "a day twice": (Measure.ROWS, orders(CHANCE, HISTORY), lambda value: value * 2),
    "a day lost": (Measure.ROWS, orders(CHANCE, HISTORY), lambda _: 0.0),
    "half the hours": (Measure.HOURS, [24.0] * HISTORY, lambda _: 12.0),
    "a column empty": (Measure.NULLS, share(CHANCE, HISTORY, 0.2, 400), lambda _: 1.0),
    "a column that was always full": (Measure.NULLS, [0.0] * HISTORY, lambda _: 0.2),
    "a key twice": (Measure.DISTINCT, [1.0] * HISTORY, lambda _: 0.5),
    "cents for dollars": (
        Measure.MEAN,
        [CHANCE.gauss(80, 5) for _ in range(HISTORY)],
        lambda value: value * 100,
    ),
    "dollars for cents": (
        Measure.VALUE,
        [CHANCE.gauss(8_000, 900) + 0.5 for _ in range(HISTORY)],
        lambda value: value / 100,
    ),
    "the greatest is in cents": (
        Measure.GREATEST,
        [max(CHANCE.lognormvariate(4, 0.6) for _ in range(40)) for _ in range(HISTORY)],
        lambda value: value * 100,
    ),
    "a time zone off": (
        Measure.MIDDAY,
        [CHANCE.gauss(14, 0.3) for _ in range(HISTORY)],
        lambda value: value - 4,
    ),
    "a country gone": (Measure.SHARE, share(CHANCE, HISTORY, 0.2, 400), lambda _: 0.0),
    "a model twice": (
        Measure.ROWS,
        [5_000.0 + sum(30 + n % 7 for n in range(day)) for day in range(HISTORY)],
        lambda value: value * 2,
    ),
    "a hundred new values": (Measure.NEW_VALUES, [0.0] * HISTORY, lambda _: 100.0),
    "a build of ten minutes": (
        Measure.SECONDS,
        [CHANCE.lognormvariate(1, 0.4) for _ in range(HISTORY)],
        lambda _: 600.0,
    ),
    "a load in the afternoon": (
        Measure.LOADED,
        [CHANCE.gauss(29, 0.2) for _ in range(HISTORY)],
        lambda _: 41.0,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_the_same_day_without_it_is_not(fault: str) -> None:
    measure, ordinary, broken = FAULTS[fault]
    *before, newest = ordinary

    assert unusual([*before, broken(newest)], measure, rows=400)
    assert not unusual([*before, newest], measure, rows=400)


def test_a_slow_leak_moves_no_day_far_enough_and_is_found_by_its_weeks() -> None:
    found = []
    for seed in range(8):
        values = [value * 0.98 ** max(0, day - 99) for day, value in enumerate(orders(seeded(seed), 121))]
        for leaking in range(1, 21):
            *history, newest = observed(values[: 101 + leaking])
            past = Past.of(history, newest.day, Measure.ROWS)
            week = past and past.week(newest.value, SERIES_WATCHED)
            if week and score(*week) > 1:
                found.append(leaking)
                break

    assert len(found) == 8
    assert max(found) <= 18  # of a leak that has taken a fifth after 11 days, and a third after 20


def test_no_more_false_alarms_than_promised() -> None:
    # Of three series one alarm in four quarters is to be expected, so here four or so.
    alarms, quarters = [], 20
    for seed in range(quarters):
        random = seeded(seed)
        kinds: list[tuple[Measure, list[float], float | None]] = [
            (Measure.ROWS, orders(random, 190), None),
            (Measure.SHARE, share(random, 190, 0.2, 100), 100),
            (Measure.MEAN, [random.lognormvariate(4, 0.1) for _ in range(190)], None),
        ]
        for measure, values, rows in kinds:
            observations = observed(values, measure)
            for n in range(100, 190, 5):
                newest = observations[n]
                past = Past.of(observations[:n], newest.day, measure, {newest.day: rows} if rows else None)
                assert past
                week = past.week(newest.value, 1)
                if score(newest.value, past.day(1)) > 1 or (week and score(*week) > 1):
                    alarms.append((seed, measure, n))
    assert len([one for one in alarms if one[2] != 150]) <= 4


def test_a_new_shop_hears_nothing_until_there_is_enough() -> None:
    values = [100.0, 108, 92, 104, 97, 103, 99] * 5

    assert not unusual([*values[: LEAST_DAYS - 1], 0])
    assert unusual([*values[:LEAST_DAYS], 0])


def test_days_before_there_was_a_shop_are_not_learned_from() -> None:
    values = orders(seeded(13), 50)

    assert unusual([*[0.0] * 60, *values[:-1], values[-1] * 2])
    assert not unusual([*[0.0] * 60, *values[:20], 0.0])


def test_where_weekdays_differ_there_are_four_of_the_weekday() -> None:
    random = seeded(3)
    values = [poisson(random, 400 * (0.2 if day % 7 == 6 else 1)) for day in range(35)]
    without_mondays: list[float | None] = [
        None if day % 7 == 0 and day < 14 else value for day, value in enumerate(values)
    ]

    assert unusual([*values, 20])
    assert not unusual([*without_mondays, 20])


def test_a_sunday_is_compared_with_sundays() -> None:
    random = seeded(4)
    values = [poisson(random, 400 * (0.2 if day % 7 == 6 else 1)) for day in range(98)]
    saturday, sunday = observed([*values[:96], 0])[-1].day, observed(values)[-1].day
    of_sunday = expected(observed(values[:97]), sunday, Measure.ROWS, SERIES_WATCHED)
    of_saturday = expected(observed(values[:96]), saturday, Measure.ROWS, SERIES_WATCHED)

    assert of_sunday
    assert of_saturday
    assert of_sunday.most < of_saturday.least


def test_growth_is_not_unusual_and_what_stops_growing_by_half_is() -> None:
    random = seeded(5)
    values = [poisson(random, 300 * 1.01**day) for day in range(120)]

    assert not unusual(values)
    assert unusual([*values[:-1], values[-1] / 2])


def test_the_end_of_a_month_differs_where_it_always_did() -> None:
    random = seeded(6)
    first = date(2026, 1, 1)
    days = [first + timedelta(days=n) for n in range(151)]  # to the last of May
    values = [poisson(random, 400 * (2.5 if (day + timedelta(days=1)).day == 1 else 1)) for day in days]
    history = observed(values, first=first)

    last = expected(history[:150], days[150], Measure.ROWS, SERIES_WATCHED)
    before = expected(history[:149], days[149], Measure.ROWS, SERIES_WATCHED)
    assert last
    assert before
    assert last.middle == pytest.approx(1000, rel=0.1)
    assert before.middle == pytest.approx(400, rel=0.1)


def test_campaigns_of_the_past_are_usual() -> None:
    random = seeded(7)
    values = [poisson(random, 400 * (1.4 if day % 30 in range(20, 24) else 1)) for day in range(111)]

    assert not unusual(values)  # day 110 begins one
    assert unusual([*values[:-1], values[-1] * 2])


def test_what_somebody_said_was_fine_is_usual_from_then_on() -> None:
    random = seeded(8)
    values = [poisson(random, 400) for _ in range(100)]
    campaign = [*values[:90], 900.0, *values[90:], 880.0]

    assert unusual([*values[:90], None, *values[90:], 880.0])  # as it was told, it is not learned from
    assert not unusual(campaign, fine=[MONDAY + timedelta(days=90)])


def test_gaps_are_no_zeros() -> None:
    values: list[float | None] = list(orders(seeded(9), 101))
    values[60:70] = [None] * 10

    assert not unusual(values)
    assert unusual([*values[:-1], 0])


@pytest.mark.parametrize(
    ("measure", "always", "little"),
    [
        (Measure.HOURS, 24.0, 23.0),
        (Measure.NULLS, 0.0, 0.004),
        (Measure.MEAN, 5.0, 5.2),
        (Measure.ROWS, 30.0, 31.0),
        (Measure.NEW_VALUES, 0.0, 1.0),
        (Measure.LEAST, 1.0, 2.0),
        (Measure.LEAST, 0.0, 2.0),
        (Measure.LOADED, 29.0, 31.0),
        (Measure.SECONDS, 0.2, 5.0),
    ],
)
def test_what_never_moved_may_move_a_little(measure: Measure, always: float, little: float) -> None:
    assert not unusual([*[always] * 80, little], measure)


def test_a_share_of_few_rows_may_be_anything() -> None:
    always_full = [0.0] * 80

    assert not unusual([*always_full, 1 / 3], Measure.NULLS, rows=3)
    assert unusual([*always_full, 1 / 3], Measure.NULLS, rows=300)


def test_distinct_values_of_a_small_set_are_a_number_not_a_share() -> None:
    random = seeded(10)
    rows = {MONDAY + timedelta(days=n): random.uniform(500, 1500) for n in range(101)}
    values = observed([30 / rows[MONDAY + timedelta(days=n)] for n in range(101)], Measure.DISTINCT)
    day = values[-1].day
    rows[day] = 200.0

    of_few = expected(values[:-1], day, Measure.DISTINCT, SERIES_WATCHED, rows=rows)
    assert of_few
    assert score(30 / 200, of_few) <= 1
    assert score(10 / 200, of_few) > 1


def test_what_wanders_is_compared_with_yesterday() -> None:
    random = seeded(11)
    values = [80.25]
    for _ in range(100):
        values.append(values[-1] + random.gauss(0, 0.2))
    likely = expected(observed(values[:-1], Measure.VALUE), observed(values)[-1].day, Measure.VALUE, SERIES_WATCHED)

    assert likely
    assert likely.middle == pytest.approx(values[-2], abs=0.2)


def test_the_more_series_are_watched_the_more_it_takes() -> None:
    history = observed(orders(seeded(12), 100))
    day = history[-1].day + timedelta(days=1)
    of_one, of_many = (expected(history, day, Measure.ROWS, series) for series in (1, 1_000))

    assert of_one
    assert of_many
    assert of_many.least < of_one.least < of_one.middle < of_one.most <= of_many.most


numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(0, 3).map(float))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(numbers, min_size=LEAST_DAYS, max_size=80),
    st.sampled_from(Measure),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.one_of(st.none(), st.floats(1, 1e6)),
)
def test_whatever_was_observed_the_band_is_finite_and_holds_its_middle(
    values: list[float | None], measure: Measure, value: float, rows: float | None
) -> None:
    history = observed(values, measure)
    day = history[-1].day + timedelta(days=1)
    past = Past.of(history, day, measure, {day: rows} if rows else None)
    if past is None:
        return
    week = past.week(value, SERIES_WATCHED)
    for likely in (past.day(SERIES_WATCHED), *([week[1]] if week else [])):
        assert math.isfinite(likely.least)
        assert math.isfinite(likely.most)
        assert likely.least <= likely.middle <= likely.most
        assert score(likely.middle, likely) == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=40, max_size=60), st.floats(0, 1e6))
def test_the_day_itself_and_what_comes_later_is_not_learned_from(values: list[float], other: float) -> None:
    history = observed(values)
    day = history[-5].day

    changed = [*history[:-5], *(Observation(one.series, one.day, other) for one in history[-5:])]
    assert expected(history, day, Measure.ROWS, 10) == expected(changed, day, Measure.ROWS, 10)
