"""What people answered, as lines of a message: what is muted in a line each, what is new, what outlived its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from include import settings, words
from include.answers.answer import Answer, Kind
from include.dbt_project import helpers
from include.results.answered import Outlived, Told
from include.results.failures import Failure, Root
from include.results.summary import Summary
from include.results.unusual import Finding
from include.slack.message import Bold, Line, Link, Section, short, size

# Of each kind so many lines; beyond the first, in so many characters as Slack counts them.
SHOWN, LIMIT = 4, 700


def lines(summary: Summary) -> Section:
    """All of it, for those who mend."""
    failed = [(root, one) for root in summary.roots for one in root.failures if one.muted]
    warned = [(root, one) for root in summary.warnings for one in root.failures if one.muted]
    muted = [
        *(_muted_failure(root, one, holds=not summary.published) for root, one in failed),
        *(_muted_failure(root, one) for root, one in warned),
        *map(_muted_figure, summary.muted),
    ]
    told = {one.muted.answer_id for _, one in (*failed, *warned)} | {one.muted.answer_id for one in summary.muted}
    new = [_new(one) for one in summary.news if one.end or one.answer.answer_id not in told]
    parts = (("Muted:", muted), ("Answered:", new), ("Outlived:", list(map(_outlived, summary.outlived))))
    section: Section = []
    for title, found in parts:
        section += _titled(title, found)
    return section


def muted_figures(findings: Iterable[Finding]) -> Section:
    """Muted figures, for those who look at the data."""
    return _titled("Muted:", list(map(_muted_figure, findings)))


def sees_to_it(mine: Answer | None) -> str:
    """Who sees to something, after what is said of it."""
    return f" · {short(mine.answered_by, 60)} sees to it" if mine else ""


def waived(summary: Summary) -> Iterator[str]:
    """Of what failed in a run that was published, who let it through and why: a sentence each."""
    for root in summary.roots:
        for one in root.failures:
            if one.muted and one.muted.waives:
                yield f"{_by(one.muted)} let the test on {_of(root, one)} through{_ending(one.muted)}"


def _titled(title: str, found: list[Line]) -> Section:
    """A line alone stands behind its title, several below it; what does not fit is counted."""
    shown: Section = []
    for line in found[:SHOWN]:
        if shown and size([*shown, line]) > LIMIT:
            break
        shown.append(line)
    rest = len(found) - len(shown)
    more: Section = [(f"… and {rest:,} more. ", _all())] if rest else []
    if len(shown) == 1 and not more:
        return [(Bold(title), " ", *shown[0])]
    return [(Bold(title),), *(("• ", *line) for line in shown), *more] if found else []


def _muted_failure(root: Root, one: Failure, *, holds: bool = False) -> Line:
    behind = ""
    if root.not_built and root.muted and one is root.failures[0]:
        behind = f", {helpers.counted(root.not_built)} behind it not built"
    if one.muted.waives:
        consequence = f" · let through{behind}"
    else:
        consequence = f" · it still holds the publish{behind}" if holds else ""
    since = f" since {words.day(one.since)}" if one.since else ""
    return (f"{_of(root, one)}: {short(one.measured, 120)}{since}, {_until(one.muted)}{consequence}",)


def _muted_figure(one: Finding) -> Line:
    holds = " · it still holds the publish" if one.unusual.holds else ""
    said = f"{short(one.title, 120)}: {short(one.value, 40)}; usually {short(one.usual, 80)}"
    return (f"{said}, {_until(one.muted)}{holds}",)


def _new(told: Told) -> Line:
    one, about = told.answer, short(told.about, 120)
    if told.end:
        kinds = {Kind.MUTE: "is no longer muted", Kind.MINE: f"{short(one.answered_by, 60)} no longer sees to it"}
        said = kinds.get(one.kind, "is no longer what was expected")
        return (f"{about}: {said}, says {short(told.end.ended_by, 60)}: {short(told.end.reason)}",)
    match one.kind:
        case Kind.MINE:
            said = f"{_by(one)} sees to it{_ending(one)}"
        case Kind.MUTE:
            said = f"{'let through' if one.waives else 'muted'} {_until(one)}"
        case _:
            said = f"was expected, says {_by(one)}{_ending(one)}"
    return (f"{about}: {said}",)


def _outlived(told: Outlived) -> Line:
    one, about = told.answer, short(told.about, 120)
    if told.well_since is None:
        return (f"{_by(one)}'s mute of {about} is over since {_day(one.until)}, and it is still not well",)
    said = f"{about} is well since {_day(told.well_since)}, and {_by(one)}'s mute goes on until {_day(one.until)}. "
    return (said, Link("End it", settings.health_url("answers", str(one.answer_id))))


def _of(root: Root, one: Failure) -> str:
    column = f".{short(one.column, 80)}" if one.column else ""
    freshness = "freshness of " if one.kind == "freshness" else ""
    return f"{freshness}{short(root.name, 120)}{column}"


def _until(one: Answer) -> str:
    return f"until {_day(one.until)} by {_by(one)}: {short(one.reason)}"


def _ending(one: Answer) -> str:
    until = f" until {_day(one.until)}" if one.until else ""
    return f"{until}: {short(one.reason)}"


def _by(one: Answer) -> str:
    return short(one.by, 120)


def _day(day: date | None) -> str:
    return f"{day:%d %b}" if day else ""


def _all() -> Link:
    return Link("All answers", settings.health_url("answers"))
