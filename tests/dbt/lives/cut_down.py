"""A life that fails is cut down to one that fails by the same rule, and of which no day and no step can be left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.dbt.lives.life import Life


def cut_down(life: Life, fails: Callable[[Life], bool]) -> Life:
    """Days first, half of them at a time, then a quarter, …; then single steps and faults, until nothing can go.

    `fails` lives one and says whether it fails as the whole one does.
    """
    length = len(life.days) // 2
    while length:
        first = 0
        while first < len(life.days):
            shorter = life.without_days(first, first + length)
            if shorter.days and fails(shorter):
                life = shorter
            else:
                first += length
        length //= 2
    while shorter := next(filter(fails, _a_little_less(life)), None):
        life = shorter
    return life


def _a_little_less(life: Life) -> Iterator[Life]:
    places = [(day, step) for day, steps in enumerate(life.days) for step in range(len(steps))]
    if life.steps > 1:
        yield from (life.without_step(*place) for place in places)
    yield from filter(None, (life.without_fault(*place) for place in places))
