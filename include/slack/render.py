"""A report as a Slack message: pure functions from data to lines, for the two who read it.

`render` says all of it, to those who mend; `render_state` says what those who look at the data need to know. The first
line says it all, what is new comes before what is known, and the length is bounded: what does not fit is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from include import words
from include.results.failures import Failure, Root
from include.results.figures import Figure, Figures
from include.results.orders import OrderChange
from include.results.publications import Decision, Publication
from include.results.report import Report
from include.slack.message import Bold, Code, Line, Link, Mention, Message, Section, compose, short, size

__all__ = ["Message", "decided", "render", "render_state", "unheard", "unparsed", "unreachable", "unreported"]

# Of what failed and of what warned, in characters as Slack counts them. The whole stays below 10,000.
FAILED_LIMIT, WARNED_LIMIT = 4500, 1500
# Told in full: so many places of either, and as long as no more than this is used.
SHOWN_ROOTS, DETAILS_LIMIT = 8, 2500
SHOWN_ROWS = 5
# Changes of orders: so many are counted apart, and of so many the first orders are named.
COUNTED_CHANGES, NAMED_CHANGES = 6, 3
SHOWN_NAMES = 3
SHOWN_FIXED = 5
SHOWN_NOTES = 4
INDENT = "    "
_NAMES = {"repeat_rate": "Repeat rate", "orders": "Orders", "revenue": "Revenue", "conversion": "Conversion"}
_KINDS = {"source": "raw table", "freshness": "freshness"}


def render(report: Report) -> Message:
    """The one message of a run, in full."""
    broken = [
        *_broken("Failed", report.roots, report, FAILED_LIMIT),
        *_elsewhere(report),
        *_broken("Warned", report.warnings, report, WARNED_LIMIT),
    ]
    data = [_figures(report), _changes(report)]
    sections = [_state(report), *((*data, *broken) if report.published else (*broken, *data))]
    return compose(report.kind, _headline(report), filter(None, sections), _footer(report))


def render_state(report: Report) -> Message:
    """The same run to those who look at the data: what they see, its figures, and who is at it. No technical detail."""
    sections = [_state_of_the_data(report), _figures(report), _changes(report) if report.published else []]
    headline = _headline(report) if report.published or report.overtaken else "🔴 Greenery data: no new data"
    return compose(report.kind, headline.split(", ")[0], filter(None, sections), (f"run {short(report.run_id, 80)}",))


def decided(decision: Decision, live: Publication | None) -> Message:
    """What is said at once of a decision that somebody took by hand."""
    seen = f"People query the data as of {_moment(live.data_as_of)}." if live else "Nothing has been published yet."
    return compose(
        decision.action,
        f"✋ Greenery data: {_DECIDED.get(decision.action, decision.action)}",
        [[(_decision(decision),), (seen,)]],
        (f"decision {decision.decision_id}",),
    )


def unreachable(run_id: str, run_url: str, problem: str | None) -> Message:
    """What is said where not even the warehouse could be asked what happened."""
    headline = "🔴 Greenery data: the warehouse can't be reached"
    return _bare(headline, "Nobody can query the data, and this run could not end.", run_id, run_url, problem)


def unreported(run_id: str, run_url: str, problem: str | None) -> Message:
    """What is said where a run can't be summed up: silence would look as if all were well."""
    headline = "🔴 Greenery data: a run ended, and what became of it can't be told"
    return _bare(headline, "Its page says what failed. The report has to be mended.", run_id, run_url, problem)


def _bare(headline: str, line: str, run_id: str, run_url: str, problem: str | None) -> Message:
    lines: Section = [(line,), *([(Code(short(problem)),)] if problem else [])]
    return compose("failed", headline, [lines], _run(run_id, run_url))


def unparsed(problem: str) -> str:
    """The note on a run for which the project as it is now could not be used, with dbt's own words."""
    return short(f"the dbt project as it is now can't be used, so this run used the last release that could: {problem}")


