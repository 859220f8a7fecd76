"""Where a bench works: a folder of its own, and whatever it starts there ends with it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from include.local import guard
from include.local.progress import silent
from include.local.stack import Stack


@contextmanager
def working(keep: Path | None = None) -> Iterator[Path]:
    """A folder for the time of the block, gone afterwards; `keep` is one that stays.

    Every Airflow and Postgres in it, or in a folder of it, is stopped however the block ends, even by SIGKILL.
    """
    guard.interrupt_once()
    logging.disable(logging.INFO)  # which goes to stdout, where the tables are
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
    with nullcontext(keep) if keep else guard.folder("greenery-bench-") as home:
        home.mkdir(exist_ok=True)
        home.chmod(0o755)  # where we are root, Postgres is another user
        guard.ends_with_us(f"the bench in {home}", end_left, str(home))
        try:
            yield home
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            end_left(str(home))
            guard.has_ended(end_left, str(home))


def end_left(home: str) -> bool:
    """Stop what runs of a bench that is over; True where anything did."""
    folders = [data.parent for data in (Path(home) / "postgres", *Path(home).glob("*/postgres"))]
    return sum(Stack(folder, silent()).stop() for folder in folders) > 0
