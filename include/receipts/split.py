"""The arithmetic of an explanation: amounts that add up to a difference exactly, whatever they are rounded to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import combinations
from math import factorial, prod
from typing import TypeVar

from include.receipts.explanation import Share

# Values and amounts have four digits behind the point, as the table of metrics has them.
DIGITS = 4
# Python's own precision of 28 digits cuts what a product of large factors adds.
EXACT = 100
# So many items are told by themselves, the others as one.
MOST = 8
REST, THE_REST = "", "the rest"

Summed = TypeVar("Summed", Fraction, "Counts")


@dataclass(frozen=True)
class Counts:
    """What rows count for on the former day, and on the day; `below` are the denominators of a ratio."""

    former: Fraction = Fraction(0)
    value: Fraction = Fraction(0)
    former_below: Fraction = Fraction(0)
    value_below: Fraction = Fraction(0)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.former + other.former,
            self.value + other.value,
            self.former_below + other.former_below,
            self.value_below + other.value_below,
        )


@dataclass(frozen=True)
class Factor:
    """A factor of a product, on the former day, and on the day."""

    item: str
    label: str
    former: Fraction
    value: Fraction


def of_sum(items: Mapping[str, Counts], difference: Decimal) -> tuple[Share, ...]:
    """Each item's own difference, the largest first."""
    amounts = {item: counts.value - counts.former for item, counts in items.items()}
    shown = {item: (counts.former, counts.value) for item, counts in _folded(items, amounts).items()}
    return _shares(shown, {}, _folded(amounts, amounts), difference)


def of_ratio(items: Mapping[str, Counts], difference: Decimal) -> tuple[Share, ...]:
    """What each item adds to the difference of a ratio, by its own ratio and by its part of the denominator.

    For items with the ratios r and the parts w it is (r' - r) (w + w') / 2 and (w' - w) ((r + r') / 2 - R), where R is
    the mean of the whole's two ratios: E. M. Kitagawa, Components of a Difference Between Two Rates, Journal of the
    American Statistical Association 50 (1955). R adds nothing in all, since the parts add up to 1 on both days; with
    it, an item whose ratio is above the mean adds something where its part grows. Both together are
    (n' - R d') / D' - (n - R d) / D, which asks for no ratio of an item without a denominator.

    Raises ZeroDivisionError where the whole has no denominator.
    """
    whole = sum(items.values(), Counts())
    mean = (whole.former / whole.former_below + whole.value / whole.value_below) / 2
    amounts = {
        item: (counts.value - mean * counts.value_below) / whole.value_below
        - (counts.former - mean * counts.former_below) / whole.former_below
        for item, counts in items.items()
    }
    shown = {item: _ratios(counts) for item, counts in _folded(items, amounts).items()}
    return _shares(shown, {}, _folded(amounts, amounts), difference)


def of_product(factors: Sequence[Factor], difference: Decimal) -> tuple[Share, ...]:
    """What each factor adds to the difference of their product.

    The mean of what its change adds, over all orders in which they could have changed one after the other: L. S.
    Shapley, A Value for n-Person Games (1953). So no factor goes before another, and together they are the difference.
    """
    every = range(len(factors))

    def product(changed: Iterable[int]) -> Fraction:
        return prod((factors[one].value if one in changed else factors[one].former for one in every), start=Fraction(1))

    amounts = {factor.item: Fraction(0) for factor in factors}
    for at, factor in enumerate(factors):
        others = [one for one in every if one != at]
        for size in range(len(factors)):
            weight = Fraction(factorial(size) * factorial(len(others) - size), factorial(len(factors)))
            for changed in combinations(others, size):
                amounts[factor.item] += weight * (product({*changed, at}) - product(changed))
    shown = {factor.item: (factor.former, factor.value) for factor in factors}
    return _shares(shown, {factor.item: factor.label for factor in factors}, amounts, difference)


def rounded(exact: Fraction) -> Decimal:
    """To DIGITS behind the point."""
    return Decimal(f"{round(exact * 10**DIGITS)}e-{DIGITS}")


def _folded(of_items: Mapping[str, Summed], amounts: Mapping[str, Fraction]) -> dict[str, Summed]:
    """The same of the items with the largest amounts, and of all others as one."""
    largest = sorted(amounts, key=lambda item: (-abs(amounts[item]), item))
    folded = {item: of_items[item] for item in largest[:MOST]}
    if others := [of_items[item] for item in largest[MOST:]]:
        folded[REST] = sum(others[1:], start=others[0])
    return folded


def _ratios(counts: Counts) -> tuple[Fraction, Fraction]:
    """Its own; 0 where it had nothing to divide by."""
    return (
        counts.former / counts.former_below if counts.former_below else Fraction(0),
        counts.value / counts.value_below if counts.value_below else Fraction(0),
    )


def _shares(
    shown: Mapping[str, tuple[Fraction, Fraction]],
    labels: Mapping[str, str],
    amounts: Mapping[str, Fraction],
    difference: Decimal,
) -> tuple[Share, ...]:
    """The largest first, the rest last, without those that add nothing. The first takes what rounding leaves."""
    order = sorted(amounts, key=lambda item: (item == REST, -abs(amounts[item]), item))
    told = {item: rounded(amounts[item]) for item in order}
    if order:
        with localcontext(prec=EXACT):
            told[order[0]] += difference - sum(told.values())
    return tuple(
        Share(item, labels.get(item, item or THE_REST), *map(rounded, shown[item]), told[item])
        for item in order
        if told[item]
    )
