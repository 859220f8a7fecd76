"""A server whose clock is set, forward or back, while it runs: a library between a Postgres and the machine's clock."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from tests.preloaded import Preloaded, preloaded

RIGHT = timedelta(0)


@dataclass(frozen=True)
class Clock:
    """The clock of each program that is started in `below`."""

    library: Preloaded

    def below(self) -> AbstractContextManager[None]:
        """What is started in this block has this clock."""
        return self.library.below()

    def put(self, ahead: timedelta) -> None:
        """So far before the machine's own, or behind it."""
        self.library.tell(struct.pack("i", int(ahead.total_seconds())))


@contextmanager
def set_clock() -> Iterator[Clock]:
    """A clock that is right until it is put to something else; skips the test without a C compiler."""
    with preloaded("set_clock", bytes(4)) as library:
        yield Clock(library)
