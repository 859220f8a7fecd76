"""Where a bench works: a folder of its own, and whatever it starts there ends with it. And on which machine."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from include.local.progress import silent
from include.local.stack import Stack

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def working(keep: Path | None = None) -> Iterator[Path]:
    """A folder for the time of the block, gone afterwards; `keep` is one that stays.

    Every Airflow and Postgres in it, or in a folder of it, is stopped however the block ends: also by Ctrl-C, by
    `kill`, and with its terminal.
    """
    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
    home = keep or Path(tempfile.mkdtemp(prefix="greenery-bench-"))
    home.mkdir(exist_ok=True)
    home.chmod(0o755)  # where we are root, Postgres is another user
    try:
        yield home
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        for data in (home / "postgres", *home.glob("*/postgres")):
            Stack(data.parent, silent()).stop()
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """Once is enough: a second one must not leave half of what is being stopped running."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def machine() -> str:
    """What a table says of the machine that it was measured on."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
