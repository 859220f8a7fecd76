"""Days in a row with one state: how a year of a test, or of the runs, is told in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

# What nothing is known of.
NONE = "none"
# Of more stretches of days, those before are counted.
_NAMED = 6


@dataclass(frozen=True)
class Stretch:
    """Days in a row with one state; `first` and `last` are UTC days, both are part of it."""

    first: date
    last: date
    state: str

    @property
    def days(self) -> int:
        """How many days it is long."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        if self.first == self.last:
            return f"{self.first:%-d %b}"
        month = "" if (self.first.year, self.first.month) == (self.last.year, self.last.month) else f"{self.first: %b}"
        return f"{self.first:%-d}{month}–{self.last:%-d %b}"


def of(states: Mapping[date, str], first: date, last: date) -> tuple[Stretch, ...]:
    """All days from `first` to `last`, in order; `none` where no state is known."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    together = [(state, list(same)) for state, same in groupby(days, lambda day: states.get(day, NONE))]
    return tuple(Stretch(same[0], same[-1], state) for state, same in together)


def in_words(stretches: Iterable[Stretch]) -> str:
    """The days themselves: "3 Nov, 9–10 Nov"."""
    told = list(stretches)
    before = sum(stretch.days for stretch in told[:-_NAMED])
    earlier = f" and {before} day{'' if before == 1 else 's'} before" if before else ""
    return ", ".join(map(str, told[-_NAMED:])) + earlier
