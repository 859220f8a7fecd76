"""A summary as a Slack message: pure functions from data to lines, for the two who read it.

`render` says all of it, to those who mend; `render_state` says what those who look at the data need to know. The first
line says it all, what is new comes before what is known, and the length is bounded: what does not fit is counted.
"""

from __future__ import annotations

from datetime import datetime

from include import words
from include.results.summary import Summary
from include.results.unusual import Finding
from include.slack import answered, explained, failures, figures, moved, orders, unusual
from include.slack.message import Bold, Line, Link, Message, Section, compose, listed, plain, short
from include.slack.notices import by_hand, of_run

# Of what failed and of what warned, in characters as Slack counts them. The whole stays below 10,000.
FAILED_LIMIT, WARNED_LIMIT = 4500, 1500
SHOWN_NOTES = 4
# Enough to quote what to write into which file.
LONGEST_PROBLEM = 600


def render(summary: Summary) -> Message:
    """The one message of a run, in full."""
    return compose(summary.kind, _headline(summary), _sections(summary), _footer(summary))


def render_to_come(summary: Summary) -> str:
    """The same of a run that there is not yet, as plain text: without what leads to a run or to an answer."""
    sections = (
        [tuple(one for one in line if not isinstance(one, Link)) for line in each] for each in _sections(summary)
    )
    said = [[line for line in section if plain(line).strip(" ·")] for section in sections]
    return compose(summary.kind, _headline(summary), filter(None, said), ()).body.rstrip()


def _sections(summary: Summary) -> list[Section]:
    broken = [
        *failures.broken("Failed", failures.loud(summary.roots), summary, FAILED_LIMIT),
        *failures.elsewhere(summary),
        *failures.broken("Warned", failures.loud(summary.warnings), summary, WARNED_LIMIT),
        answered.lines(summary),
    ]
    odd = unusual.lines(summary.unusual, summary)
    data = [
        figures.lines(summary),
        explained.lines(summary, in_full=True),
        moved.lines(summary, keys=True),
        orders.lines(summary),
    ]
    sections = [_state(summary), *((odd, *data, *broken) if summary.published else (*broken, odd, *data))]
    return [section for section in sections if section]


def render_state(summary: Summary) -> Message:
    """The same run to those who look at the data: what they see, its figures, and who is at it. No technical detail."""
    # What they see on a red day is as it was told then.
    odd = unusual.of_marts(summary.unusual) if summary.published else ()
    sections = [
        _state_of_the_data(summary),
        unusual.lines(odd, summary),
        answered.muted_figures(one for one in summary.muted if one.of_marts and summary.published),
        figures.lines(summary),
        explained.lines(summary, in_full=False),
        moved.lines(summary, keys=False),
        orders.lines(summary) if summary.published else [],
    ]
    headline = _headline(summary) if summary.published or summary.overtaken else "🔴 Greenery data: no new data"
    headline = ", ".join(filter(None, (headline.split(", ")[0], unusual.counted(odd), moved.counted(summary))))
    return compose(summary.kind, headline, filter(None, sections), (f"run {short(summary.run_id, 80)}",))


def unparsed(problem: str) -> str:
    """What is said of a run for which the project as it is now could not be used, with what is wrong with it."""
    said = f"The dbt project as it is now can't be used, so this run used the last release that could: {problem}"
    return f"⚠️ {short(said, LONGEST_PROBLEM)}"


def unheard() -> str:
    """The note on a run that published although its task failed."""
    return "the publish is in the warehouse, though Airflow shows it as failed: its answer was lost on the way"


def _headline(summary: Summary) -> str:
    if summary.overtaken:
        return "ℹ️ Greenery data: a run that was published before ran again, and changed nothing"
    if summary.published and summary.failed:
        were = "was" if summary.failed == 1 else "were"
        said = (
            f"by hand, although {words.count(summary.failed, 'test')} failed"
            if summary.decision
            else f"although {words.count(summary.failed, 'failed test')} {were} let through"
        )
        told = (f"✋ Greenery data was published {said}", _unusual(summary), moved.counted(summary))
        return ", ".join(filter(None, told))
    if summary.published:
        warned = words.count(summary.warned, "warning") if summary.warned else ""
        if muted := sum(bool(one.muted) for root in summary.warnings for one in root.failures):
            warned += f" ({muted:,} muted)"
        told = ("✅ Greenery data is up to date", warned, _unusual(summary), moved.counted(summary))
        return ", ".join(filter(None, told))
    return f"🔴 Greenery data was not published: {_what_broke(summary)}"


