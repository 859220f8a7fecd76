"""Why figures differ from those of a day before, as lines of a message: the parts that say most, and the rest."""

from __future__ import annotations

from decimal import Decimal

from include import words
from include.receipts import address
from include.receipts.explain import FACTORS
from include.receipts.explanation import Explanation, Share, Split
from include.receipts.move import Period
from include.results.summary import Summary
from include.slack.message import INDENT, Bold, Linked, Section, listed, short
from include.words import Unit

# So many figures are explained, by so many splits each, with so many shares.
SHOWN, SHOWN_SPLITS, SHOWN_SHARES = 2, 2, 4
# A split is told where a share is by so much larger than its size lets expect.
_TELLING = Decimal("0.1")


def lines(summary: Summary, *, in_full: bool) -> Section:
    """The first figures that are explained, in the order in which figures are told.

    `in_full` with what happened at the same time to tables and tests: for those who mend.
    """
    places = {name: place for place, name in enumerate(summary.metrics)}
    ordered = sorted(summary.explanations, key=lambda one: places.get(one.metric, len(places)))
    told = [found for one in ordered if (found := _explained(one, summary, in_full=in_full))]
    return [line for section in told[:SHOWN] for line in section]


def _explained(one: Explanation, summary: Summary, *, in_full: bool) -> Section:
    """How much it differs, then a line a split; nothing where it was 0, or where no split says more than another."""
    metric = summary.metric(one.metric)
    # Points of a share, or of the figure as it was.
    of = Decimal(1) if metric.unit is Unit.PERCENT else abs(one.former)
    says = {split: _says(split, one, metric.unit) for split in one.splits} if of else {}
    told = sorted((split for split in says if says[split] >= _TELLING), key=lambda split: -says[split])
    whole = _points(one.difference, one, of) if told else 0
    if not whole:
        return []
    label = short(metric.label, 60)
    section: Section = [
        (
            Bold(f"Why: {label}"),
            f" of {words.weekday(one.day)} {words.be(label)} ",
            Linked(
                _written(whole) if metric.unit is Unit.PERCENT else f"{abs(whole):,f} %",
                address.url(one.metric, one.day, summary.figures.told_on),
            ),
            f" {'higher' if whole > 0 else 'lower'} than on {words.weekday(one.former_day)}{_as_it_was(one, summary)}",
            "." if summary.failed or summary.warned else "; nothing failed.",
        )
    ]
    for split in told[:SHOWN_SPLITS]:
        section.append((f"{INDENT}By {short(words.inside(split.label), 60)}: {_parts(split, one, of)}",))
    # That the former day moved is told with it.
    others = [each.says for each in one.meanwhile if not each.item and each.kind != "moved"]
    if in_full and others:
        section.append((f"{INDENT}At the same time: {listed(others)}",))
    return section


def _as_it_was(one: Explanation, summary: Summary) -> str:
    """The figure of the former day where it moved: the figures of the message are compared with what was told."""
    for move in summary.moves:
        if (move.metric, move.period, move.starts) == (
            one.metric,
            Period.DAY,
            one.former_day,
        ) and move.told is not None:
            _, value, told = words.apart(one.former, move.told, summary.metric(one.metric).unit)
            return f" ({value} now, told {told})"
    return ""


def _says(split: Split, one: Explanation, unit: Unit) -> Decimal:
    """By how much of the difference a share is more than its size lets expect: a large item moves much anyway."""
    if not one.difference:
        return Decimal(0)

    def size(share: Share) -> Decimal:
        if split.dimension == FACTORS:
            return Decimal(1) / len(split.shares)
        if unit is Unit.PERCENT:  # an item that is all there is has the whole's own share
            return Decimal((share.former, share.value) == (one.former, one.value))
        return abs(share.former / one.former)

    found = (min(share.amount / one.difference, Decimal(1)) - size(share) for share in split.shares if share.item)
    return max(found, default=Decimal(0))


def _parts(split: Split, one: Explanation, of: Decimal) -> str:
    """The largest shares in points and the rest, less those that go the other way: they add up to the whole."""
    whole = _points(one.difference, one, of)
    largest = sorted((share for share in split.shares if share.item), key=lambda share: -abs(share.amount))
    shown = largest[:SHOWN_SHARES]
    told = [(_points(share.amount, one, of), _share(share, split, one)) for share in shown]
    told.append((_points(one.difference - sum(share.amount for share in shown), one, of), "the rest"))
    # The largest takes what rounding leaves.
    told[0] = (told[0][0] + whole - sum(amount for amount, _ in told), told[0][1])
    along, against = (
        ", ".join(f"{_written(amount)} {what}" for amount, what in told if amount * whole * way > 0) for way in (1, -1)
    )
    return f"{along}, against {against}" if against else along


def _share(share: Share, split: Split, one: Explanation) -> str:
    """What it is called, and what happened to it at the same time."""
    if split.dimension == FACTORS:
        return short(words.inside(share.label), 60)
    of_it = [each.says for each in one.meanwhile if (each.dimension, each.item) == (split.dimension, share.item)]
    return f"{short(share.label, 60)} (at the same time: {listed(of_it)})" if of_it else short(share.label, 60)


def _points(amount: Decimal, one: Explanation, of: Decimal) -> Decimal:
    """An amount in hundredths of what it is of, in as many digits as the whole difference asks for."""
    return round(amount * 100 / of, 0 if abs(one.difference / of) >= _TELLING else 1)


def _written(points: Decimal) -> str:
    return f"{abs(points):,f} point{'' if abs(points) == 1 else 's'}"
