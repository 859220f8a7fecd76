"""A library of ours between a program and the machine: it is made of a C file, and does what it is told meanwhile."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from include.local import guard


@dataclass(frozen=True)
class Preloaded:
    """The library, named as its C file is, and the file that tells it what to do."""

    folder: Path
    name: str

    @contextmanager
    def below(self) -> Iterator[None]:
        """What is started in this block has it."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LD_PRELOAD", str(self.folder / f"{self.name}.so"))
            environment.setenv(self.name.upper(), str(self.folder / "told"))
            yield

    def tell(self, told: bytes) -> None:
        """At once, and as many bytes as at first."""
        with (self.folder / "told").open("r+b") as file:
            file.write(told)


@contextmanager
def preloaded(name: str, told: bytes) -> Iterator[Preloaded]:
    """The library that is made of this C file beside us; skips the test without a C compiler."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip(f"no C compiler, which makes a library of {name}.c")
    with guard.folder(f"greenery-{name}-") as folder:
        library, source = folder / f"{name}.so", Path(__file__).with_name(f"{name}.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O", "-o", library, source, "-ldl"], check=True)
        (folder / "told").write_bytes(told)
        library.chmod(0o755)  # the server is another user
        yield Preloaded(folder, name)
