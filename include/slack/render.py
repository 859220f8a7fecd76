"""A report as a Slack message: pure functions from data to lines, for the two who read it.

`render` says all of it, to those who mend; `render_state` says what those who look at the data need to know. The first
line says it all, what is new comes before what is known, and the length is bounded: what does not fit is counted.
"""

from __future__ import annotations

from datetime import datetime

from include import words
from include.results.report import Report
from include.slack import failures, figures, orders
from include.slack.message import Bold, Line, Link, Message, Section, compose, listed, short
from include.slack.notices import by_hand, of_run

# Of what failed and of what warned, in characters as Slack counts them. The whole stays below 10,000.
FAILED_LIMIT, WARNED_LIMIT = 4500, 1500
SHOWN_NOTES = 4


def render(report: Report) -> Message:
    """The one message of a run, in full."""
    broken = [
        *failures.broken("Failed", report.roots, report, FAILED_LIMIT),
        *failures.elsewhere(report),
        *failures.broken("Warned", report.warnings, report, WARNED_LIMIT),
    ]
    data = [figures.lines(report), orders.lines(report)]
    sections = [_state(report), *((*data, *broken) if report.published else (*broken, *data))]
    return compose(report.kind, _headline(report), filter(None, sections), _footer(report))


def render_state(report: Report) -> Message:
    """The same run to those who look at the data: what they see, its figures, and who is at it. No technical detail."""
    sections = [_state_of_the_data(report), figures.lines(report), orders.lines(report) if report.published else []]
    headline = _headline(report) if report.published or report.overtaken else "🔴 Greenery data: no new data"
    return compose(report.kind, headline.split(", ")[0], filter(None, sections), (f"run {short(report.run_id, 80)}",))


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
    roots = failures.newest_first(report.roots)
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
    lines += [(by_hand(report.decision),)] if report.decision else []
    lines += [(by_hand(report.hold),)] if report.hold and not report.published else []
    lines += [(_resolved(report),)] if report.resolved else []
    took = f" Took {words.span(report.took)}." if report.took is not None else ""
    return [*lines, (f"{_tests(report)}{took}",)]


def _state_of_the_data(report: Report) -> Section:
    when = _moment(report.data_as_of)
    if report.published:
        lines: Section = [(Bold(f"Published {when}."),), ("All tests that guard the data passed.",)]
        if report.decision:
            lines[1:] = [(by_hand(report.decision),)]
        return lines + ([(f"New data again after {words.span(report.resolved.after)}.",)] if report.resolved else [])
    if report.overtaken:
        return [(Bold(f"You see the data as of {when}."),)]
    lines = [(Bold(_seen_meanwhile(report, "You")),)]
    lines += [(by_hand(report.decision),)] if report.decision else []
    if report.data_as_of and report.decision is None:
        lines.append(("What you see is complete and tested; it is only older.",))
    owners = list(dict.fromkeys(root.owner.name for root in report.roots if root.owner))
    if owners:
        lines.append((f"Who is at it: {listed(owners)}.",))
    if report.hold:
        lines.append((by_hand(report.hold),))
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
    what = f": {listed(names, failures.SHOWN_FIXED)}" if names else ""
    return f"Resolved after {words.span(report.resolved.after)}{what}."


def _footer(report: Report) -> Line:
    health: Line = (Link("Data health", report.health_url), " · ") if report.health_url else ()
    notes = "".join(f" · {short(note)}" for note in report.notes[:SHOWN_NOTES])
    more = f" · and {others} more such notes" if (others := len(report.notes) - SHOWN_NOTES) > 0 else ""
    return (*health, *of_run(report.run_id, report.run_url), notes + more)


def _moment(at: datetime | None) -> str | None:
    return words.moment(at) if at else None