def _what_broke(summary: Summary) -> str:
    """The first thing that broke, in a few words, and how many others there are."""
    roots = failures.newest_first(summary.roots)
    if not roots:
        return f"{words.count(summary.failed, 'test')} failed" if summary.failed else "the run did not reach the end"
    if [root.name for root in roots] == ["publish"] and (held := _holding(summary)):
        return f"held, as {unusual.counted(held)}"
    tests = [failure for failure in roots[0].failures if failure.kind in ("test", "freshness")]
    if tests and all(one.kind == "freshness" for one in tests):
        first = f"{short(roots[0].name, 60)} is stale"
    elif not tests or roots[0].kind == "test":
        first = f"{roots[0].kind} {short(roots[0].name, 60)} failed"
    else:
        first = f"{words.count(len(tests), 'test')} failed on {short(roots[0].name, 60)}"
    if roots[0].muted:
        first += ", which is muted"
    elif roots[0].known:
        first += f", known since {words.day(min(one.since for one in roots[0].failures if one.since))}"
    return f"{first}, and {len(roots) - 1} more" if roots[1:] else first


def _unusual(summary: Summary) -> str:
    """How much is unusual, what is muted included."""
    said, muted = unusual.counted(summary.unusual), len(summary.muted)
    if said and muted:
        return f"{said} ({muted:,} more muted)"
    return said or unusual.counted(summary.muted).replace(" figure", " muted figure")


def _holding(summary: Summary) -> list[Finding]:
    """What is unusual and holds the publish, whatever it is told with."""
    every = [*(each for one in summary.unusual for each in (one, *one.with_it)), *summary.muted]
    return [one for one in every if one.unusual.holds]


def _state(summary: Summary) -> Section:
    """What people see, what that rests on, and how long it took."""
    lines: Section = []
    when = _moment(summary.data_as_of)
    if summary.published:
        lines.append((Bold(f"Published {when}."),))
    elif summary.overtaken:
        lines.append((f"People query the data as of {when}, of another run.",))
    else:
        lines.append((Bold(_seen_meanwhile(summary, "Stakeholders")),))
    lines += [(unparsed(summary.project_problem),)] if summary.project_problem else []
    lines += [(by_hand(summary.decision),)] if summary.decision else []
    lines += [(by_hand(summary.hold),)] if summary.hold and not summary.published else []
    lines += [(_resolved(summary),)] if summary.resolved else []
    took = f" Took {words.span(summary.took)}." if summary.took is not None else ""
    return [*lines, (f"{_tests(summary)}{took}",)]


def _state_of_the_data(summary: Summary) -> Section:
    when = _moment(summary.data_as_of)
    if summary.published:
        lines: Section = [(Bold(f"Published {when}."),), ("All tests that guard the data passed.",)]
        if summary.decision:
            lines[1:] = [(by_hand(summary.decision),)]
        elif summary.failed:
            # Nobody is named whose answer has ended since.
            waived = list(answered.waived(summary)) or [f"{words.count(summary.failed, 'failed test')} let through."]
            lines[1:] = [(said,) for said in waived[: answered.SHOWN]]
        return lines + ([(f"New data again after {words.span(summary.resolved.after)}.",)] if summary.resolved else [])
    if summary.overtaken:
        return [(Bold(f"You see the data as of {when}."),)]
    lines = [(Bold(_seen_meanwhile(summary, "You")),)]
    lines += [(by_hand(summary.decision),)] if summary.decision else []
    if summary.data_as_of and summary.decision is None:
        lines.append(("What you see is complete and tested; it is only older.",))
    owners = list(dict.fromkeys(one.owner.name for one in (*summary.roots, *_holding(summary)) if one.owner))
    if owners:
        lines.append((f"Who is at it: {listed(owners)}.",))
    if summary.hold:
        lines.append((by_hand(summary.hold),))
    return lines


def _seen_meanwhile(summary: Summary, who: str) -> str:
    when = _moment(summary.data_as_of)
    return f"{who} still see the data as of {when}." if when else "Nothing has been published yet."


def _tests(summary: Summary) -> str:
    counts = {"passed": summary.passed, "warned": summary.warned, "failed": summary.failed}
    counts |= {"did not run": summary.skipped}
    told = [f"{count:,} {what}" for what, count in counts.items() if count or what == "passed"]
    return f"Tests: {', '.join(told)}."


def _resolved(summary: Summary) -> str:
    names = [short(name, 80) for name in summary.resolved.failed] if summary.resolved else []
    what = f": {listed(names, failures.SHOWN_FIXED)}" if names else ""
    return f"Resolved after {words.span(summary.resolved.after)}{what}."


def _footer(summary: Summary) -> Line:
    health: Line = (Link("Data health", summary.health_url), " · ") if summary.health_url else ()
    notes = "".join(f" · {short(note)}" for note in summary.notes[:SHOWN_NOTES])
    more = f" · and {others} more such notes" if (others := len(summary.notes) - SHOWN_NOTES) > 0 else ""
    return (*health, *of_run(summary.run_id, summary.run_url), notes + more)


def _moment(at: datetime | None) -> str | None:
    return words.moment(at) if at else None
