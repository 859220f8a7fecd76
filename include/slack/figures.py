"""The figures of what people see, as lines of a message."""

from __future__ import annotations

from datetime import date

from include import words
from include.receipts import address
from include.results.figures import Figure, Figures
from include.results.summary import Summary
from include.slack.message import INDENT, Line, Linked, Section, short


def lines(summary: Summary) -> Section:
    """The figures of what people see; their change is told with the publish that made it."""
    figures, told = summary.figures, []
    if figures.repeat_rate:
        who = f"({figures.repeat_buyers:,} of {figures.buyers:,} buyers ordered more than once)"
        as_published = "" if summary.published else ", as published"
        told.append(
            (*_line(figures.repeat_rate, summary, as_published), f" {who}", _change(figures.repeat_rate, summary))
        )
    if figures.daily and figures.day:
        told.append((f"On {_weekday(figures.day)}{_how_long_ago(figures)}:",))
        told += [(INDENT, *_line(one, summary), _change(one, summary)) for one in figures.daily]
    if told and summary.published and _compared(figures):
        told.append((f"Compared with the publish of {words.moment(figures.former_as_of)}.",))
    return told


def _line(figure: Figure, summary: Summary, more: str = "") -> Line:
    """A figure that leads to its receipt, as it was told with the publication."""
    receipt = address.url(figure.name, figure.day, summary.figures.told_on) if figure.day else None
    return (f"{short(figure.label, 60)}{more}: ", Linked(words.figure(figure.value, figure.unit), receipt))


def _how_long_ago(figures: Figures) -> str:
    """Why the day is not yesterday, where it is not."""
    if figures.days_before is None:
        return ""
    before = words.count(figures.days_before, "day")
    return f", the last whole day with an order or a session, {before} before the publish"


def _compared(figures: Figures) -> bool:
    stated = [figure for figure in (figures.repeat_rate, *figures.daily) if figure]
    return figures.former_as_of is not None and any(figure.former is not None for figure in stated)


def _change(figure: Figure, summary: Summary) -> str:
    if figure.former is None or not summary.published:
        return ""
    change = figure.value - figure.former
    amount = words.difference(abs(change), figure.unit)
    if not any(digit in amount for digit in "123456789"):
        return " = unchanged"
    return f" {'▲' if change > 0 else '▼'} {amount}"


def _weekday(day: date) -> str:
    return f"{day:%a %d %b %Y}"
