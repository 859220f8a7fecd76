"""A document as a comment on GitHub. Whatever a piece holds can't speak: no markup, no mention, no link comes of it.

In the text every character that Markdown or HTML knows is written by its number. What GitHub finds in a text that is
rendered already, as `@name`, `#12` and addresses, is broken by a character that takes no room.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from include.preview.render.document import Block, Document, Drawing, Folded, Part, Points, Table, Verbatim
from include.slack.message import Bold, Code, Line, Piece, plain, safe

# GitHub takes 65,536 characters, and who posts it adds some.
LIMIT = 60_000
_CUT = "*Some of it is too long for a comment. All of it: `make preview`.*"
_FOLDED = "<details>"
_WORD_JOINER = "\u2060"
_SPECIAL = re.compile(r"[\\`*\[\]<>&|~^$!{}]|(?<!\w)_|_(?!\w)|(?<=\w)__")
# What can stand between backticks and means nothing there, nor in a table.
_PLAIN_CODE = re.compile(r"[^`|\\@\s](?:[^`|\\@\n]*[^`|\\@\s])?")


def draw(document: Document) -> str:
    """All of it as Markdown. What has no room is left out whole, the longest that is folded first, and that is said."""
    pieces = [f"## {_text(document.headline)}", _points(document.to_do), *_parts(document.parts)]
    ending = f"<sub>{_line(document.footer)}</sub>"
    fitting = _fitting([piece for piece in pieces if piece], LIMIT - len(ending) - len(_CUT) - 4)
    return "\n\n".join([*fitting, *([_CUT] if len(fitting) < len(pieces) else []), ending]) + "\n"


def _fitting(pieces: list[str], room: int) -> list[str]:
    """The pieces that there is room for; a title with nothing left below it goes as well."""
    left = list(pieces)
    while sum(len(piece) + 2 for piece in left) > room:
        below = [piece for piece in left if not _is_title(piece)]
        left.remove(max([piece for piece in below if piece.startswith(_FOLDED)] or below, key=len))
    following = [*left[1:], "#"]
    return [piece for piece, after in zip(left, following, strict=True) if not (_is_title(piece) and _is_title(after))]


def _is_title(piece: str) -> bool:
    return piece.startswith("#")


def _parts(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        yield f"### {_text(part.title)}"
        yield from map(_block, part.blocks)


def _block(block: Block) -> str:
    match block:
        case Points(lines):
            return _points(lines)
        case Table():
            return _table(block)
        case Verbatim(text):
            return _fenced(text)
        case Drawing(mermaid, legend):
            return f"{_fenced(mermaid, 'mermaid')}\n\n{_text(legend)}"
        case Folded(title, blocks):
            inside = "\n\n".join(map(_block, blocks))
            return f"{_FOLDED}<summary>{_html(title)}</summary>\n\n{inside}\n\n</details>"


def _points(lines: Iterable[Line]) -> str:
    return "\n".join(f"- {_line(line)}" for line in lines)


def _table(table: Table) -> str:
    table = table.filled
    rules = ["--:" if at in table.numbers else ":--" for at in range(len(table.header))]
    rows = [[_line(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (table.header, rules, *rows))


def _fenced(text: str, language: str = "") -> str:
    """A block of code, between more backticks than it has."""
    lines = [safe(line) for line in text.splitlines()]
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return "\n".join([fence + language, *lines, fence])


def _line(line: Line) -> str:
    return "".join(map(_piece, line))


def _piece(piece: Piece) -> str:
    match piece:
        case Bold(text):
            return f"**{_text(text)}**" if text.strip() else ""
        case Code(text):
            return _code(text)
    return _text(plain((piece,)))


def _code(text: str) -> str:
    """A value as code: between backticks where nothing in it means anything, else by tags."""
    told = safe(text)
    if not told.strip():
        return "<i>empty</i>"
    return f"`{told}`" if _PLAIN_CODE.fullmatch(told) else f"<code>{_quiet(told)}</code>"


def _text(text: str) -> str:
    return _quiet(safe(text))


def _quiet(text: str) -> str:
    """Without meaning, in Markdown, in HTML and for what GitHub looks for afterwards."""
    broken = re.sub(
        r"(?<=[@#])(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=GH)(?=-)", _WORD_JOINER, text, flags=re.IGNORECASE
    )
    return _SPECIAL.sub(lambda found: "".join(f"&#{ord(one)};" for one in found[0]), broken)


def _html(line: Line) -> str:
    """A line within a tag, where Markdown is not read."""
    told = []
    for piece in line:
        text = _quiet(plain((piece,)))
        told.append(
            f"<code>{text}</code>" if isinstance(piece, Code) else f"<b>{text}</b>" if isinstance(piece, Bold) else text
        )
    return "".join(told)
