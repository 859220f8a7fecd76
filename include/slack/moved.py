"""What was told and is told otherwise now, as lines of a message: the largest period first, what is usual counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from include import settings, words
from include.receipts import address
from include.receipts.move import Move, Part, Period, What
from include.results.summary import Summary
from include.slack.message import Bold, Code, Line, Link, Linked, Section, listed, short, size
from include.words import Unit

# So many lines, in so many characters as Slack counts them; of a line so many keys of rows.
SHOWN, LIMIT = 5, 2400
SHOWN_KEYS = 3
_SIZES = list(Period)
# What became of rows, of one and of several.
_BECAME = {
    What.LATE: ("came late", "came late"),
    What.GONE: ("is gone", "are gone"),
    What.CORRECTED: ("was corrected", "were corrected"),
    What.MOVED_IN: ("was counted on another day before", "were counted on another day before"),
    What.MOVED_OUT: ("is counted on another day now", "are counted on another day now"),
}
# Of rows that were there, or are there, without a day.
_WAS_THERE = {
    What.LATE: ("was not counted before", "were not counted before"),
    What.GONE: ("is not counted any more", "are not counted any more"),
}
# Where a cause of ours may have changed them.
_BY_US = {What.CORRECTED: ("counts otherwise", "count otherwise")}


@dataclass(frozen=True)
class _Together:
    """A line: a move, those that the same rows or the same causes moved with it, and the days of it that moved."""

    lead: Move
    others: tuple[Move, ...]
    days: tuple[Move, ...]


def counted(summary: Summary) -> str:
    """How many lines there are to tell, for the first line: "3 figures moved"; empty where there are none."""
    told = _told(summary)
    return f"{words.count(len(told), 'figure')} moved" if told else ""


def lines(summary: Summary, *, keys: bool) -> Section:
    """What moved, by which rows or for which cause of ours; `keys` of the rows are for those who mend."""
    told = _told(summary)
    section: Section = []
    for one in told[:SHOWN]:
        line: Line = ("• ", *_sentence(one, summary, keys=keys))
        if size([*section, line]) > LIMIT:
            break
        section.append(line)
    if rest := len(told) - len(section):
        section.append((f"… and {rest:,} more. ", Link("All that moved", settings.health_url("figures"))))
    if usual := sum(one.usual and one.period is Period.DAY for one in summary.moves):
        section.append((f"{words.count(usual, 'figure')} of earlier days moved by what usually comes late.",))
    return [(Bold("Moved since it was told:"),), *section] if told else section


def _told(summary: Summary) -> list[_Together]:
    """The largest periods that moved, the newest first; together what the same rows moved, or the same causes."""
    moves = [one for one in summary.moves if all(each is None or each.is_finite() for each in (one.told, one.value))]
    loud = {(one.metric, one.period, one.starts): one for one in moves if not one.usual}
    days: dict[tuple[str, Period, date], list[Move]] = defaultdict(list)
    for one in moves:
        for around in _around(one) if one.period is Period.DAY else ():
            days[around].append(one)
    largest = [
        one for one in loud.values() if not any(_stands_for(loud[wide], one) for wide in _around(one) if wide in loud)
    ]
    places = {name: place for place, name in enumerate(summary.metrics)}

    def order(one: Move) -> tuple[int, int, int, bool, int]:
        of_money = summary.metric(one.metric).unit is Unit.DOLLARS
        place = places.get(one.metric, len(places))
        return -_SIZES.index(one.period), -one.starts.toordinal(), -len(_rows(one)), not of_money, place

    together: dict[object, list[list[Move]]] = defaultdict(list)
    told: list[list[Move]] = []
    for one in sorted(largest, key=order):
        among = together[(one.period, one.starts) if _rows(one) else one.causes]
        if group := next((group for group in among if _rows(one) <= _rows(group[0])), None):
            group.append(one)
        else:
            among.append(group := [one])
            told.append(group)
    return [
        _Together(first, tuple(others), tuple(days[first.metric, first.period, first.starts]))
        for first, *others in told
    ]


def _around(move: Move) -> Iterator[tuple[str, Period, date]]:
    """The month and the year that a day is of, and the year that a month is of."""
    month = move.starts.replace(day=1)
    if move.period is Period.DAY:
        yield move.metric, Period.MONTH, month
    if move.period is not Period.YEAR:
        yield move.metric, Period.YEAR, month.replace(month=1)


def _stands_for(larger: Move, one: Move) -> bool:
    """Whether a larger period tells of it: what went from one of its days to another it counts alike."""
    alike = {part.what for part in one.parts} - {part.what for part in larger.parts}
    return not (larger.explained and one.explained and alike & {What.MOVED_IN, What.MOVED_OUT})


def _rows(move: Move) -> set[tuple[What, str, int, tuple[str, ...]]]:
    """What tells whether two moves are by the same rows; nothing where the rows don't make up all of it."""
    return {(part.what, part.model, part.rows, part.keys) for part in move.parts} if move.explained else set()


