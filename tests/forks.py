"""Processes of their own at the price of a fork: from one that has loaded what they import, as tasks are.

A Python that starts anew imports for four seconds of a processor; here the first one does. That a command keeps its
stdout for what was asked for is not seen here: start one that imports for itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess
from threading import Lock
from types import SimpleNamespace

import pytest

from include.fast_cosmos import releases
from include.local import guard
from include.settings import PROJECT_ROOT

LIMIT_SECONDS = 120
# What tasks and commands of ours import.
OURS = (
    "airflow.sdk.observability.stats",
    "include.daily.metrics",
    "include.daily.watchdog",
    "include.publish.by_hand",
    "include.slack.samples",
    "include.slack.send",
)
# A shell that reaches no database of Airflow's.
NO_AIRFLOW = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://nobody@127.0.0.1:1/none"}
# Answers a code to run with the id of its process, and that id with how it ended.
_LOADED = """
import gc, json, os, signal, sys
gc.disable()  # what is imported stays, and what runs here runs for seconds
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what is logged is no answer
from importlib import import_module
from include.command_line import log_to_stderr
log_to_stderr()
for name in sys.argv[1:]:
    import_module(name)

gc.freeze()  # a fork that ends would look through all of it, which takes longer than most of what it ran
sys.stdout.flush()
running = set()
for line in sys.stdin:
    asked = json.loads(line)
    if "ended" in asked:
        answer = os.waitstatus_to_exitcode(os.waitpid(asked["ended"], 0)[1])
        running.remove(asked["ended"])
    elif answer := os.fork():
        running.add(answer)
    else:
        break
    print(answer, file=answers, flush=True)
else:
    for process in running:  # who asked for them is gone
        os.kill(process, signal.SIGKILL)
    sys.exit(0)

signal.alarm(asked["limit"])
os.environ.clear()
os.environ.update(asked["environment"])
for stream, file in enumerate(asked["files"], 1):
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
exec(asked["code"], {"__name__": "__main__"})
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Forks:
    """What forks, for one thread after the other."""

    process: subprocess.Popen[str]
    folder: Path
    numbers: Iterator[int] = field(default_factory=count)
    lock: Lock = field(default_factory=Lock)

    def start(self, code: str, **environment: str | None) -> Forked:
        """Begin to run some code, in a shell without an Airflow, with these variables; None takes one away."""
        number = next(self.numbers)
        files = [self.folder / f"{number}.{name}" for name in ("stdout", "stderr")]
        known = {
            name: value for name, value in {**os.environ, **NO_AIRFLOW, **environment}.items() if value is not None
        }
        asked = {"code": code, "environment": known, "files": [str(file) for file in files], "limit": LIMIT_SECONDS}
        return Forked(self, self._ask(asked), *files)

    def run(self, code: str, **environment: str | None) -> Ended:
        """Run some code to its end."""
        return self.start(code, **environment).end()

    def _ask(self, asked: dict[str, object]) -> int:
        with self.lock:
            print(json.dumps(asked), file=self.process.stdin, flush=True)
            return int(self.process.stdout.readline())


@dataclass(frozen=True)
class Forked:
    """A process that is under way."""

    forks: Forks
    pid: int
    stdout: Path
    stderr: Path

    def end(self) -> Ended:
        """Wait for its end, which comes within two minutes."""
        return Ended(self.forks._ask({"ended": self.pid}), self.stdout.read_text(), self.stderr.read_text())

    def kill(self) -> Ended:
        """End it as a power cut would."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.end()


def command(module: str, *arguments: str) -> str:
    """The code that does what `python -m module arguments` does."""
    named = f"import runpy, sys\nsys.argv = {[module, *arguments]!r}\n"
    return f"{named}runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"


@contextmanager
def loaded(*modules: str) -> Iterator[Forks]:
    """Something that has loaded modules and forks, for the time of the block."""
    with (
        guard.folder("greenery-forks-") as folder,
        subprocess.Popen(
            [sys.executable, "-c", _LOADED, *modules],
            cwd=PROJECT_ROOT,
            env=os.environ | NO_AIRFLOW,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        yield Forks(process, folder)
        process.stdin.close()


def fork_dbt(dbts: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parse of a small project takes less than to import dbt. `tests/dags` starts one as it is."""

    def run(started: Sequence[object], *, cwd: Path, env: dict[str, str], **_: object) -> CompletedProcess[str]:
        _python, _m, module, *arguments = map(str, started)
        begin = f"import os\nos.chdir({str(cwd)!r})\n"
        ended = dbts.run(begin + command(module, *arguments), **env)
        return CompletedProcess(started, ended.code, ended.stdout, ended.stderr)

    monkeypatch.setattr(releases, "subprocess", SimpleNamespace(run=run))
