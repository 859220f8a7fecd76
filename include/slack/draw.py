"""A message's Block Kit drawn as HTML, about as Slack does: for the preview and for the data-health page.

Draws the few parts of Block Kit that the messages use. Whatever text the blocks hold is escaped: what becomes a tag is
a link to http(s), a mention by id, bold, code and the signs below, and nothing else. The classes are styled by
`plugins/data_health/static/slack.css`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Drawn, since not every machine has a font for them.
_SIGNS = {
    "✅": ("green", "✓", "Green"),
    "🔴": ("red", "", "Red"),
    "✋": ("yellow", "!", "By hand"),
    "⚠️": ("yellow", "!", "Warning"),
    "ℹ️": ("blue", "i", "Information"),
}
_TYPES = ("header", "section", "context")
# What Slack reads between angle brackets; in all other text the messages escape them.
_CONTROL = re.compile(r"(<[^<>]*>)")
_LINK = re.compile(r"<(https?://[^|<>\s]+)(?:\|([^<>]*))?>", re.IGNORECASE)
_MENTION = re.compile(r"<(?:@|!subteam\^)([A-Z0-9]+)>")
_CODE = re.compile(r"`([^`\n]+)`")
_BOLD = re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])")


def draw(blocks: Iterable[Mapping[str, Any]], people: Mapping[str, str] | None = None) -> str:
    """Blocks as HTML. `people` are names by the ids of Slack's users and groups; who is not there is shown by id."""
    return "".join(_block(block, people or {}) for block in blocks)


def _block(block: Mapping[str, Any], people: Mapping[str, str]) -> str:
    kind = block.get("type")
    drawn = "".join(_text(one, people) for one in _texts(block))
    return f'<div class="{kind if kind in _TYPES else "section"}">{drawn}</div>' if drawn else ""


def _texts(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for one in (block.get("text"), *(block.get("elements") or ())):
        if isinstance(one, Mapping) and isinstance(one.get("text"), str):
            yield one


def _text(text: Mapping[str, Any], people: Mapping[str, str]) -> str:
    if text.get("type") != "mrkdwn":
        return _signs(html.escape(text["text"]))
    parts = _CONTROL.split(text["text"])
    return "".join(_control(part, people) if _CONTROL.fullmatch(part) else _formatted(part) for part in parts)


def _control(part: str, people: Mapping[str, str]) -> str:
    if link := _LINK.fullmatch(part):
        url, label = link.groups()
        return f'<a class="out" href="{_escaped(url)}">{_signs(_escaped(label or url))}</a>'
    if mention := _MENTION.fullmatch(part):
        return f'<span class="mention">@{html.escape(people.get(mention[1], mention[1]))}</span>'
    return html.escape(part)


def _formatted(part: str) -> str:
    drawn = _CODE.sub(r"<code>\1</code>", _escaped(part))
    return _signs(_BOLD.sub(r"<b>\1</b>", drawn))


def _escaped(text: str) -> str:
    """Text that is escaped as Slack wants it, or that is not, as HTML wants it."""
    return html.escape(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def _signs(drawn: str) -> str:
    for sign, (color, mark, says) in _SIGNS.items():
        drawn = drawn.replace(sign, f'<i class="sign {color}" role="img" aria-label="{says}">{mark}</i>')
    return drawn