def unheard() -> str:
    """The note on a run that published although its task failed."""
    return "the publish is in the warehouse, though Airflow shows it as failed: its answer was lost on the way"


def _headline(report: Report) -> str:
    if report.overtaken:
        return "ℹ️ Greenery data: a run that was published before ran again, and changed nothing"
    if report.published and report.decision and report.failed:
        return f"✋ Greenery data was published by hand, although {words.count(report.failed, 'test')} failed"
    if report.published:
        warned = f", {words.count(report.warned, 'warning')}" if report.warned else ""
        return f"✅ Greenery data is up to date{warned}"
    return f"🔴 Greenery data was not published: {_what_broke(report)}"


def _what_broke(report: Report) -> str:
    """The first thing that broke, in a few words, and how many others there are."""
    roots = _newest_first(report.roots)
    if not roots:
        return f"{words.count(report.failed, 'test')} failed" if report.failed else "the run did not reach the end"
    tests = [failure for failure in roots[0].failures if failure.kind in ("test", "freshness")]
    if tests and all(one.kind == "freshness" for one in tests):
        first = f"{short(roots[0].name, 60)} is stale"
    elif not tests or roots[0].kind == "test":
        first = f"{roots[0].kind} {short(roots[0].name, 60)} failed"
    else:
        first = f"{words.count(len(tests), 'test')} failed on {short(roots[0].name, 60)}"
    if roots[0].known:
        first += f", known since {words.day(min(one.since for one in roots[0].failures if one.since))}"
    return f"{first}, and {len(roots) - 1} more" if roots[1:] else first


def _state(report: Report) -> Section:
    """What people see, what that rests on, and how long it took."""
    lines: Section = []
    when = _moment(report.data_as_of)
    if report.published:
        lines.append((Bold(f"Published {when}."),))
    elif report.overtaken:
        lines.append((f"People query the data as of {when}, of another run.",))
    else:
        lines.append((Bold(_seen_meanwhile(report, "Stakeholders")),))
    lines += [(_decision(report.decision),)] if report.decision else []
    lines += [(_decision(report.hold),)] if report.hold and not report.published else []
    lines += [(_resolved(report),)] if report.resolved else []
    took = f" Took {words.span(report.took)}." if report.took is not None else ""
    return [*lines, (f"{_tests(report)}{took}",)]


def _state_of_the_data(report: Report) -> Section:
    when = _moment(report.data_as_of)
    if report.published:
        lines: Section = [(Bold(f"Published {when}."),), ("All tests that guard the data passed.",)]
        if report.decision:
            lines[1:] = [(_decision(report.decision),)]
        return lines + ([(f"New data again after {words.span(report.resolved.after)}.",)] if report.resolved else [])
    if report.overtaken:
        return [(Bold(f"You see the data as of {when}."),)]
    lines = [(Bold(_seen_meanwhile(report, "You")),)]
    lines += [(_decision(report.decision),)] if report.decision else []
    if report.data_as_of and report.decision is None:
        lines.append(("What you see is complete and tested; it is only older.",))
    owners = list(dict.fromkeys(root.owner.name for root in report.roots if root.owner))
    if owners:
        lines.append((f"Who is at it: {_names(owners)}.",))
    if report.hold:
        lines.append((_decision(report.hold),))
    return lines


def _seen_meanwhile(report: Report, who: str) -> str:
    when = _moment(report.data_as_of)
    return f"{who} still see the data as of {when}." if when else "Nothing has been published yet."


def _tests(report: Report) -> str:
    counts = {"passed": report.passed, "warned": report.warned, "failed": report.failed, "did not run": report.skipped}
    told = [f"{count:,} {what}" for what, count in counts.items() if count or what == "passed"]
    return f"Tests: {', '.join(told)}."


def _resolved(report: Report) -> str:
    names = [short(name, 80) for name in report.resolved.failed] if report.resolved else []
    what = f": {_names(names, SHOWN_FIXED)}" if names else ""
    return f"Resolved after {words.span(report.resolved.after)}{what}."


