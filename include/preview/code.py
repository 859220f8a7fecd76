"""Whether two texts of a model say the same but for comments and white space.

A wrong "yes" would hide a change, and a wrong "no" only builds too much. So where a text can't be read with certainty,
as one with a quote that is never closed, it has to be the same to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from jinja2 import Environment, TemplateSyntaxError

# As Postgres reads SQL; a piece of Jinja stands in it as its number between two null characters.
_SQL = re.compile(
    r"""
    (?P<space>[ \t\n\r\f\v]+)
    | (?P<line>--[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<text>[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<jinja>\0\d+\0)
    | (?P<word>\w[\w$]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_JINJA = re.compile(r"\0(\d+)\0")
_AROUND_COMMENTS = re.compile(r"/\*|\*/")
# Space beside these means nothing.
_PUNCTUATION = frozenset("(),")
_QUOTES = frozenset("'\"$")  # one that is alone
_BLOCKS = {"block_begin": "{%", "raw_begin": "{%", "raw_end": "{%", "variable_begin": "{{"}
_ENDS = ("block_end", "variable_end")

# A word, a text in quotes, a sign or one space; a piece of Jinja by its words.
Part = str | tuple[str, ...]


class _DoubtError(Exception):
    """The text can't be read with certainty."""


def same(one: str, other: str) -> bool:
    """Whether two texts of SQL with Jinja differ in comments and white space at most.

    What `config()` is called with does not count: dbt has read it, and it is compared by what it came to. A macro is
    taken to give whole texts and comments, none that ends behind the call.
    """
    return one == other or parts(one) == parts(other)


@lru_cache(maxsize=1024)
def parts(code: str) -> tuple[Part, ...]:
    """What a text says: its parts without comments, each run of white space as one space."""
    if "\0" in code:
        return (code,)
    try:
        text, jinja = _split(code)
    except TemplateSyntaxError:
        return (code,)
    try:
        return tuple(_tidy(list(_read(text, jinja)), jinja))
    except _DoubtError:
        # A comment of Jinja's is nothing, whatever stands around it.
        return tuple(jinja[int(part)] if place % 2 else part for place, part in enumerate(_JINJA.split(text)))


def _split(code: str) -> tuple[str, list[tuple[str, ...]]]:
    """The text with numbers for its pieces of Jinja, and these; comments of Jinja's and calls of config() are out."""
    text, pieces, piece = "", [], []
    for _, kind, value in _lexer.tokeniter(code, None):
        if kind == "data":
            text += value
        elif kind in _BLOCKS:
            piece = [_BLOCKS[kind]]
        elif kind not in ("whitespace", "comment_begin", "comment", "comment_end") and kind not in _ENDS:
            piece.append(value)
        if (kind in _ENDS or kind.startswith("raw_")) and not _is_config(piece):
            text += f"\0{len(pieces)}\0"
            pieces.append((*piece, kind) if kind.startswith("raw_") else tuple(piece))
    return text, pieces


def _is_config(piece: list[str]) -> bool:
    """Whether a piece is one call of config() and nothing else."""
    if piece[:3] != ["{{", "config", "("]:
        return False
    depth = 0
    for place, value in enumerate(piece[2:], 2):
        depth += {"(": 1, ")": -1}.get(value, 0)
        if depth == 0:
            return place == len(piece) - 1
    return False


def _read(text: str, jinja: list[tuple[str, ...]]) -> Iterator[str]:
    """The parts of the SQL, comments and white space as white space: "\\n" where a line ends in it."""
    if not all(_is_whole(value[1:-1]) for piece in jinja for value in piece if value[0] in "'\""):
        raise _DoubtError
    place = 0
    while place < len(text):
        found = _SQL.match(text, place)
        assert found  # `other` takes whatever is left
        kind, value, place = found.lastgroup, found.group(), found.end()
        if kind == "comment":
            place = _end_of_comment(text, place)
            value = text[found.start() : place]
        if value in _QUOTES:
            raise _DoubtError
        if kind != "jinja":
            _refuse_blocks(value, jinja)
        if kind in ("line", "comment") and "\0" not in value and not value.startswith("/*+"):
            yield " "  # one that has Jinja in it may be more than a comment; one with a + speaks to the planner
        elif kind == "space":
            yield "\n" if "\n" in value or "\r" in value else " "
        elif kind == "line":
            yield value + "\n"
        else:
            yield value


def _is_whole(text: str) -> bool:
    """Whether a text that Jinja puts into the SQL opens nothing there that is closed elsewhere."""
    return "\\" not in text and all(
        found.lastgroup not in ("line", "comment") and found.group() not in _QUOTES for found in _SQL.finditer(text)
    )


def _end_of_comment(text: str, place: int) -> int:
    """Where a comment ends that began before a place; comments stand within comments."""
    depth = 1
    while depth:
        if (found := _AROUND_COMMENTS.search(text, place)) is None:
            raise _DoubtError
        depth += 1 if found.group() == "/*" else -1
        place = found.end()
    return place


def _refuse_blocks(value: str, jinja: list[tuple[str, ...]]) -> None:
    """A text or comment with a branch inside may end elsewhere, when the branch is not taken."""
    if any(jinja[int(number)][0] == "{%" for number in _JINJA.findall(value)):
        raise _DoubtError


def _tidy(read: list[str], jinja: list[tuple[str, ...]]) -> Iterator[Part]:
    """One space for a run of white space, none beside punctuation and at both ends."""
    before, gap = "(", ""
    for value in read:
        if value in (" ", "\n"):
            gap = "\n" if "\n" in (gap, value) else " "
            continue
        if gap and before not in _PUNCTUATION and value not in _PUNCTUATION:
            # Two texts are one where a line ends between them.
            yield "\n" if gap == "\n" and before[-1] == value[0] == "'" else " "
        gap = ""
        before = value
        for place, part in enumerate(_JINJA.split(value)):
            if part:
                yield jinja[int(part)] if place % 2 else part


_lexer = Environment(autoescape=False, extensions=["jinja2.ext.do"]).lexer  # noqa: S701 - it only reads
