"""What is unusual, as lines of a message: the worst in full, what was told before in a line, the others counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from include import settings, words
from include.answers.answer import form_url
from include.results.summary import Summary
from include.results.unusual import Finding
from include.slack.answered import sees_to_it
from include.slack.failures import owned_by
from include.slack.message import INDENT, Bold, Line, Link, Section, listed, short, size

# So many are told in full, and so many of those that were told before have a line.
SHOWN, SHOWN_KNOWN = 3, 3
# In characters as Slack counts them; what does not fit is counted.
LIMIT = 2400


def counted(findings: Sequence[Finding]) -> str:
    """How many there are, for the first line: "2 figures are unusual"; empty where there are none."""
    if not findings:
        return ""
    said = f"{words.count(len(findings), 'figure')} {'is' if len(findings) == 1 else 'are'} unusual"
    if all(map(_is_known, findings)):
        said += f" since {words.weekday(min(one.unusual.since for one in findings))}"
    return said


def of_marts(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What is told to those who look at the data: figures of what they query, together with what goes together."""
    told = []
    for one in findings:
        alone = replace(one, with_it=())
        if together := [each for each in (alone, *one.with_it) if each.of_marts]:
            told.append(replace(together[0], with_it=tuple(together[1:])))
    return tuple(told)


def lines(findings: Sequence[Finding], summary: Summary) -> Section:
    """The worst of what is new in full, what was told before in a line each, and how many more there are."""
    new = [one for one in findings if not _is_known(one)]
    known = [one for one in findings if _is_known(one)]
    section: Section = []
    told = 0
    for one in [*new[:SHOWN], *known[:SHOWN_KNOWN]]:
        wanted = [_known(one)] if _is_known(one) else list(_in_full(one, published=summary.published))
        if size([*section, *wanted]) > LIMIT:
            break
        section += wanted
        told += 1
    if rest := len(findings) - told:
        section.append((f"… and {rest:,} more. ", Link("All that is unusual", settings.health_url("unusual"))))
    return [(Bold("Unusual:"),), *section] if section else []


def _in_full(one: Finding, *, published: bool) -> Iterator[Line]:
    held = " · holds the publish" if one.unusual.holds and not published else ""
    yield ("• ", *_sentence(one), held, *owned_by(one.owner), sees_to_it(one.mine))
    if one.with_it:
        first = [short(each.title, 80) for each in one.with_it]
        yield (f"{INDENT}With it {words.count(len(first), 'figure')}: {listed(first)}",)
    stands = f"Downstream: {listed(one.exposures)} · " if one.exposures else ""
    yield (f"{INDENT}{stands}", Link("Answer", form_url(one.unusual.series.about(one.unusual.day))))


def _known(one: Finding) -> Line:
    """A line for what was told before, with its age."""
    days = (one.unusual.day - one.unusual.since).days
    owner = f" · {short(one.owner.name, 60)}" if one.owner else ""
    return (
        "• ",
        *_sentence(one),
        f" (since {words.weekday(one.unusual.since)}, {words.count(days, 'day')})",
        owner,
        sees_to_it(one.mine),
    )


def _sentence(one: Finding) -> Line:
    """What was found, when, and what is usual: "Orders: 12 on Mon 23 Nov; a Monday has 31 to 48"."""
    day, days = one.unusual.day, one.unusual.days
    when = f" on {words.weekday(day)}" if one.of_day else ""
    usually = f"a {day:%A} has" if one.by_weekday else "usually"
    if days > 1:
        when, usually = f" over the {days} days to {words.weekday(day)}", "usually"
    return (
        Bold(short(one.title[:1].upper() + one.title[1:], 120)),
        f": {short(one.value, 40)}{when}; {usually} {short(one.usual, 80)}",
    )


def _is_known(one: Finding) -> bool:
    return one.unusual.since < one.unusual.day
