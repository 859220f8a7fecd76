"""A disk that is slow, or hangs for a while: a library between a Postgres and the files that it reads and writes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.preloaded import Preloaded, preloaded


@dataclass(frozen=True)
class Disk:
    """How slow the disk is of each program that is started in `below`."""

    library: Preloaded

    def below(self) -> AbstractContextManager[None]:
        """What is started in this block has this disk."""
        return self.library.below()

    @contextmanager
    def taking(self, call: int = 0, flush: int = 0) -> Iterator[None]:
        """In this block each read or write of a file takes so many milliseconds more, and each flush of one."""
        self.library.tell(struct.pack("ii", call, flush))
        try:
            yield
        finally:
            self.library.tell(bytes(8))


@contextmanager
def slow_disk() -> Iterator[Disk]:
    """A disk that is as fast as the machine's until it is said to be slow; skips the test without a C compiler."""
    with preloaded("slow_disk", bytes(8)) as library:
        yield Disk(library)
