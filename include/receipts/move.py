"""A figure that moved after it was told, as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

# What parts may lack of a difference: figures are rounded.
CENT = Decimal("0.01")


class Period(StrEnum):
    """What a figure is of: UTC days, months and years that are over."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


class Side(StrEnum):
    """Which of a metric's two numbers: one that is divided by nothing has a numerator alone."""

    NUMERATOR = "numerator"
    DENOMINATOR = "denominator"


class What(StrEnum):
    """What became of a row since it was told."""

    LATE = "late"  # it was not counted: it was not there, or on no day
    GONE = "gone"  # it is not counted any more
    CORRECTED = "corrected"  # it counts for something else
    MOVED_IN = "moved in"  # it was counted on another day
    MOVED_OUT = "moved out"  # it is counted on another day


@dataclass(frozen=True)
class MovedRow:
    """A row behind a move: `unique_id` is its model's, `key` its value in `key_column`.

    `before` and `after` are what it counted for, on its side, None where it was not counted. `changed` names the
    columns that differ, of one that is late or gone only where it was there, or is there, without a day;
    `other_day` is where it was counted before, or is now.
    """

    side: Side
    unique_id: str
    key_column: str
    key: str
    what: What
    before: Decimal | None
    after: Decimal | None
    changed: tuple[str, ...] = ()
    other_day: date | None = None

    @property
    def amount(self) -> Decimal:
        """What it adds to its side."""
        return (self.after or Decimal(0)) - (self.before or Decimal(0))


@dataclass(frozen=True)
class Part:
    """The rows of one kind behind a move: how many, what they add to the side, and the first keys.

    `keys` are empty where the key is personal. `changed` names the columns that differ.
    """

    side: Side
    what: What
    model: str
    rows: int
    amount: Decimal
    keys: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cause:
    """A cause of ours that falls together with a move: `kind` in a word, `says` for a person.

    Kinds: model, rebuilt, raw, history.
    """

    kind: str
    says: str


@dataclass(frozen=True)
class Move:
    """A closed figure that is no longer as it was told; `starts` is the first day of its period.

    `usual` where what came late is no more than usual. `adds_up` where the parts make up the whole difference, to the
    cent; they are told only then.
    """

    metric: str
    period: Period
    starts: date
    told: Decimal | None
    value: Decimal | None
    usual: bool = False
    adds_up: bool = False
    parts: tuple[Part, ...] = ()
    causes: tuple[Cause, ...] = ()

    @property
    def difference(self) -> Decimal:
        """How much higher it is now; a figure that there was not counts as 0."""
        return (self.value or Decimal(0)) - (self.told or Decimal(0))

    @property
    def explained(self) -> bool:
        """Whether its rows make it up."""
        return self.adds_up and bool(self.parts)

    @property
    def by_us(self) -> bool:
        """Whether its causes come before its rows: these don't make it up, or count otherwise for no other reason.

        Rows that came late or are gone are a reason of their own: what we did was at the same time.
        """
        of_their_own = {What.LATE, What.GONE}
        return bool(self.causes) and not (self.explained and all(part.what in of_their_own for part in self.parts))

    @property
    def in_its_unit(self) -> bool:
        """Whether what its parts add is in its own unit: what they add to a number of a ratio is not."""
        numerators = all(part.side is Side.NUMERATOR for part in self.parts)
        return numerators and abs(sum((part.amount for part in self.parts), Decimal(0)) - self.difference) < CENT


@dataclass(frozen=True)
class Found:
    """A move with the rows behind it, of a day; those of months and years are behind their days."""

    move: Move
    rows: tuple[MovedRow, ...] = ()
