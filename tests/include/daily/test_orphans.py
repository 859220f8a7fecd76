"""What a scheduler has forked ends with it."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe

import pytest

from include.daily import orphans
from tests.include.local.test_guard import is_over
from tests.waiting import wait_for


class Job:
    """As Airflow calls what starts."""


def _schedule(said: Pipe) -> None:
    sys.argv = ["airflow", "scheduler"]
    orphans.on_starting(Job())
    if worker := os.fork():
        said.send(worker)
    elif not os.fork():  # a task of the worker's
        said.send(os.getpid())
    signal.pause()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_worker_and_its_task_end_with_a_scheduler_that_is_killed() -> None:
    ours, its = get_context("fork").Pipe()
    scheduler = get_context("fork").Process(target=_schedule, args=(its,), daemon=True)
    scheduler.start()
    family = [str(ours.recv()) for _ in range(2)]
    scheduler.kill()
    wait_for(lambda: all(map(is_over, family)), "worker and task are gone")
