"""A report as a Slack message: pure functions from data to Block Kit and to plain text.

Everything that comes from data is escaped, and the length is bounded: Slack takes 50 blocks and 3,000 characters a
section, and nobody reads a hundred lines on a phone. What does not fit is counted, and the link leads to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, MarkdownTextObject, PlainTextObject, SectionBlock

from include.results.publications import Decision, Publication
from include.results.report import Failure, Report
from include.results.store import OrderChange

SHOWN_ROWS = 3
# Of what broke, in characters: what is longer is counted. The whole message stays below Slack's 10,000 or so.
BROKEN_LIMIT = 4500
ROWS_LIMIT = 2000
SHOWN_IDS = 5
SHOWN_CHANGES = 6
LONGEST_TEXT = 240
SECTION_LIMIT = 3000
HEADER_LIMIT = 150


@dataclass(frozen=True)
class Message:
    """What is sent: `headline` for notifications, `body` as plain text to print, `blocks` for Slack."""

    kind: str
    headline: str
    body: str
    blocks: list[dict[str, Any]]


def render(report: Report) -> Message:
    """The one message of a run."""
    headline = _headline(report)
    sections = [part for part in (_state(report), *_broken(report), _figures(report), _changes(report)) if part]
    footer = " · ".join([f"run {report.run_id}", *report.notes])
    return _message(report.kind, headline, sections, report.run_url, footer)


def unparsed(problem: str) -> str:
    """The note on a run for which the project as it is now could not be used, with dbt's own words."""
    return _short(f"the dbt project as it is now does not parse, so this run used the last release that did: {problem}")


def unreachable(run_id: str, run_url: str, problem: str) -> Message:
    """What is said where not even the warehouse could be asked what happened."""
    headline = "🔴 Greenery data: the warehouse can't be reached"
    lines = ["Nobody can query the data, and this run could not end.", _short(problem)]
    return _message("failed", headline, [lines], run_url, f"run {run_id}")


def _message(kind: str, headline: str, sections: list[list[str]], url: str | None, footer: str) -> Message:
    blocks: list[Block] = [HeaderBlock(text=PlainTextObject(text=headline[:HEADER_LIMIT], emoji=True))]
    blocks += [SectionBlock(text=MarkdownTextObject(text=_markdown(part))) for part in sections]
    link = f"<{url}|Open the run in Airflow> · " if url else ""
    blocks.append(ContextBlock(elements=[MarkdownTextObject(text=f"{link}{escape(footer)}"[:SECTION_LIMIT])]))
    ending = f"{url}\n{footer}" if url else footer
    body = "\n\n".join([headline, *("\n".join(part) for part in sections), ending])
    return Message(kind, headline, body, [block.to_dict() for block in blocks])


