"""How far a command is, told on stderr: stdout is for what was asked for.

In a terminal it is one line that moves and is gone in the end; elsewhere it is a line a step. Needs nothing but
Python's standard library, since install.py runs before anything is installed.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_TICK_SECONDS = 0.2
_CLEAR = "\r\x1b[K"


class Progress:
    """What a command tells of itself, one step at a time. `stream` is stderr where none is given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._lock = threading.Lock()
        self._line = self._far = ""

    @property
    def _stream(self) -> TextIO:
        """Looked up each time: what stderr was may be closed by now."""
        return self._given or sys.stderr

    @property
    def _moves(self) -> bool:
        return self._stream.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._write(f"{_CLEAR}{text}\n{self._line}" if self._moves else f"{text}\n")

    def at(self, how_far: str) -> None:
        """How far the step is; only the line that moves tells it."""
        self._far = f" {how_far},"

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Tell that the block is under way."""
        if not self._moves:
            self.say(f"{what} …")
            yield
            return
        began, over, self._far = time.monotonic(), threading.Event(), ""

        def move() -> None:
            while True:
                self._show(f"{what} …{self._far} {time.monotonic() - began:.0f} s")
                if over.wait(_TICK_SECONDS):
                    return

        mover = threading.Thread(target=move, daemon=True)
        mover.start()
        try:
            yield
        finally:
            over.set()
            mover.join()
            self._show("")

    def _show(self, line: str) -> None:
        """Put a line in place of the one that moves, cut to the terminal's width: what wraps can't be taken back."""
        width = os.get_terminal_size(self._stream.fileno()).columns or 80
        with self._lock:
            self._line = line[: width - 1]
            self._write(_CLEAR + self._line)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def silent() -> Progress:
    """For who starts a stack on the way to something else."""
    return Progress(io.StringIO())
