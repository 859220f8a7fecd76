"""A preview's report as people read it: a `Document` of lists and tables, in a terminal or as a comment on GitHub."""

from __future__ import annotations

from include.preview.render import comment, parts, terminal
from include.preview.report import Report


def text(report: Report) -> str:
    """For a terminal, of 80 columns."""
    return terminal.draw(parts.document(report))


def markdown(report: Report) -> str:
    """For a comment on GitHub: Markdown of bounded length, in which data can't speak."""
    return comment.draw(parts.document(report))
