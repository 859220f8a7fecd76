"""What the processes of a bench have used: seconds of the processors by whose they are, and memory. On what machine."""

from __future__ import annotations

import os
import platform
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from include.local.postgres import server_process

TASKS, DBT = "tasks", "dbt build"
# Postgres, by whom it works for.
AIRFLOWS, WAREHOUSES = "Postgres for Airflow", "Postgres, the rest"
SCHEDULER = "scheduler"
# How Airflow calls the process of a task: by the id of the task instance; and what looks after such processes.
_TASK = re.compile(r"airflow worker -- [0-9a-f]{8}-")
_WORKER = re.compile(r"airflow worker\b")
# A server process of Postgres: user and database.
_ON_AIRFLOWS = re.compile(r"postgres: \S+ airflow ")


@dataclass
class Memory:
    """The most at a time, shared pages counted once, and the most that one task had for itself. In MB."""

    peak: float = 0
    task: float = 0


@dataclass(frozen=True)
class Processes:
    """Those of a Postgres, of Airflow's components by their names, and what we have started ourselves."""

    postgres: Path | None
    components: dict[str, int] = field(default_factory=dict)

    def cpu_seconds(self) -> Counter[str]:
        """What each has had of the processors so far. A process that ended counts where its parent does.

        So does a connection of Airflow's that closed: it counts as the warehouse's. Airflow keeps most of its own open.
        """
        used: Counter[str] = Counter()
        own = os.times()
        used[DBT] = own.children_user + own.children_system
        for part, process in self._all():
            with suppress(psutil.Error):
                times = process.cpu_times()
                used[part] += times.user + times.system
                # A scheduler forks workers, and these the tasks.
                used[TASKS if part == SCHEDULER else part] += times.children_user + times.children_system
        return used

    def megabytes(self) -> Counter[str]:
        """What each has of the memory now, shared pages counted once."""
        used: Counter[str] = Counter()
        for part, process in self._all():
            used[part] += memory_of([process]).peak
        return used

    @contextmanager
    def memory(self, every: float) -> Iterator[Memory]:
        """What is noted during the block, with a look every so many seconds, which takes some hundredths of one."""
        noted = Memory()

        def look() -> None:
            now = memory_of(process for _, process in [*self._all(), *([] if self.components else _builds())])
            noted.peak, noted.task = max(noted.peak, now.peak), max(noted.task, now.task)

        with watching(every, look):
            yield noted

    def _all(self) -> Iterator[tuple[str, psutil.Process]]:
        """Each process with whose it is."""
        leaders = dict(self.components)
        if self.postgres:
            leaders[WAREHOUSES] = server_process(self.postgres)
        for part, leader in leaders.items():
            with suppress(psutil.Error):
                process = psutil.Process(leader)
                yield part, process
                for child in process.children(recursive=True):
                    with suppress(psutil.Error):
                        yield whose(part, _called(child)), child


@contextmanager
def watching(every: float, look: Callable[[], None]) -> Iterator[None]:
    """Look every so many seconds during the block."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def memory_of(family: Iterable[psutil.Process]) -> Memory:
    """What processes have now; one that has ended has none."""
    now = Memory()
    for process in family:
        with suppress(psutil.Error, OSError):
            memory = process.memory_full_info()
            now.peak += memory.pss / 1e6
            if _TASK.match(" ".join(process.cmdline())):
                now.task = max(now.task, memory.uss / 1e6)
    return now


def machine() -> str:
    """What a table says of the machine that it was measured on."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def busy_seconds() -> float:
    """What the machine's processors have worked so far, for whomever."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)


def _called(process: psutil.Process) -> str:
    """How a process is called; of one that has ended, and that nobody has waited for yet, the first 15 characters."""
    try:
        return " ".join(process.cmdline())
    except psutil.ZombieProcess:  # what it had of the processors is nobody else's so far
        return process.name()


def whose(leader: str, called: str) -> str:
    """Whose a process is that this leader has started, by how it is called."""
    if leader == WAREHOUSES:
        return AIRFLOWS if _ON_AIRFLOWS.match(called) else leader
    if leader != SCHEDULER:
        return leader
    # What a task has started has no name of Airflow's; the server of logs has another one.
    return leader if called.startswith("airflow ") and not _WORKER.match(called) else TASKS


def _builds() -> Iterator[tuple[str, psutil.Process]]:
    """The `dbt build` that we have started; Airflow is our child as well."""
    for one in psutil.Process().children():
        with suppress(psutil.Error):
            if "dbt.cli.main" in one.cmdline():
                yield DBT, one
