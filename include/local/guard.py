"""What a process starts ends with it, however the process ends: also by SIGKILL, or with its terminal.

The process writes what it starts into a record, which it keeps locked as long as it lives. A guard waits for that lock,
and then ends what the record still names. Where the guard was killed as well, the next command does
(`end_what_was_left`).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TextIO

from include import settings

# Ctrl-C, `kill`, and a terminal that is closed; the last is not for who was started with nohup.
TOLD_TO_END = tuple(
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
)
# By its argument it ends one thing, and says whether that was there. The guard finds it by its name.
End = Callable[[str], bool]


def interrupt_once() -> None:
    """Whatever tells this process to end raises KeyboardInterrupt, once: a second one does not disturb the end."""
    for number in TOLD_TO_END:
        signal.signal(number, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in TOLD_TO_END:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Own:
    """The record of this process, once it has started something; a fork makes one of its own."""

    file: TextIO | None = None
    process: int | None = None


def ends_with_us(what: str, end: End, argument: str) -> None:
    """From now on `end(argument)` is called once this process is gone; `what` names it to people. Call it first."""
    if _Own.process != os.getpid():
        _Own.file, _Own.process = _begin(), os.getpid()
    _write(end, argument, what)


def has_ended(end: End, argument: str) -> None:
    """It has, or it is to stay when this process ends."""
    if _Own.process == os.getpid():
        _write(end, argument, "")


def end_what_was_left() -> list[str]:
    """End what killed processes left running, or wait for a guard that does so; a sentence for each thing."""
    left = []
    for path in sorted(_folder().glob("*.jsonl")):
        if not _lives(path):
            with suppress(FileNotFoundError):  # the guard was faster
                left += _finish(path)
    return [f"Ended what an earlier command had left, which was killed: {what}" for what in left]


@contextmanager
def folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A folder that any user may read, gone after the block or with this process; in the system's own for such."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    ends_with_us(f"the folder {path}", remove, str(path))
    path.chmod(0o755)
    try:
        yield path
    finally:
        remove(str(path))
        has_ended(remove, str(path))


def remove(path: str) -> bool:
    """Remove a folder; True where it was there."""
    was_there = Path(path).exists()
    shutil.rmtree(path, ignore_errors=True)
    return was_there


def _folder() -> Path:
    return settings.state_dir() / "started"


def _begin() -> TextIO:
    """A new record, locked, and a guard that waits for it."""
    _folder().mkdir(parents=True, exist_ok=True)
    number, path = tempfile.mkstemp(prefix=f"{os.getpid()}-", suffix=".jsonl", dir=_folder())
    record = os.fdopen(number, "w")
    fcntl.flock(record, fcntl.LOCK_EX)
    subprocess.Popen(
        [sys.executable, "-m", __name__, path],
        cwd=settings.PROJECT_ROOT,
        env={"PATH": os.environ.get("PATH", "")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what ends the process in its terminal is not for the guard
    ).returncode = 0  # nobody waits for it, and Python shall not say so
    return record


def _write(end: End, argument: str, what: str) -> None:
    line = {"end": f"{end.__module__}:{end.__qualname__}", "argument": argument, "what": what}
    print(json.dumps(line), file=_Own.file, flush=True)


def _lives(path: Path) -> bool:
    """Whether the process is there whose record this is."""
    return Path(f"/proc/{path.name.partition('-')[0]}").exists()


def _finish(path: Path) -> list[str]:
    """End what a record names, once its process is gone, the last first; names what was there.

    Where something can't be ended, the record stays for the next command.
    """
    left, failed = [], False
    with path.open() as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        for (end, argument), what in reversed(_started(record).items()):
            module, _, name = end.partition(":")
            try:
                if getattr(import_module(module), name)(argument):
                    left.append(what)
            except Exception as error:  # what else it names has to be ended all the same
                left.append(f"{what} (which can't be ended: {error})")
                failed = True
        if not failed:
            path.unlink(missing_ok=True)
    return left


def _started(record: TextIO) -> dict[tuple[str, str], str]:
    """What has not ended, in the order in which it was started."""
    started: dict[tuple[str, str], str] = {}
    for line in record:
        with suppress(ValueError):  # the process was killed in the middle of a line
            one = json.loads(line)
            key = one["end"], one["argument"]
            started.pop(key, None)
            if one["what"]:
                started[key] = one["what"]
    return started


def _guard(path: str) -> None:
    for number in TOLD_TO_END:
        signal.signal(number, signal.SIG_IGN)
    _finish(Path(path))


if __name__ == "__main__":
    _guard(sys.argv[1])
