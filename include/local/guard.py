"""What a process starts ends with it, however the process ends: also by SIGKILL, or with its terminal.

The process writes what it starts into a record, which it keeps locked as long as it lives. A guard waits until the
process is gone, and then ends what the record still names. Where the guard was killed as well, the next command does
(`end_what_was_left`).

The guard hears as well when the process is told to end. Something may keep the process from that: a thread, a query
that waits for a lock, a child that ignores the signal. Then the guard kills it after `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import BinaryIO, TextIO

import psutil

from include import settings

# Ctrl-C, `kill`, and a terminal that is closed; the last is not for who was started with nohup.
TOLD_TO_END = tuple(
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
)
# How long who was told to end may live on; and while it ends something in order, which has limits of its own.
PATIENCE_SECONDS, PATIENCE_IN_ORDER_SECONDS = 5, 180
# What a process says to its guard beside the numbers of signals, which Python writes itself.
_IN_ORDER, _DONE = b"\xfe", b"\xff"
# What a record's name ends with: while its process lives, and while somebody ends what it names.
_OWNED, _ENDING = ".owned", ".ending"
# By its argument it ends one thing, and says whether that was there. The guard finds it by its name.
End = Callable[[str], bool]


def interrupt_once() -> None:
    """Whatever tells this process to end raises KeyboardInterrupt, once: a second one does not disturb the end.

    Where it has not ended `PATIENCE_SECONDS` after, it is killed.
    """
    _own()
    for number in TOLD_TO_END:
        signal.signal(number, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # Not `SIG_IGN`: Python would drop the exception where a second signal has come at the same moment.
    for number in TOLD_TO_END:
        signal.signal(number, lambda _signal, _frame: None)
    raise KeyboardInterrupt


@contextmanager
def in_order() -> Iterator[None]:
    """What ends in this block has limits of its own: a guard that waits for our end gives it time."""
    _say(_IN_ORDER)
    try:
        yield
    finally:
        _say(_DONE)


class _Own:
    """The record of this process and the ear of its guard, once it has one; a fork gets its own."""

    file: TextIO | None = None
    ear: BinaryIO | None = None
    process: int | None = None


def ends_with_us(what: str, end: End, argument: str) -> None:
    """From now on `end(argument)` is called once this process is gone; `what` names it to people. Call it first."""
    _own()
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


def _own() -> None:
    if _Own.process != os.getpid():
        (_Own.file, _Own.ear), _Own.process = _begin(), os.getpid()


def _begin() -> tuple[TextIO, BinaryIO]:
    """A new record, locked, and a guard that waits for our end; what it hears is the second."""
    _folder().mkdir(parents=True, exist_ok=True)
    number, path = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=_folder())
    record = os.fdopen(number, "w")
    fcntl.flock(record, fcntl.LOCK_EX)
    path = Path(path).rename(f"{path}{_OWNED}")  # only now do others find it
    heard, said = os.pipe()
    os.set_blocking(said, False)
    ear = os.fdopen(said, "wb", buffering=0)

    def leave() -> None:
        record.close()  # a fork that outlives us would keep the lock
        ear.close()
        signal.set_wakeup_fd(-1)

    os.register_at_fork(after_in_child=leave)
    subprocess.Popen(
        [sys.executable, "-m", __name__, path, str(os.getpid())],
        cwd=settings.PROJECT_ROOT,
        env={"PATH": os.environ.get("PATH", "")},
        stdin=heard,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # what ends the process in its terminal is not for the guard
    ).returncode = 0  # nobody waits for it, and Python shall not say so
    os.close(heard)
    if threading.current_thread() is threading.main_thread():
        # Python's handler of a signal waits for the main thread, which may be stuck; this is written at once.
        signal.set_wakeup_fd(said, warn_on_full_buffer=False)
    return record, ear


def _say(what: bytes) -> None:
    if _Own.process == os.getpid():
        with suppress(OSError):  # the guard was killed
            _Own.ear.write(what)


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


@dataclass
class _Patience:
    """How long a process may live on, by what it has said: `until` that moment of `time.monotonic`, None for ever."""

    until: float | None = None
    _in_order: int = 0

    def hear(self, said: bytes, now: float) -> None:
        """One byte of it."""
        if said in (_IN_ORDER, _DONE):
            self._in_order += 1 if said == _IN_ORDER else -1
        # A second signal gives no more time; and Python also writes those that end nothing.
        elif self.until is not None or said[0] not in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            return
        else:
            self.until = now
        if self.until is not None:
            self.until = now + (PATIENCE_IN_ORDER_SECONDS if self._in_order else PATIENCE_SECONDS)


def _guard(path: Path, process: int) -> None:
    for number in TOLD_TO_END:
        signal.signal(number, signal.SIG_IGN)
    if not _ends(sys.stdin.fileno()):
        _kill(process)
    with suppress(FileNotFoundError):  # the next command was faster
        _finish(path, wait=True)


def _ends(ear: int) -> bool:
    """Wait until the process is gone that speaks there; False where it was told to end and does not."""
    patience = _Patience()
    while True:
        left = None if patience.until is None else max(patience.until - time.monotonic(), 0)
        if not select.select([ear], [], [], left)[0]:
            return False
        if not (said := os.read(ear, 1)):
            return True
        patience.hear(said, time.monotonic())


def _kill(number: int) -> None:
    """Kill a process and what it started in its own session. Who has another one is in the record, or is to stay."""
    with suppress(psutil.Error, ProcessLookupError):  # it has ended just now
        process = psutil.Process(number)
        session = os.getsid(number)
        family = [process, *process.children(recursive=True)]
        for one in family:
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(one.pid) == session:
                    one.kill()
        with suppress(OSError):  # the terminal is closed
            said = f"Process {number} was told to end and did not, so it was killed."
            print(f"{said} What it had started is stopped now.", file=sys.stderr, flush=True)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]), int(sys.argv[2]))