def _sentence(told: _Together, summary: Summary, *, keys: bool) -> Line:
    lead = told.lead
    only = told.days[0] if len(told.days) == 1 else None
    # Of a figure that counts all days up to its own, those before its period are in it, too.
    earlier = any(
        (one.metric, one.period) == (lead.metric, Period.DAY) and one.starts < lead.starts for one in summary.moves
    )
    where = f", all of it on {words.weekday(only.starts)}" if only and not earlier else ""
    return (*_moved(lead, only, summary), f"{_with(told, summary)}{where}", *_why(lead, summary, keys=keys))


def _moved(move: Move, only: Move | None, summary: Summary) -> Line:
    """What a figure is and what it was told as; the figure leads to its receipt where it is of one day."""
    metric = summary.metric(move.metric)
    label = short(metric.label, 60)
    of = (Bold(f"{label} of {_when(move, summary)}"), f" {words.be(label)} ")
    day = move if move.period is Period.DAY else only
    receipt = address.url(move.metric, day.starts, summary.figures.told_on) if day else None
    if move.value is None or move.told is None:
        figure = words.apart(move.value or Decimal(0), move.told or Decimal(0), metric.unit)
        if move.value is None:
            return (*of, Linked("told no more", receipt), f" (told {figure[2]})")
        return (*of, Linked(figure[1], receipt), ", not told before")
    between, value, former = words.apart(move.value, move.told, metric.unit)
    higher = "higher" if move.difference > 0 else "lower"
    return (*of, f"{between} {higher} than told (", Linked(value, receipt), f", told {former})")


def _with(told: _Together, summary: Summary) -> str:
    """The other metrics of the same period with what they moved by, and how many figures of other periods there are."""
    same = [one for one in told.others if (one.period, one.starts) == (told.lead.period, told.lead.starts)]
    named = [f"{words.inside(summary.metric(one.metric).label)} {_signed(one, summary)}" for one in same]
    others = len(told.others) - len(same)
    said = f", with {listed(named)}" if named else ""
    return said + (f", and {words.count(others, 'figure')} of other days, months and years" if others else "")


def _signed(move: Move, summary: Summary) -> str:
    between, *_ = words.apart(move.value or Decimal(0), move.told or Decimal(0), summary.metric(move.metric).unit)
    return f"{'+' if move.difference > 0 else '-'}{between}"


def _why(move: Move, summary: Summary, *, keys: bool) -> Line:
    causes = listed([one.says for one in move.causes])
    rows = list(_by_rows(move, summary, keys=keys)) if _rows(move) else []
    if not rows:
        return (f": {causes}." if causes else "; by which rows is not known.",)
    said = tuple(piece for number, row in enumerate(rows) for piece in (", " if number else "", *row))
    if move.by_us:
        return (f": {causes}; ", *said, ".")
    return (": ", *said, f"; at the same time {causes}." if causes else ".")


def _by_rows(move: Move, summary: Summary, *, keys: bool) -> Iterator[Line]:
    """What became of which rows: "4 orders came late"; where it is several things, with what each adds."""
    kinds: dict[tuple[What, str, bool], list[Part]] = defaultdict(list)
    for part in move.parts:
        kinds[part.what, part.model, bool(part.changed)].append(part)
    for (what, model, changed), sides in kinds.items():
        # A row that is counted on both sides of a ratio is one row.
        most = max(sides, key=lambda part: part.rows)
        noun = summary.nouns.get(model, "row")
        says = _BECAME | (_WAS_THERE if changed else {}) | (_BY_US if move.by_us else {})
        became = f"{words.count(most.rows, short(noun, 40))} {says[what][most.rows != 1]}"
        more: list[Line] = []
        if len(kinds) > 1 and move.in_its_unit:
            more.append((_adds(most, summary, move),))
        if most.changed:
            more.append((listed(most.changed),))
        if keys and most.keys:
            more.append(tuple(_keys(most)))
        inside = tuple(piece for number, one in enumerate(more) for piece in ("; " if number else " (", *one))
        yield (became, *inside, ")" if more else "")


def _adds(part: Part, summary: Summary, move: Move) -> str:
    """To the cent, so that a reader can add them up."""
    between, *_ = words.apart(part.amount, Decimal(0), summary.metric(move.metric).unit)
    if summary.metric(move.metric).unit is Unit.DOLLARS:
        between = f"${abs(part.amount):,.2f}"
    return f"{'-' if part.amount < 0 else '+'}{between}"


def _keys(part: Part) -> Iterator[str | Code]:
    shown = part.keys[:SHOWN_KEYS]
    for number, key in enumerate(shown):
        yield ", " if number else ""
        yield Code(short(key, 40))
    if rest := part.rows - len(shown):
        yield f" and {rest:,} more"


def _when(move: Move, summary: Summary) -> str:
    """The period, with its year where that is not the message's: "Sat 14 Nov", "October", "December 2025", "2025"."""
    year = f"{move.starts.year}"
    if move.period is Period.YEAR:
        return year
    named = words.weekday(move.starts) if move.period is Period.DAY else f"{move.starts:%B}"
    now = summary.data_as_of
    return named if now and now.year == move.starts.year else f"{named} {year}"
