"""A report as a Slack message: pure functions from data to Block Kit and to plain text.

Everything that comes from data is escaped, and the length is bounded: Slack takes 50 blocks and 3,000 characters a
section, and nobody reads a hundred lines on a phone. What does not fit is counted, and the link leads to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, MarkdownTextObject, PlainTextObject, SectionBlock

from include.results.report import Failure, Report
from include.results.store import OrderChange

SHOWN_FAILURES = 8
SHOWN_ROWS = 3
SHOWN_IDS = 5
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
    sections = [part for part in (_state(report), _failures(report), _figures(report), _changes(report)) if part]
    footer = " · ".join([f"run {report.run_id}", *report.notes])
    blocks: list[Block] = [HeaderBlock(text=PlainTextObject(text=headline[:HEADER_LIMIT], emoji=True))]
    blocks += [SectionBlock(text=MarkdownTextObject(text=_fit(_markdown(part)))) for part in sections]
    blocks += [
        ContextBlock(
            elements=[MarkdownTextObject(text=_fit(f"<{report.run_url}|Open the run in Airflow> · {escape(footer)}"))]
        )
    ]
    body = "\n\n".join([headline, *("\n".join(part) for part in sections), f"{report.run_url}\n{footer}"])
    return Message(report.kind, headline, body, [block.to_dict() for block in blocks])


def escape(text: str) -> str:
    """Slack's three control characters, so that `<!channel>` in a product's name pages nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _headline(report: Report) -> str:
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
    when = f"{report.published_at:%d %b %Y %H:%M} UTC" if report.published_at else None
    tests = f"Tests: {report.passed} passed, {report.warned} warned, {report.failed} failed, {report.skipped} skipped."
    if report.published:
        return [f"Published {when}.", tests]
    return [f"Stakeholders still see the data as of {when}." if when else "Nothing has been published yet.", tests]


def _failures(report: Report) -> list[str]:
    lines = []
    for title, items in (("Failed", report.failures), ("Warned", report.warnings)):
        if items:
            lines += [f"{title}:", *(line for item in items[:SHOWN_FAILURES] for line in _failure(item))]
        if len(items) > SHOWN_FAILURES:
            lines.append(f"… and {len(items) - SHOWN_FAILURES} more; the run's page lists them.")
    return lines


def _failure(failure: Failure) -> list[str]:
    lines = [f"• {failure.kind} {failure.name}: {_short(failure.message)}"]
    for row in failure.rows[:SHOWN_ROWS]:
        lines.append("    " + _short(", ".join(f"{name} = {_value(value)}" for name, value in row.items())))
    if len(failure.rows) > SHOWN_ROWS:
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
    return [line for change in report.order_changes for line in _change(change)]


def _change(change: OrderChange) -> Iterable[str]:
    count = len(change.order_ids)
    yield f"{_count(count, 'order')} went from {change.before} to {change.after}"
    more = f" and {count - SHOWN_IDS} more" if count > SHOWN_IDS else ""
    yield "    " + ", ".join(change.order_ids[:SHOWN_IDS]) + more


def _markdown(lines: list[str]) -> str:
    return "\n".join(escape(line) for line in lines)


def _fit(text: str) -> str:
    return text if len(text) <= SECTION_LIMIT else text[: SECTION_LIMIT - 1].rsplit("\n", 1)[0] + "\n…"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_TEXT else flat[: LONGEST_TEXT - 1] + "…"


def _value(value: Any) -> str:
    return "null" if value is None else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
