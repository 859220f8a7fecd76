"""What a command tells of itself: a line that moves in a terminal, a line a step elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from include.local.progress import Progress

CLEAR = "\r\x1b[K"


class Terminal:
    """A terminal, and what was written to it so far."""

    def __init__(self) -> None:
        self.end, inside = pty.openpty()
        self.stream = os.fdopen(inside, "w")
        self.written = ""
        self._came = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, condition: Callable[[str], bool]) -> None:
        """Until what was written is as it should be."""
        with self._came:
            assert self._came.wait_for(lambda: condition(self.written), timeout=10), self.written

    def _read(self) -> None:
        with suppress(OSError):  # closed
            while some := os.read(self.end, 1000):
                with self._came:
                    self.written += some.decode()
                    self._came.notify_all()


@contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Progress, Terminal]]:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    yield Progress(terminal.stream), terminal


def test_in_a_terminal_a_step_is_one_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as (progress, terminal):
        with progress.step("Starting Postgres"):
            terminal.wait_for(lambda written: len(re.findall(r"\r\x1b\[KStarting Postgres … \d+ s", written)) > 2)
        terminal.wait_for(lambda written: written.endswith(CLEAR))
        assert "\n" not in terminal.written


def test_in_a_terminal_the_line_says_how_far_a_step_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as (progress, terminal), progress.step("Running"):
        progress.at("5 of 40 tasks")
        terminal.wait_for(lambda written: re.search(r"Running … 5 of 40 tasks, \d+ s", written) is not None)


def test_what_is_said_during_a_step_stays_above_the_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as (progress, terminal), progress.step("Starting"):
        terminal.wait_for(lambda written: "Starting" in written)
        progress.say("Port 8080 is in use")
        terminal.wait_for(lambda written: f"{CLEAR}Port 8080 is in use\r\nStarting … " in written)


def test_a_line_that_moves_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as (progress, terminal), progress.step("x" * 500):
        terminal.wait_for(lambda written: written.count(CLEAR) > 1)
        assert max(len(line) for line in terminal.written.split(CLEAR)) == 79


def test_a_step_that_fails_takes_its_line_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as (progress, terminal):
        with pytest.raises(KeyboardInterrupt), progress.step("Starting"):
            raise KeyboardInterrupt
        terminal.wait_for(lambda written: written.endswith(CLEAR))


@pytest.mark.parametrize("stream", ["a file", "a terminal that can't move"])
def test_elsewhere_each_step_is_a_line(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    if stream == "a terminal that can't move":
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setattr(out, "isatty", lambda: True)
    progress = Progress(out)
    with progress.step("Starting Postgres"):
        progress.at("half of it")
        progress.say("Port 8080 is in use")
    assert out.getvalue() == "Starting Postgres …\nPort 8080 is in use\n"


def test_what_stderr_was_may_be_closed_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", before)
    progress = Progress()
    before.close()
    monkeypatch.setattr("sys.stderr", now)
    progress.say("Stopped")
    assert now.getvalue() == "Stopped\n"