def _broken(title: str, roots: Iterable[Root], report: Report, limit: int) -> Iterator[Section]:
    """What failed or warned, by place: in full while there is room, then a line each, then counted.

    What was told before is a line with its age.
    """
    ordered = _newest_first(roots)
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
        yield [(Bold(f"{title}:"),), *brief]
    if told < total:
        yield [(f"… and {total - told:,} more {title.lower()}. ", Link("All of them", report.run_url))]


def _newest_first(roots: Iterable[Root]) -> list[Root]:
    return sorted(roots, key=lambda root: root.known)


def _root(root: Root, room: int) -> tuple[Section, int]:
    """A place where it broke, in full, and how many of its failures have found room."""
    own = [failure for failure in root.failures if failure.kind not in ("test", "freshness")]
    lines: Section = [(*_heading(root), *((f": {short(own[0].measured)}", _age(own[0])) if own else ()))]
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
    owner: Line = ()
    if root.owner:
        owner = (" · ", Mention(short(root.owner.name, 60), short(root.owner.slack or "", 60) or None))
    return (f"{kind} ", Bold(short(root.name, 120)), *owner)


def _failure(failure: Failure) -> Iterator[Line]:
    """A failed test with its rows; one that was told before is a line."""
    yield _line(failure, _column(failure))
    if failure.since:
        return
    yield (f"{INDENT}{failure.kind} {short(failure.name, 160)}",)
    for row in failure.rows[:SHOWN_ROWS]:
        yield (INDENT, Code(short(", ".join(f"{name} = {_value(value)}" for name, value in row.items()), 160)))


def _line(failure: Failure, where: str) -> Line:
    expected = f"; expected {short(failure.expected, 160)}" if failure.expected else ""
    return (f"• {where}{short(failure.measured)}{expected}", _age(failure))


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
        behind = (
            f" · {words.count(len(root.not_built), 'model')} behind it not built" if failure.since and not lines else ""
        )
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
        return f" (known since {_moment(failure.since)})"
    return f" (known since {words.day(failure.since)}, {words.count(failure.days, 'day')})"


def _consequences(root: Root) -> Iterator[Line]:
    """What it holds up, and where to look."""
    if root.not_built:
        verb = "model behind it was" if len(root.not_built) == 1 else "models behind it were"
        yield (f"{len(root.not_built):,} {verb} not built: {_names(root.not_built)}",)
    if root.also_failed:
        yield (f"Failed because of it: {_names(root.also_failed)}",)
    if root.exposures:
        yield (f"Downstream: {_names(root.exposures, 5)}",)
    if root.log_url:
        yield (Link("Log of the task", root.log_url),)


def _elsewhere(report: Report) -> Iterator[Section]:
    """Models that were not built for no reason of their own, and what is well again."""
    lines: Section = []
    if report.not_built:
        more = "other " if any(root.not_built for root in report.roots) else ""
        verb = "model was" if len(report.not_built) == 1 else "models were"
        stopped = any(root.kind == "source" for root in report.roots)
        why = " (a broken raw table stops the run)" if stopped else ""
        lines.append((f"{len(report.not_built):,} {more}{verb} not built{why}: {_names(report.not_built)}",))
    if report.fixed and not report.resolved:
        lines.append((f"Fixed: {_names([short(name, 80) for name in report.fixed], SHOWN_FIXED)}",))
    if lines:
        yield lines


def _figures(report: Report) -> Section:
    """The figures of what people see; their change is told with the publish that made it."""
    figures, lines = report.figures, []
    if figures.repeat_rate:
        who = f"({figures.repeat_buyers:,} of {figures.buyers:,} buyers ordered more than once)"
        label = "Repeat rate" if report.published else "Repeat rate, as published"
        rate = words.figure(figures.repeat_rate.value, "repeat_rate")
        lines.append((f"{label}: {rate} {who}", _change(figures.repeat_rate, report)))
    if figures.daily and figures.day:
        lines.append((f"On {_weekday(figures.day)}{_how_long_ago(figures)}:",))
        lines += [
            (f"{INDENT}{_NAMES[one.name]}: {words.figure(one.value, one.name)}", _change(one, report))
            for one in figures.daily
        ]
    if lines and report.published and _compared(figures):
        lines.append((f"Compared with the publish of {_moment(figures.former_as_of)}.",))
    return lines


