"""A young shop: the days before it opened teach nothing, and of its first two weeks nothing is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate
from random import Random

import pytest

from include.unusual.expect import LEAST_DAYS, expected
from include.unusual.find import judged
from include.unusual.series import Measure, Observation, Series
from tests.include.unusual.conftest import ORDERS, project

FIRST = date(2026, 1, 5)
ROWS = Series(ORDERS, Measure.ROWS)
RANDOM = Random(1)  # noqa: S311 - no secret hangs on it
SIGN_UPS = [RANDOM.choice((0, 0, 1)) for _ in range(80)]
OPEN = [RANDOM.randrange(380, 420) for _ in range(LEAST_DAYS)]


def observed(values: Sequence[float], *, afterwards: int = 0) -> list[Observation]:
    """Days in a row, the first ones observed afterwards."""
    return [Observation(ROWS, FIRST + timedelta(n), value, afterwards=n < afterwards) for n, value in enumerate(values)]


@pytest.mark.parametrize("before", [[0] * 80, SIGN_UPS], ids=["nothing", "hardly anything"])
@pytest.mark.parametrize("measure", [Measure.ROWS, Measure.VALUE])
def test_days_before_the_opening_teach_nothing(before: list[float], measure: Measure) -> None:
    day = FIRST + timedelta(len(before) + len(OPEN))
    assert expected(observed([*before, *OPEN[:-1]]), day - timedelta(1), measure, 100) is None
    learned = expected(observed([*before, *OPEN]), day, measure, 100)
    assert learned
    assert learned.middle == pytest.approx(400, abs=10)
    assert learned.days == LEAST_DAYS


def test_a_total_is_learned_from_its_steps_since_the_opening() -> None:
    values = [*accumulate([*SIGN_UPS, *OPEN])]
    learned = expected(observed(values), FIRST + timedelta(len(values)), Measure.VALUE, 100)
    assert learned
    assert learned.middle - values[-1] == pytest.approx(400, abs=10)


def test_a_table_that_stands_still_is_learned_from_all_its_days() -> None:
    learned = expected(observed([30] * 80), FIRST + timedelta(80), Measure.ROWS, 100)
    assert learned
    assert learned.days == 80


def test_nothing_is_told_before_runs_have_observed_two_weeks_themselves() -> None:
    def told(own_days: int) -> bool:
        values = [*([400] * 60), *([400] * (own_days - 1)), 5]
        past = {ROWS: observed(values, afterwards=60)}
        return bool(judged(past, FIRST + timedelta(len(values) - 1), project()))

    assert (told(1), told(14), told(15)) == (False, False, True)
