"""A document as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from include.preview.render.document import Block, Document, Drawing, Folded, Points, Table, Verbatim
from include.slack.message import Line, plain, safe

WIDTH = 80
# So much of what a comment folds is open here, in each part; the rest is named.
OPEN = 1


def draw(document: Document) -> str:
    """All of it but the drawings, and of what a comment folds the first; the rest of that is named."""
    pieces = [textwrap.fill(safe(document.headline), WIDTH), _points(document.to_do)]
    for part in document.parts:
        pieces += ["\n".join((part.title, "─" * len(part.title))), *_blocks(part.blocks)]
    pieces.append(textwrap.fill(plain(document.footer), WIDTH))
    return "\n\n".join(filter(None, pieces)) + "\n"


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    blocks = list(blocks)
    closed = [block for block in blocks if isinstance(block, Folded)][OPEN:]
    for block in blocks:
        if block in closed:
            continue
        match block:
            case Points(lines):
                yield _points(lines)
            case Table():
                yield _table(block)
            case Verbatim(text):
                yield "\n".join(f"  {safe(line)}".rstrip() for line in text.splitlines())
            case Folded(title, inside):
                yield "\n".join((textwrap.fill(f"{plain(title)}:", WIDTH), *_blocks(inside)))
            case Drawing():
                pass
    if closed:
        yield textwrap.fill(
            f"In report.md (--out DIR) as well: {', '.join(plain(one.title) for one in closed)}.", WIDTH
        )


def _points(lines: Iterable[Line]) -> str:
    return "\n".join(textwrap.fill(f"• {plain(line)}", WIDTH, subsequent_indent="  ") for line in lines)


def _table(table: Table) -> str:
    """Columns that have something, side by side where there is room, else each row as a list of what it has."""
    table = table.filled
    rows = [[plain(cell) for cell in row] for row in table.rows]
    cells = [list(table.header), *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if sum(widths) + 2 * len(widths) <= WIDTH:
        right = [at in table.numbers for at in range(len(table.header))]
        return "\n".join("  ".join(_cells(row, widths, right)).rstrip() for row in cells)
    told = []
    for row in rows:
        more = [f"{table.header[at]} {row[at]}" for at in range(1, len(row)) if row[at]]
        told.append(textwrap.fill(f"• {row[0]}: {'; '.join(more)}", WIDTH, subsequent_indent="  "))
    return "\n".join(told)


def _cells(row: list[str], widths: list[int], right: list[bool]) -> Iterator[str]:
    for cell, width, to_the_right in zip(row, widths, right, strict=True):
        yield cell.rjust(width) if to_the_right else cell.ljust(width)