def _how_long_ago(figures: Figures) -> str:
    """Why the day is not yesterday, where it is not."""
    if figures.days_before is None:
        return ""
    return f", the last day with an order or a session, {words.count(figures.days_before, 'day')} before the publish"


def _compared(figures: Figures) -> bool:
    stated = [figure for figure in (figures.repeat_rate, *figures.daily) if figure]
    return figures.former_as_of is not None and any(figure.former is not None for figure in stated)


def _change(figure: Figure, report: Report) -> str:
    if figure.former is None or not report.published:
        return ""
    change = figure.value - figure.former
    amount = words.difference(abs(change), figure.name)
    if not any(digit in amount for digit in "123456789"):
        return " = unchanged"
    return f" {'▲' if change > 0 else '▼'} {amount}"


def _changes(report: Report) -> Section:
    if not report.follows_orders:
        return []
    if report.order_changes is None:
        return [("What changed in the orders was not recorded in this run; the next one that can will tell.",)]
    if not report.order_changes:
        return [("No order changed status since the last run.",)]
    told, rest = report.order_changes[:COUNTED_CHANGES], report.order_changes[COUNTED_CHANGES:]
    lines = [line for number, one in enumerate(told) for line in _order_change(one, named=number < NAMED_CHANGES)]
    if rest:
        orders, changes = sum(one.count for one in rest), len(rest)
        lines.append((f"… and {words.count(orders, 'order')} in {words.count(changes, 'other change')}",))
    return lines


def _order_change(change: OrderChange, *, named: bool) -> Iterator[Line]:
    before, after = short(_value(change.before), 40), short(_value(change.after), 40)
    yield (f"{words.count(change.count, 'order')} went from {before} to {after}",)
    if not named:
        return
    for order in change.first:
        tracking = (", tracking ", Code(short(order.tracking_id, 60))) if order.tracking_id else ()
        yield (INDENT, Code(short(order.order_id, 60)), *tracking)
    if change.count > len(change.first):
        yield (f"{INDENT}and {change.count - len(change.first):,} more",)


_DECIDED = {
    "publish": "published by hand",
    "roll back": "rolled back",
    "hold": "publishing is held back",
    "release": "publishing goes on",
    "accept history": "the snapshots are accepted as they are",
}


def _decision(decision: Decision) -> str:
    what = _DECIDED.get(decision.action, decision.action)
    who, when = short(decision.decided_by, 60), _moment(decision.decided_at)
    return f"{what[0].upper()}{what[1:]} by {who} on {when}: {short(decision.reason)}"


def _footer(report: Report) -> Line:
    health: Line = (Link("Data health", report.health_url), " · ") if report.health_url else ()
    notes = "".join(f" · {short(note)}" for note in report.notes[:SHOWN_NOTES])
    more = f" · and {others} more such notes" if (others := len(report.notes) - SHOWN_NOTES) > 0 else ""
    return (*health, *_run(report.run_id, report.run_url), notes + more)


def _run(run_id: str, run_url: str) -> Line:
    return (Link("Open the run in Airflow", run_url), f" · run {short(run_id, 120)}")


def _names(names: Sequence[str], shown: int = SHOWN_NAMES) -> str:
    first = [short(name, 80) for name in names[:shown]]
    rest = len(names) - len(first)
    if rest:
        return f"{', '.join(first)} and {rest:,} more"
    return " and ".join([", ".join(first[:-1]), first[-1]] if first[1:] else first)


def _moment(at: datetime | None) -> str | None:
    return words.moment(at) if at else None


def _weekday(day: date) -> str:
    return f"{day:%a %d %b %Y}"


def _value(value: Any) -> str:
    return "null" if value is None else str(value)
