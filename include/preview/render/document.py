"""What a preview says, as data: a headline, what to do, and parts of lists, tables and texts. Two modules draw it.

Lines are of the pieces that Slack messages have: `Code` is a name or a value, `Bold` what the eye should find.
"""

from __future__ import annotations

from dataclasses import dataclass

from include.slack.message import Line, plain


@dataclass(frozen=True)
class Points:
    """Lines of a list."""

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """Rows under a header; `numbers` are the places of columns that stand to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]
    numbers: frozenset[int] = frozenset()

    @property
    def filled(self) -> Table:
        """The same without columns in which no row has anything."""
        kept = [at for at in range(len(self.header)) if any(plain(row[at]) for row in self.rows)]
        return Table(
            tuple(self.header[at] for at in kept),
            tuple(tuple(row[at] for at in kept) for row in self.rows),
            frozenset(number for number, at in enumerate(kept) if at in self.numbers),
        )


@dataclass(frozen=True)
class Verbatim:
    """A text that keeps its lines."""

    text: str


@dataclass(frozen=True)
class Drawing:
    """A graph in Mermaid's language, and what its colours mean; a terminal leaves it out."""

    mermaid: str
    legend: str


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens by their title."""

    title: Line
    blocks: tuple[Points | Table | Verbatim, ...]


Block = Points | Table | Verbatim | Drawing | Folded


@dataclass(frozen=True)
class Part:
    """Blocks under a title."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """All of it; `to_do` is what to do next, `footer` what it was compared with."""

    headline: str
    to_do: tuple[Line, ...]
    parts: tuple[Part, ...]
    footer: Line
