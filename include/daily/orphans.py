"""No orphans: a worker of LocalExecutor ends with its scheduler, and a task with its worker, however that ends.

Workers are forks of the scheduler and share its connections. Where it alone is killed they would wait for ever, and
Airflow's database would take it for alive: what it had locked stays so, and no other scheduler goes on with its runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from airflow.listeners import hookimpl

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@hookimpl
def on_starting(component: Any) -> None:
    """Airflow calls this when a component's job starts, before it forks. Only Linux can do it."""
    if type(component).__name__ == "Job" and "scheduler" in sys.argv and sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        os.register_at_fork(after_in_child=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
