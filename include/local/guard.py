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
# What a record's name ends with: while its process lives, and while somebody ends what it names.
_OWNED, _ENDING = ".owned", ".ending"
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
    for path in sorted(_folder().glob("*.*")):
        # Its process lives, the guard was faster, or another user's command has left it, who alone can end it.
        with suppress(BlockingIOError, FileNotFoundError, PermissionError):
            left += _finish(path, wait=path.suffix == _ENDING)
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
    number, path = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=_folder())
    record = os.fdopen(number, "w")
    fcntl.flock(record, fcntl.LOCK_EX)
    path = Path(path).rename(f"{path}{_OWNED}")  # only now do others find it
    os.register_at_fork(after_in_child=record.close)  # a fork that outlives us would keep the lock
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
    _Own.file.write(_line(f"{end.__module__}:{end.__qualname__}", argument, what))
    _Own.file.flush()


def _line(end: str, argument: str, what: str) -> str:
    return json.dumps({"end": end, "argument": argument, "what": what}) + "\n"


def _finish(path: Path, *, wait: bool) -> list[str]:
    """End what a record names, once its process is gone, the last first; names what was there.

    What can't be ended stays in the record, for the next command. Raises BlockingIOError where the process is there and
    nobody is to `wait`.
    """
    left, failed = [], {}
    with path.open("r+") as record:
        fcntl.flock(record, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        with suppress(FileNotFoundError):  # `make clean` has removed it
            path = path.rename(path.with_suffix(_ENDING))
        for (end, argument), what in reversed(_started(record).items()):
            module, _, name = end.partition(":")
            try:
                if getattr(import_module(module), name)(argument):
                    left.append(what)
            except Exception as error:  # what else it names has to be ended all the same
                left.append(f"{what} (which can't be ended: {error})")
                failed[end, argument] = what
        # What is ended may be begun again by another command: nobody who waits for the lock shall end that.
        record.seek(0), record.truncate()
        record.writelines(_line(*of, what) for of, what in reversed(failed.items()))
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
    _finish(Path(path), wait=True)


if __name__ == "__main__":
    _guard(sys.argv[1])
