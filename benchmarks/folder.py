"""Where a bench works: a folder of its own, and whatever it starts there ends with it. And on which machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil

from include.local import guard
from include.local.progress import silent
from include.local.stack import Stack


@contextmanager
def working(keep: Path | None = None) -> Iterator[Path]:
    """A folder for the time of the block, gone afterwards; `keep` is one that stays.

    Every Airflow and Postgres in it, or in a folder of it, is stopped however the block ends: also by Ctrl-C, by
    `kill`, and with its terminal.
    """
    guard.interrupt_once()
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
    if keep:
        keep.mkdir(exist_ok=True)
        keep.chmod(0o755)  # where we are root, Postgres is another user
    with nullcontext(keep) if keep else guard.folder("greenery-bench-") as home:
        try:
            yield home
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            for data in (home / "postgres", *home.glob("*/postgres")):
                Stack(data.parent, silent()).stop()


def machine() -> str:
    """What a table says of the machine that it was measured on."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
