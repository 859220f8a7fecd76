"""What failed or warned, as lines of a message: in full while there is room, then a line each, then counted.

What was told before is a line with its age.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from include import settings, words
from include.answers.answer import About, form_url
from include.dbt_project import helpers
from include.results.failures import Failure, Owner, Root
from include.results.summary import Summary
from include.slack import answered
from include.slack.message import INDENT, Bold, Code, Line, Link, Mention, Section, listed, short, size

# Told in full: so many places of either, and as long as no more than this is used.
SHOWN_ROOTS, DETAILS_LIMIT = 8, 2500
SHOWN_ROWS = 5
SHOWN_FIXED = 5
_KINDS = {"source": "raw table", "freshness": "freshness"}


def broken(title: str, roots: Iterable[Root], summary: Summary, limit: int) -> Iterator[Section]:
    """What failed or warned, by place: in full while there is room, then a line each, then counted.

    What was told before is a line with its age.
    """
    ordered = newest_first(roots)
    total = sum(len(root.failures) for root in ordered)
    told = used = 0
    brief: Section = []
    for number, root in enumerate(ordered):
        full = not root.known and number < SHOWN_ROOTS and used < DETAILS_LIMIT
        lines, count = _root(root, limit - used) if full else _briefly(root, limit - used)
        if full:
            yield [(Bold(f"{title}:"), " ", *lines[0]), *lines[1:]]
        else:
            brief += lines
        used += size(lines)
        told += count
        if count < len(root.failures):
            break
    if brief:
        page = _page(title, ordered)
        yield [(Bold(f"{title}:"),), *brief, *([(page,)] if page else [])]
    if told < total:
        yield [(f"… and {total - told:,} more {title.lower()}. ", Link("All of them", summary.run_url))]


def _page(title: str, roots: Iterable[Root]) -> Link | None:
    """The page that leads to an answer to each test which is told in a line; None where none is."""
    if not any(failure.unique_id for root in roots for failure in root.failures):
        return None
    state = "warn" if title == "Warned" else "fail"
    return Link("Mute one, or say that you see to it", f"{settings.health_url('tests')}?state={state}")


def newest_first(roots: Iterable[Root]) -> list[Root]:
    return sorted(roots, key=lambda root: (root.muted, root.known))


def loud(roots: Iterable[Root]) -> list[Root]:
    """The same without what is muted."""
    return [
        replace(root, failures=tuple(failure for failure in root.failures if not failure.muted))
        for root in roots
        if not root.muted
    ]


def _root(root: Root, room: int) -> tuple[Section, int]:
    """A place where it broke, in full, and how many of its failures have found room."""
    own = [failure for failure in root.failures if failure.kind not in ("test", "freshness")]
    lines: Section = [
        (
            *_heading(root),
            *((f": {short(own[0].measured)}", _age(own[0]), answered.sees_to_it(own[0].mine)) if own else ()),
        )
    ]
    ending = list(_consequences(root))
    used, told = size(lines) + size(ending), len(own)
    for failure in sorted(root.failures, key=lambda failure: failure.since is not None):
        if failure in own:
            continue
        wanted = list(_failure(failure))
        if used + size(wanted) > min(room, DETAILS_LIMIT):
            wanted = [_line(failure, _column(failure))]
        if told and used + size(wanted) > room:
            break
        lines += wanted
        used += size(wanted)
        told += 1
    return [*lines, *ending], told


def _heading(root: Root) -> Line:
    kind = _KINDS.get(root.kind, root.kind)
    return (f"{kind} ", Bold(short(root.name, 120)), *owned_by(root.owner))


def owned_by(owner: Owner | None) -> Line:
    """Whose it is, after what it is called; that one is notified."""
    return (" · ", Mention(short(owner.name, 60), short(owner.slack or "", 60) or None)) if owner else ()


def _failure(failure: Failure) -> Iterator[Line]:
    """A failed test with its rows; one that was told before is a line."""
    yield _line(failure, _column(failure))
    if failure.since:
        return
    yield (f"{INDENT}{failure.kind} {short(failure.name, 160)}",)
    for row in failure.rows[:SHOWN_ROWS]:
        yield (INDENT, Code(short(", ".join(f"{name} = {words.value(value)}" for name, value in row.items()), 160)))


def _line(failure: Failure, where: str) -> Line:
    expected = f"; {short(failure.wanted, 170)}" if failure.wanted else ""
    return (f"• {where}{short(failure.measured)}{expected}", _age(failure), answered.sees_to_it(failure.mine))


def _column(failure: Failure) -> str:
    return f"{short(failure.column, 80)}: " if failure.column else ""


def _briefly(root: Root, room: int) -> tuple[Section, int]:
    """A line for each failure of a place, and how many there was room for."""
    lines: Section = []
    for failure in root.failures:
        where = f"{short(root.name, 120)}{'.' + short(failure.column, 80) if failure.column else ''}: "
        kind = "" if failure.kind in ("test", "freshness") else f"{_KINDS.get(root.kind, root.kind)} "
        # What is known says in a line what it said in many before; what is new and found no room in full is only named.
        owner = f" · {short(root.owner.name, 60)}" if root.owner and failure.since else ""
        behind = f" · {helpers.counted(root.not_built)} behind it not built" if failure.since and not lines else ""
        told = failure if failure.since else replace(failure, expected=None)
        line = (*_line(told, f"{kind}{where}"), owner, behind if root.not_built else "")
        if size([*lines, line]) > room:
            break
        lines.append(line)
    return lines, len(lines)


def _age(failure: Failure) -> str:
    if failure.since is None:
        return " (new)"
    if failure.days == 0:
        return f" (known since {words.moment(failure.since)})"
    return f" (known since {words.day(failure.since)}, {words.count(failure.days, 'day')})"


def _consequences(root: Root) -> Iterator[Line]:
    """What it holds up, and where to look."""
    if root.not_built:
        yield (f"{helpers.counted(root.not_built)} behind it {_not_built(root.not_built)}",)
    if root.also_failed:
        yield (f"Failed because of it: {listed(root.also_failed)}",)
    if root.exposures:
        yield (f"Downstream: {listed(root.exposures, 5)}",)
    links = [Link("Log of the task", root.log_url)] if root.log_url else []
    links += [Link("Answer", form_url(about))] if (about := _asked(root)) else []
    if links:
        yield tuple(piece for link in links for piece in (" · ", link))[1:]


def _asked(root: Root) -> About | None:
    """What an answer to a place is about: the one test that failed there, or all of the place."""
    alone = root.failures[0].unique_id if len(root.failures) == 1 else ""
    return About(alone or root.unique_id) if root.unique_id else None


def _not_built(models: Sequence[str], why: str = "") -> str:
    """That they were not built, with the names of those that are no helpers."""
    named, _ = helpers.apart(models)
    verb = "was" if len(models) == 1 else "were"
    return f"{verb} not built{why}{': ' if named else ''}{listed(named)}"


def elsewhere(summary: Summary) -> Iterator[Section]:
    """Models that were not built for no reason of their own, and what is well again."""
    lines: Section = []
    if summary.not_built:
        which = "other " if any(root.not_built for root in summary.roots) else ""
        stopped = any(root.kind == "source" for root in summary.roots)
        why = " (a broken raw table stops the run)" if stopped else ""
        lines.append((f"{helpers.counted(summary.not_built, which)} {_not_built(summary.not_built, why)}",))
    if summary.fixed and not summary.resolved:
        lines.append((f"Fixed: {listed([short(name, 80) for name in summary.fixed], SHOWN_FIXED)}",))
    if lines:
        yield lines
