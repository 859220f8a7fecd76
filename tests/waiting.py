"""Waiting until something holds, with a limit: no test just sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120, every: float = 0.02) -> None:
    """Wait until the condition holds, asked every so many seconds; AssertionError where it does not in time.

    `what` is what is waited for: "the server is down".
    """
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)
