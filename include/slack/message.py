"""A message as data: lines of pieces, which become plain text to print and Block Kit for Slack.

Whatever a piece holds can't speak: Slack's control characters are escaped, line breaks and invisible characters are
taken out, and words that are written from the right stand in an isolate of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, MarkdownTextObject, PlainTextObject, SectionBlock

# Slack's, as documented.
BLOCKS_LIMIT = 50
SECTION_LIMIT = 3000
# Ours for the sections of a message: with its header and footer it stays below 10,000 or so.
TOTAL_LIMIT = 8800
HEADER_LIMIT = 150

LONGEST_TEXT = 240
# Names in a list, before the others are counted.
SHOWN_NAMES = 3
INDENT = "    "
_LINE_BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]")
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_ISOLATED = re.compile("(\u2068[^\u2068\u2069]*\u2069)")
# Ids of a user or of a user group; what else a project names as somebody's Slack is a text like any other.
_USER, _USER_GROUP = re.compile(r"[UW][A-Z0-9]{6,20}"), re.compile(r"S[A-Z0-9]{6,20}")


@dataclass(frozen=True)
class Message:
    """What is sent: `headline` for notifications, `body` as plain text to print, `blocks` for Slack.

    The headline needs no escaping: it holds no angle bracket.
    """

    kind: str
    headline: str
    body: str
    blocks: list[dict[str, Any]]


@dataclass(frozen=True)
class Bold:
    """Words that the eye should find."""

    text: str


@dataclass(frozen=True)
class Code:
    """A value out of the data, as it is."""

    text: str


@dataclass(frozen=True)
class Link:
    """An address of ours under a label; in plain text after it."""

    label: str
    url: str


@dataclass(frozen=True)
class Linked:
    """Words that lead to an address of ours, where there is one; in plain text the words alone."""

    text: str
    url: str | None


@dataclass(frozen=True)
class Mention:
    """Somebody by name, who is notified if `slack` is the id of a user or of a user group."""

    name: str
    slack: str | None = None


Piece = str | Bold | Code | Link | Linked | Mention
Line = tuple[Piece, ...]
Section = list[Line]


def compose(kind: str, headline: str, sections: Iterable[Section], footer: Line) -> Message:
    """Put a message together, within what Slack takes of one."""
    headline = short(headline.replace("<", "‹").replace(">", "›"), HEADER_LIMIT - 20)
    packed = _within_limits(part for section in sections for part in _packed(section))
    blocks: list[Block] = [HeaderBlock(text=PlainTextObject(text=headline, emoji=True))]
    blocks += [SectionBlock(text=_text(section)) for section in packed]
    blocks.append(ContextBlock(elements=[_text([footer])]))
    parts = ["\n".join(plain(line) for line in section) for section in [*packed, [footer]]]
    return Message(kind, headline, "\n\n".join([headline, *parts]), [block.to_dict() for block in blocks])


def plain(line: Line) -> str:
    """A line as text to print."""
    return "".join(_plain(piece) for piece in line)


def markdown(line: Line) -> str:
    """A line as Slack's mrkdwn."""
    return "".join(_markdown(piece) for piece in line)


def size(lines: Iterable[Line]) -> int:
    """How many characters lines have for Slack, which counts them escaped."""
    return sum(len(markdown(line)) + 1 for line in lines)


def short(text: str, limit: int = LONGEST_TEXT) -> str:
    """One line of bounded length, counted as Slack counts it: escaped."""
    flat = " ".join(_visible(text).split())
    length = len(escape(flat))
    return _isolated(flat if length <= limit else flat[: (limit - 1) * len(flat) // length].rstrip() + "…")


def listed(names: Sequence[str], shown: int = SHOWN_NAMES) -> str:
    """Names in a sentence: the first of them, and how many more there are."""
    first = [short(name, 80) for name in names[:shown]]
    rest = len(names) - len(first)
    if rest:
        return f"{', '.join(first)} and {rest:,} more"
    return " and ".join([", ".join(first[:-1]), first[-1]] if first[1:] else first)


def escape(text: str) -> str:
    """Slack's three control characters, so that `<!channel>` in a product's name pages nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def safe(text: str) -> str:
    """The same without line breaks and invisible characters: those that turn the direction of what follows, too."""
    return "".join(_isolated(_visible(part)) for part in _ISOLATED.split(text))


class _Seen(dict[int, int | None]):
    """For `str.translate`: what a character becomes, by its code; an invisible one goes. Each is looked up once."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs") else code
        return self[code]


_SEEN = _Seen()


def _visible(text: str) -> str:
    return _LINE_BREAKS.sub(" ", text).translate(_SEEN)


def _isolated(text: str) -> str:
    from_the_right = any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    return f"{_FIRST_STRONG_ISOLATE}{text}{_POP_ISOLATE}" if from_the_right else text


def _plain(piece: Piece) -> str:
    match piece:
        case str():
            return safe(piece)
        case Link():
            return f"{piece.label}: {piece.url}"
        case Mention(name, slack):
            return safe(name if slack is None or _mention(slack) else f"{name} ({slack})")
    return safe(piece.text)


def _markdown(piece: Piece) -> str:
    match piece:
        case Bold(text):
            return f"*{escape(safe(text)).replace('*', '∗')}*" if text else ""
        case Code(text):
            return f"`{escape(safe(text)).replace('`', chr(39))}`" if text else ""
        case Link(text, url) | Linked(text, str(url)):
            return f"<{escape(url).replace('|', '%7C')}|{escape(safe(text))}>"
        case Mention(_, slack) if slack and (mention := _mention(slack)):
            return mention
    return escape(_plain(piece))


def _mention(slack: str) -> str | None:
    if _USER_GROUP.fullmatch(slack):
        return f"<!subteam^{slack}>"
    return f"<@{slack}>" if _USER.fullmatch(slack) else None


def _text(section: Section) -> MarkdownTextObject:
    # Verbatim: Slack makes no links and no mentions out of what only looks like one.
    return MarkdownTextObject(text="\n".join(markdown(line) for line in section)[:SECTION_LIMIT], verbatim=True)


def _within_limits(parts: Iterable[Section]) -> list[Section]:
    """The parts that fit into one message; render keeps below the limits, this is for what it has not foreseen."""
    fitting: list[Section] = []
    room = TOTAL_LIMIT
    for part in parts:
        room -= size(part)
        if room < 0 or len(fitting) == BLOCKS_LIMIT - 3:
            return [*fitting, [("… there is more, which did not fit into this message.",)]]
        fitting.append(part)
    return fitting


def _packed(section: Section) -> Iterator[Section]:
    """The same in parts that Slack takes as a section each."""
    part: Section = []
    for line in section:
        if part and size([*part, line]) > SECTION_LIMIT:
            yield part
            part = []
        part.append(line)
    if part:
        yield part
