"""Who is told how far a preview is: a command, or nobody."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """As `include.local.progress.Progress`, and whoever has the same two methods."""

    def step(self, what: str) -> AbstractContextManager[None]:
        """The block is under way."""

    def at(self, how_far: str) -> None:
        """How far it is."""
