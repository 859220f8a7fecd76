"""The clock of the warehouse's server is set by an hour while a run is under way, or between two; a day later each.

What is published is a full build of raw all the same, or nothing is, and why not names the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from include.local import postgres
from include.publish.gate import NotPublishedError
from tests import in_memory
from tests.conftest import FORGETFUL
from tests.dbt.conftest import KeptShop
from tests.dbt.days import Project
from tests.dbt.test_publishing import FIRST_HALF, Runs
from tests.set_clock import RIGHT, Clock, set_clock

pytestmark = [pytest.mark.db, pytest.mark.torture]

HOUR = timedelta(hours=1)
# The day after the last publish: what is an hour before the next run is still after that.
NEXT_DAY = timedelta(days=1)
Set = Callable[[str], None]


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    with set_clock() as clock:
        yield clock


@pytest.fixture(scope="module")
def apart(clock: Clock) -> Iterator[KeptShop]:
    """The warehouse on a server of its own, whose clock this is; the environment names it."""
    with (
        in_memory.folder("greenery-clock-") as home,
        clock.below(),
        postgres.serving(home / "postgres", FORGETFUL) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        shop = KeptShop(server)
        for key, value in shop.where.environment().items():
            environment.setenv(key, value)
        yield shop
        shop.connection.close()


@pytest.fixture
def runs(told_in_full: Project, apart: KeptShop, clock: Clock) -> Iterator[Runs]:
    """Two days were published by a clock that is right, and a day later the next one comes."""
    runs = Runs(apart, told_in_full, seed=1)
    runs.fill_both_buffers("a_few")
    clock.put(NEXT_DAY)
    yield runs
    clock.put(RIGHT)


def a_day(runs: Runs, after: Set = lambda _: None) -> str | None:
    """A day is loaded and run, and is right; why it is not published where it isn't."""
    runs.load_a_day()
    after("its load")
    runs.begin()
    after("its begin")
    assert runs.check_sources()
    assert runs.build_and_test(*FIRST_HALF)
    after("half of its build")
    assert runs.build_and_test(*runs.models, "--exclude", *FIRST_HALF)
    after("its build")
    try:
        runs.publishes()
    except NotPublishedError as refused:
        return str(refused)
    assert runs.unseen() == []
    return None


def names_the_clock(said: str | None) -> bool:
    return said is None or "The clock was set" in said


def is_right_once_it_has_caught_up(runs: Runs, clock: Clock, ahead: timedelta) -> None:
    """An hour later each day is published, whichever buffer it builds in."""
    clock.put(ahead + HOUR + timedelta(minutes=10))
    assert [a_day(runs) for _ in range(2)] == [None] * 2


@pytest.mark.parametrize("moment", ["its load", "its begin", "half of its build", "its build"])
@pytest.mark.parametrize(
    ("by", "then"),
    [(HOUR, HOUR), (HOUR, RIGHT), (-HOUR, RIGHT)],
    ids=["forward", "forward and right again", "back and right again"],
)
def test_a_clock_that_is_set_by_an_hour_in_a_run_after(
    runs: Runs, clock: Clock, moment: str, by: timedelta, then: timedelta
) -> None:
    assert names_the_clock(a_day(runs, lambda now: clock.put(NEXT_DAY + by) if now == moment else None))
    clock.put(NEXT_DAY + then)
    assert names_the_clock(a_day(runs))
    is_right_once_it_has_caught_up(runs, clock, NEXT_DAY + then)


@pytest.mark.parametrize(
    ("by", "then"),
    [(HOUR, HOUR), (HOUR, RIGHT), (-HOUR, -HOUR), (-HOUR, RIGHT)],
    ids=["forward", "forward and right again", "back", "back and right again"],
)
def test_a_clock_that_is_set_by_an_hour_between_two_runs(
    runs: Runs, clock: Clock, by: timedelta, then: timedelta
) -> None:
    for ahead in (by, then):
        clock.put(NEXT_DAY + ahead)
        assert names_the_clock(a_day(runs))
    is_right_once_it_has_caught_up(runs, clock, NEXT_DAY + then)
