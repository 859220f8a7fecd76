"""What tests start bears their mark in its environment: by it a guard finds what is left once the tests were killed."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress

import psutil

from include.local import guard

_NAME = "GREENERY_TESTS"
_PATIENCE_SECONDS = 20


def begin() -> None:
    """Mark what this process starts from now on, and have it ended when this process is gone."""
    os.environ[_NAME] = mark = uuid.uuid4().hex
    guard.ends_with_us("processes of tests", end_left, mark)


def end_left(mark: str) -> bool:
    """End what bears the mark: asked first, killed after a while. Who started a Postgres stops it, or a guard does."""
    left = [one for one in psutil.process_iter() if _bears(one, mark)]
    for process in left:
        with suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(left, timeout=_PATIENCE_SECONDS)[1]:
        with suppress(psutil.Error):
            process.kill()
    return bool(left)


def _bears(process: psutil.Process, mark: str) -> bool:
    with suppress(psutil.Error):
        return process.environ().get(_NAME) == mark and process.name() != "postgres"
    return False
