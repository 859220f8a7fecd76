"""Why a figure differs from that of an earlier day, as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class Share:
    """What one item of a split adds to the difference, in the metric's own unit; `label` is what people call it."""

    item: str
    label: str
    former: Decimal
    value: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Split:
    """The whole difference by one dimension, such as product: the amounts add up to it exactly, the largest first.

    `dimension` is a word of the project's, or `factors`: the numbers whose product the metric is.
    """

    dimension: str
    label: str
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Meanwhile:
    """Something else that happened on one of the days: `says` in words, `item` of the split's dimension that it is of.

    It is told as *at the same time*, never as the cause.
    """

    kind: str
    says: str
    dimension: str = ""
    item: str = ""


@dataclass(frozen=True)
class Explanation:
    """A metric on a day against the same on `former_day`, both as they are published now."""

    metric: str
    day: date
    former_day: date
    value: Decimal
    former: Decimal
    splits: tuple[Split, ...] = ()
    meanwhile: tuple[Meanwhile, ...] = ()

    @property
    def difference(self) -> Decimal:
        """How much higher it is than on the former day."""
        return self.value - self.former
