"""Who is told how far a preview is: whoever started it, or a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """As `include.local.progress.Progress`, and whoever has the same two methods."""

    def step(self, what: str) -> AbstractContextManager[None]:
        """The block is under way."""

    def at(self, how_far: str) -> None:
        """How far it is."""


class Lines:
    """A line on stderr for each step."""

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """The block is under way."""
        print(f"{what} …", file=sys.stderr)
        yield

    def at(self, how_far: str) -> None:
        """How far the step is; lines don't tell it."""
