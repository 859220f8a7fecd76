"""A preview's report as people read it: in a terminal, and as a comment on a pull request."""

from __future__ import annotations

from include.preview import as_comment, as_text
from include.preview.parts import document
from include.preview.report import Report


def text(report: Report) -> str:
    """For a terminal, of 80 columns."""
    return as_text.draw(document(report))


def markdown(report: Report) -> str:
    """For a comment on GitHub: Markdown of bounded length, in which data can't speak."""
    return as_comment.draw(document(report))
