"""Who visits the demo shop on which day: customers come in cohorts, by the day they signed up, and come back or don't.

A cohort's visits, over all days, follow from the shop's seed and the cohort's day alone. So a day can be played without
a memory of who was there before: the cohorts that may still visit are told again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from random import Random

from include.demo_shop.calendar import midnight
from include.demo_shop.demand import demand

FOUNDERS = 0  # the cohort of those who had signed up before the shop opened


@dataclass(frozen=True)
class Shop:
    """One demo shop: what happens in it follows from its seed and its size, and when from the date of its first day.

    In a `steady` one each day is as busy as the others: for who compares days.
    """

    seed: int
    orders_per_day: int
    first_day: date
    steady: bool = False

    def __post_init__(self) -> None:
        if self.orders_per_day < 1:
            raise ValueError(f"orders_per_day is {self.orders_per_day}; a shop needs one at least")

    def date_of(self, day: int) -> date:
        """The date of a day; days count from 1, and the founders came before."""
        return self.first_day + timedelta(days=day - 1)

    def start_of(self, day: int) -> int:
        """When a day begins, and the one before ends."""
        return midnight(self.date_of(day))

    def orders_on(self, day: int) -> float:
        """How many orders are due on a day."""
        return self.orders_per_day * (1 if self.steady else demand(day))


# How many orders a customer makes in all, in percent of the customers who buy: 83 %
# come back, so that with those who have not yet had the time about 79 % have.
_ORDERS = {1: 17, 2: 23, 3: 28, 4: 17, 5: 9, 6: 3, 7: 2, 8: 1}
# Visits that end without an order: beside this share of the orders there is one, and some customers do nothing else.
_BROWSING_PER_ORDER = 0.565
_NEVER_BUY = 0.05
# On which day a visit falls, in percent: counted from the sign-up, on which the first visit falls always …
_RETURNS = {0: 34, 1: 24, 2: 14, 3: 9, 4: 5, 5: 4, 6: 3, 7: 2, 14: 2, 21: 2, 28: 1}
# … and for the founders from the eve of the opening. Most of them are there in the first two days, so that these two
# look like a shop that has been going for a while, repeat buyers included.
_FOUNDERS_DAYS = {1: 43, 2: 40, 3: 8, 4: 3, 5: 2, 8: 2, 15: 1, 22: 1}
LONGEST_ABSENCE = max(*_RETURNS, *_FOUNDERS_DAYS)  # days


def _deck(percent: dict[int, int]) -> list[int]:
    return [value for value, share in percent.items() for _ in range(share)]


_ORDERS_DECK, _RETURNS_DECK, _FOUNDERS_DECK = _deck(_ORDERS), _deck(_RETURNS), _deck(_FOUNDERS_DAYS)
_ORDERS_PER_CUSTOMER = (1 - _NEVER_BUY) * sum(_ORDERS_DECK) / 100


@dataclass(frozen=True)
class Cohort:
    """The customers who signed up on one day, and what they come for on later ones.

    `visits` holds for each day of the calendar the visits of that day, a customer's own side by side: twice the
    customer's number, plus one where the visit is meant to end in an order.
    """

    day: int
    size: int
    visits: dict[int, array]


@dataclass(frozen=True)
class Visitor:
    """A customer on a day of theirs: `visits` has an entry for each visit, true where they come to buy."""

    cohort: int
    number: int
    visits: tuple[bool, ...]

    @property
    def name(self) -> str:
        """What a customer's id, address and the rest are derived from."""
        return f"{self.cohort}/{self.number}"


def visitors(shop: Shop, day: int) -> Iterator[Visitor]:
    """Everyone who visits the shop on a day, those who sign up on it included."""
    for since in range(max(FOUNDERS, day - LONGEST_ABSENCE), day + 1):
        number, visits = -1, []
        for entry in _cohort(shop, since).visits.get(day, ()):
            if entry >> 1 != number:
                if visits:
                    yield Visitor(since, number, tuple(visits))
                number, visits = entry >> 1, []
            visits.append(bool(entry & 1))
        if visits:
            yield Visitor(since, number, tuple(visits))


def cohort_size(shop: Shop, day: int) -> int:
    """How many customers sign up on a day (the founders: on day 0)."""
    return _sizes(shop, day)[day]


@lru_cache(maxsize=2)
def _sizes(shop: Shop, last: int) -> list[int]:
    """The sizes of the cohorts up to a day: each day as many sign up as are missing for the orders that are due."""
    founders = round(shop.orders_per_day * 0.75)
    returning = _ORDERS_PER_CUSTOMER - (1 - _NEVER_BUY)
    sizes = [max(founders, 1)]
    for day in range(1, last + 1):
        expected = sizes[FOUNDERS] * _ORDERS_PER_CUSTOMER * _FOUNDERS_DAYS.get(day, 0) / 100
        for age, share in _RETURNS.items():
            if 0 < age < day:
                expected += sizes[day - age] * returning * share / 100
        on_sign_up = (1 - _NEVER_BUY) + returning * _RETURNS[0] / 100
        sizes.append(max(1, round((shop.orders_on(day) - expected) / on_sign_up)))
    return sizes


# As many as can visit on one day, so that a history is played with each cohort told once.
@lru_cache(maxsize=LONGEST_ABSENCE + 2)
def _cohort(shop: Shop, day: int) -> Cohort:
    roll = Random(f"{shop.seed}/cohort/{day}").random  # noqa: S311 - no secret hangs on it
    days = _FOUNDERS_DECK if day == FOUNDERS else _RETURNS_DECK
    cohort = Cohort(day, cohort_size(shop, day), {})
    for number in range(cohort.size):
        orders = _ORDERS_DECK[int(roll() * 100)]
        if roll() < _NEVER_BUY:
            kinds = [False] * (1 + int(roll() * 3))
        else:
            kinds = [True] * orders + [False for _ in range(orders) if roll() < _BROWSING_PER_ORDER]
        for nth, buys in enumerate(kinds):
            on = day if nth == 0 and day != FOUNDERS else day + days[int(roll() * 100)]
            cohort.visits.setdefault(on, array("Q")).append(number * 2 + buys)
    return cohort
