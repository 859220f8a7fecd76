"""What changed in the orders since the last run, as lines of a message."""

from __future__ import annotations

from collections.abc import Iterator

from include import words
from include.results.orders import OrderChange
from include.results.summary import Summary
from include.slack.message import INDENT, Code, Line, Section, short

# Changes of orders: so many are counted apart, and of so many the first orders are named.
COUNTED_CHANGES, NAMED_CHANGES = 6, 3


def lines(summary: Summary) -> Section:
    """The most frequent changes with their first orders, then others counted."""
    if not summary.follows_orders:
        return []
    if summary.order_changes is None:
        return [("What changed in the orders was not recorded in this run; the next one that can will tell.",)]
    if not summary.order_changes:
        return [("No order changed status since the last run.",)]
    told, rest = summary.order_changes[:COUNTED_CHANGES], summary.order_changes[COUNTED_CHANGES:]
    found = [line for number, one in enumerate(told) for line in _order_change(one, named=number < NAMED_CHANGES)]
    if rest:
        orders, changes = sum(one.count for one in rest), len(rest)
        found.append((f"… and {words.count(orders, 'order')} in {words.count(changes, 'other change')}",))
    return found


def _order_change(change: OrderChange, *, named: bool) -> Iterator[Line]:
    before, after = short(words.value(change.before), 40), short(words.value(change.after), 40)
    yield (f"{words.count(change.count, 'order')} went from {before} to {after}",)
    if not named:
        return
    for order in change.first:
        yield (INDENT, Code(short(order, 60)))
    if change.count > len(change.first):
        yield (f"{INDENT}and {change.count - len(change.first):,} more",)