def escape(text: str) -> str:
    """Slack's three control characters, so that `<!channel>` in a product's name pages nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _headline(report: Report) -> str:
    if report.overtaken:
        return "ℹ️ Greenery data: a run that was published before ran again, and changed nothing"
    if report.published:
        warned = f", {_count(report.warned, 'warning')}" if report.warned else ""
        return f"✅ Greenery data is up to date{warned}"
    return f"🔴 Greenery data was not published: {_what_broke(report)}"


def _what_broke(report: Report) -> str:
    if report.failed:
        return f"{_count(report.failed, 'test')} failed"
    if report.failures:
        return f"{report.failures[0].kind} {report.failures[0].name} failed"
    return "the run did not reach the end"


def _state(report: Report) -> list[str]:
    tests = f"Tests: {report.passed} passed, {report.warned} warned, {report.failed} failed, {report.skipped} skipped."
    when = _moment(report.data_as_of)
    by_hand = [_decision(report.decision)] if report.decision else []
    if report.published:
        return [f"Published {when}.", *by_hand, tests]
    if report.overtaken:
        return [f"People query the data as of {when}, of another run.", *by_hand]
    seen = f"Stakeholders still see the data as of {when}." if when else "Nothing has been published yet."
    held = [_decision(report.hold)] if report.hold else []
    return [seen, *by_hand, *held, tests]


def decided(decision: Decision, live: Publication | None) -> Message:
    """What is said at once of a decision that somebody took by hand."""
    what = _DECIDED[decision.action]
    seen = f"People query the data as of {_moment(live.data_as_of)}." if live else "Nothing has been published yet."
    return _message(
        decision.action,
        f"✋ Greenery data: {what}",
        [[_decision(decision), seen]],
        None,
        f"decision {decision.decision_id}",
    )


_DECIDED = {
    "publish": "published by hand",
    "roll back": "rolled back",
    "hold": "publishing is held back",
    "release": "publishing goes on",
}


def _decision(decision: Decision) -> str:
    when = _moment(decision.decided_at)
    what = _DECIDED[decision.action]
    return _short(f"{what[0].upper()}{what[1:]} by {decision.decided_by} on {when}: {decision.reason}")


def _moment(at: datetime | None) -> str | None:
    return f"{at.astimezone(UTC):%d %b %Y %H:%M} UTC" if at else None


def _broken(report: Report) -> Iterable[list[str]]:
    """What failed and what warned, all of it by name as far as there is room, in sections that Slack takes."""
    for title, items in (("Failed", report.failures), ("Warned", report.warnings)):
        section, used = [f"{title}:"], 0
        for shown, item in enumerate(items):
            lines = _failure(item, with_rows=used < ROWS_LIMIT)
            size = len(_markdown(lines)) + 1
            if used + size > BROKEN_LIMIT // (2 if title == "Warned" else 1):
                section.append(f"… and {len(items) - shown} more; the run's page lists them.")
                break
            if len(_markdown(section)) + size > SECTION_LIMIT - 100:
                yield section
                section = []
            section += lines
            used += size
        if items:
            yield section


def _failure(failure: Failure, *, with_rows: bool) -> list[str]:
    lines = [f"• {failure.kind} {_short(failure.name)}: {_short(failure.message)}"]
    for row in failure.rows[: SHOWN_ROWS if with_rows else 0]:
        lines.append("    " + _short(", ".join(f"{name} = {_value(value)}" for name, value in row.items())))
    if with_rows and len(failure.rows) > SHOWN_ROWS:
        lines.append("    …")
    return lines


def _figures(report: Report) -> list[str]:
    if report.repeat_rate is None:
        return []
    label = "Repeat rate" if report.published else "Repeat rate, as published"
    return [
        f"{label}: {report.repeat_rate:.1%}".replace("%", " %")
        + f" ({report.repeat_buyers:,} of {report.buyers:,} buyers ordered more than once)"
    ]


def _changes(report: Report) -> list[str]:
    if report.order_changes is None:
        return ["What changed in the orders was not recorded in this run; the next one that can will tell."]
    if not report.order_changes:
        return ["No order changed status since the last run."]
    return [line for change in report.order_changes[:SHOWN_CHANGES] for line in _change(change)]


def _change(change: OrderChange) -> Iterable[str]:
    count = len(change.order_ids)
    yield f"{_count(count, 'order')} went from {change.before} to {change.after}"
    more = f" and {count - SHOWN_IDS} more" if count > SHOWN_IDS else ""
    yield "    " + ", ".join(change.order_ids[:SHOWN_IDS]) + more


def _markdown(lines: list[str]) -> str:
    return "\n".join(escape(line) for line in lines)


def _short(text: str) -> str:
    """One line of bounded length, counted as Slack counts it: escaped."""
    flat = " ".join(text.split())
    length = len(escape(flat))
    return flat if length <= LONGEST_TEXT else flat[: (LONGEST_TEXT - 1) * len(flat) // length] + "…"


def _value(value: Any) -> str:
    return "null" if value is None else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
