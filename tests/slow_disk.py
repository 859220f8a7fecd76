"""A disk that is slow, or hangs for a while: a library between a Postgres and the files that it reads and writes."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from include.local import guard


@dataclass(frozen=True)
class Disk:
    """How slow the disk is of each program that is started in `below`."""

    folder: Path

    @contextmanager
    def below(self) -> Iterator[None]:
        """What is started in this block has this disk."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LD_PRELOAD", str(self.folder / "slow_disk.so"))
            environment.setenv("SLOW_DISK", str(self.folder / "slow"))
            yield

    @contextmanager
    def taking(self, call: int = 0, flush: int = 0) -> Iterator[None]:
        """In this block each read or write of a file takes so many milliseconds more, and each flush of one."""
        self._say(call, flush)
        try:
            yield
        finally:
            self._say(0, 0)

    def _say(self, call: int, flush: int) -> None:
        with (self.folder / "slow").open("r+b") as file:
            file.write(struct.pack("ii", call, flush))


@contextmanager
def slow_disk() -> Iterator[Disk]:
    """A disk that is as fast as the machine's until it is said to be slow; skips the test without a C compiler."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler, which makes the library that slows a disk down")
    with guard.folder("greenery-disk-") as folder:
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O", "-o", folder / "slow_disk.so", source, "-ldl"], check=True)
        (folder / "slow").write_bytes(bytes(8))
        (folder / "slow_disk.so").chmod(0o755)  # the server is another user
        yield Disk(folder)
