"""What goes on in threads while a test does something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def meanwhile(*loops: Callable[[Event], object]) -> Iterator[None]:
    """Run each in a thread of its own during the block. At its end the event is set, and the threads are waited for."""
    over = Event()
    threads = [Thread(target=loop, args=(over,)) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
