"""docker-compose.yaml, its image built and all of it really started, where that can be done without docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from deploy import env_file
from include.daily import DAG_ID
from include.local import guard
from include.settings import PROJECT_ROOT

CHECK = PROJECT_ROOT.parent / "shared" / "containers" / "check-compose"
START_SECONDS = 900
RUN_SECONDS = 600
UP = ("up", "--detach", "--wait", "--no-build", "--pull", "never")


class NotStartedError(RuntimeError):
    """The compose file can't be started here; the message says why."""


@dataclass(frozen=True)
class Deployment:
    """The services, up: a program that runs commands beside them, in an environment that names our `.env`.

    `settings` (`NAME=value`) go before those of `.env`.
    """

    enter: str
    environment: dict[str, str]
    settings: tuple[str, ...] = ()

    def run(self, *command: str) -> str:
        """What a command beside the services prints. Raises CalledProcessError."""
        return subprocess.run(
            [self.enter, *command], env=self.environment, check=True, stdout=subprocess.PIPE, text=True, timeout=600
        ).stdout.strip()

    def compose(self, *arguments: str) -> str:
        """What `docker compose` prints."""
        return self.run("env", *self.settings, "docker-compose", *arguments)

    def sql(self, database: str, query: str) -> str:
        """Rows as psql prints them: columns behind `|`."""
        psql = (
            "psql",
            "--username=postgres",
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            database,
            "--command",
            query,
        )
        return self.compose("exec", "-T", "postgres", *psql)

    def inside(self, service: str, command: str) -> str:
        """What a command prints that a service's own shell runs."""
        return self.compose("exec", "-T", service, "sh", "-c", command)

    def capabilities(self, service: str) -> dict[str, int]:
        """What the first process of a service may do, and whether it can come to more."""
        lines = self.inside(service, "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/1/status").splitlines()
        return {name: int(value, 16) for name, value in (line.split(":") for line in lines)}

    def upgraded(self, change: str, *options: str) -> Deployment:
        """The same with another image: this one, changed by a command, and its dbt project released."""
        image = self.run("printenv", "AIRFLOW_IMAGE")
        make = f"{change} && python -m include.dbt_project.release"
        self.run("podman", "run", "--name", "upgrade", "--network", "none", *options, image, "bash", "-ec", make)
        self.run("podman", "commit", "--quiet", "--change", 'CMD ["api-server"]', "upgrade", f"{image}-upgraded")
        self.run("podman", "rm", "upgrade")
        return replace(self, settings=(f"AIRFLOW_IMAGE={image}-upgraded",))

    def secret(self, name: str) -> str:
        """A value of `.env`."""
        text = Path(self.environment["COMPOSE_ENV_FILES"]).read_text()
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)[name]

    def status(self, path: str, *options: str) -> int:
        """The HTTP status of an address of the UI's port."""
        url = f"http://localhost:8080{path}"
        return int(self.run("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *options, url))

    def token(self, login: dict[str, str]) -> str:
        """What Airflow's API gives to whoever logs in with name and password."""
        answer = self.run("curl", "--silent", "--json", json.dumps(login), "http://localhost:8080/auth/token")
        return json.loads(answer)["access_token"]

    def wait_for(
        self,
        database: str,
        query: str,
        wanted: str,
        seconds: float,
        *,
        pause: Callable[[], object] = lambda: time.sleep(0.5),
    ) -> None:
        """Until a query answers as wanted; `pause` is between two looks."""
        end, found = time.monotonic() + seconds, None
        while (found := self.sql(database, query)) != wanted:
            assert time.monotonic() < end, f"{query}: {found}, not {wanted}, after {seconds:.0f} s"
            pause()

    def wait_until_idle(self) -> None:
        """Until no run of the daily DAG is under way."""
        active = "select count(*) from dag_run where dag_id = 'greenery_daily' and state in ('queued', 'running')"
        self.wait_for("airflow", active, "0", RUN_SECONDS)

    def trigger(self, run_id: str, dag_id: str = DAG_ID, **conf: object) -> None:
        """A run of a DAG, when no other of the daily one is under way."""
        self.wait_until_idle()
        options = ("--run-id", run_id, "--conf", json.dumps(conf))
        self.compose("exec", "-T", "scheduler", "airflow", "dags", "trigger", *options, dag_id)

    def wait_until_published(self, run_id: str) -> None:
        """Until a run has ended well, and people see what it built."""
        query = f"select state from dag_run where run_id = '{run_id}' and end_date is not null"  # noqa: S608 - ours
        self.wait_for("airflow", query, "success", RUN_SECONDS)
        published = f"select count(*) from ops.publications where run_id = '{run_id}'"  # noqa: S608 - ours
        assert self.sql("warehouse", published) == "1"

    def machines(self, run_id: str, dag_id: str = DAG_ID) -> dict[str, str]:
        """The tasks of a run that a worker ran, each with the machine's own name."""
        this = f"dag_id = '{dag_id}' and run_id = '{run_id}' and hostname <> ''"
        rows = self.sql("airflow", f"select task_id, hostname from task_instance where {this}").splitlines()  # noqa: S608
        return dict(row.split("|") for row in rows)

    def built_ahead(self, run_id: str, dag_id: str = DAG_ID) -> set[str]:
        """The tasks of a run that had nothing to build, as their logs say."""
        logs = f"/opt/airflow/logs/dag_id={dag_id}/run_id={run_id}"
        found = self.inside("scheduler", f"grep -rl 'Built by the task build_ahead' {logs} || true")
        return set(re.findall(r"task_id=([^/]+)/", found))

    def workers(self) -> list[str]:
        """The names of the Celery workers' containers that run."""
        return self.compose("ps", "--status", "running", "--format", "{{.Name}}", "worker").splitlines()

    def pids(self) -> dict[str, int]:
        """The containers that run, by name, with the id of the first process of each, as it is called out here."""
        inside = int((Path(self.enter).parent / "namespaces.pid").read_text())
        ours = {}
        for process in psutil.Process(inside).children(recursive=True):
            with suppress(psutil.Error, OSError):
                names = re.search(r"^NSpid:\t(.*)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
                ours[int(names[1].split()[1])] = process.pid
        lines = self.run("podman", "ps", "--format", "{{.Names}} {{.Pid}}").splitlines()
        return {name: ours[int(pid)] for name, pid in (line.split() for line in lines)}

    def hostname(self, container: str) -> str:
        """What a container calls itself, and Airflow its tasks' machine."""
        return self.run("podman", "exec", container, "cat", "/etc/hostname")

    def worker_of(self, hostname: str) -> str:
        """The worker that calls itself so."""
        return next(one for one in self.workers() if self.hostname(one) == hostname)

    def worker_that_says(self, pattern: str, seconds: float) -> str:
        """The worker whose log has a line like this, once there is one."""
        end = time.monotonic() + seconds
        while True:
            for worker in self.workers():
                if re.search(pattern, self.run("podman", "logs", worker)):
                    return worker
            assert time.monotonic() < end, f"no worker said {pattern} in {seconds:.0f} s"
            time.sleep(1)

    def said_by(self, container: str, pattern: str, seconds: float) -> str:
        """A container's log, once it has something like this."""
        end = time.monotonic() + seconds
        while not re.search(pattern, said := self.run("sh", "-c", f"podman logs {container} 2>&1")):
            assert time.monotonic() < end, f"{container} did not say {pattern} in {seconds:.0f} s"
            time.sleep(1)
        return said

    def kill(self, container: str) -> None:
        """As a machine dies: at once, and nothing starts it again."""
        self.run("podman", "kill", "--signal", "KILL", container)

    def start_workers(self) -> None:
        """As many as there were."""
        self.compose(*UP, "worker")

    @contextmanager
    def frozen(self, container: str) -> Iterator[None]:
        """Nothing in a container gets on meanwhile."""
        self.tell_all("STOP", container)
        try:
            yield
        finally:
            self.tell_all("CONT", container)

    def tell_all(self, name: str, container: str) -> None:
        """Send a signal to all that runs in a container."""
        self.run("podman", "kill", "--signal", name, container)  # its first process, which is not told from inside
        self.run("podman", "exec", container, "bash", "-c", f"kill -{name} -1 || true")

    @contextmanager
    def frozen_tasks(self) -> Iterator[None]:
        """The tasks that run get no further meanwhile, one at least; what looks after them does."""
        end = time.monotonic() + RUN_SECONDS
        frozen: list[tuple[str, str]] = []
        while not frozen:
            assert time.monotonic() < end, "no task ran"
            for worker in self.workers():
                stopped = self.run("podman", "exec", worker, "python", "-c", _FREEZE_TASKS).split()
                frozen += [(worker, pid) for pid in stopped]
        try:
            yield
        finally:
            for worker, pid in frozen:
                self.run("podman", "exec", worker, "bash", "-c", f"kill -CONT {pid}")


# Prints the process ids of those that it stopped.
_FREEZE_TASKS = """
import psutil
for one in psutil.process_iter():
    try:
        if " ".join(one.cmdline()).startswith("airflow worker -- "):
            one.suspend()
            print(one.pid)
    except psutil.NoSuchProcess:
        pass
"""


def missing() -> str | None:
    """What keeps this machine from starting it; None where nothing does."""
    if not CHECK.exists():
        return "what starts a compose file without docker is not beside this checkout (../shared/containers)"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "starting a compose file without docker needs root, on Debian"
    return None


@contextmanager
def up(home: Path, *, profiles: str, executor: str, **settings: str) -> Iterator[Deployment]:
    """The compose file with fresh secrets, kept in `home`; gone with its volumes after the block.

    `settings` go before those of `.env`. Raises NotStartedError.
    """
    if reason := missing():
        raise NotStartedError(reason)
    env_file.write(home / ".env")
    environment = {
        **os.environ,
        "AIRFLOW__CORE__EXECUTOR": executor,
        "COMPOSE_PROFILES": profiles,
        "COMPOSE_ENV_FILES": str(home / ".env"),
        "COMPOSE_CHECK_UP_TIMEOUT": "480",
        "POSTGRES_MAJOR": "15",  # what stands in for the server
        **settings,
    }
    # The tests' own: hundreds of days, which take minutes beside other work.
    environment.pop("GREENERY_DEMO_FIRST_DAY", None)
    log = home / "check.log"
    with log.open("w") as out:
        check = subprocess.Popen(
            [CHECK, "--keep", PROJECT_ROOT], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not (kept := re.search(r"kept running: use (\S+)", log.read_text())):
            if check.poll() is not None:
                raise NotStartedError(log.read_text()[-8000:])
            if time.monotonic() > end:
                raise NotStartedError(f"not up after {START_SECONDS} s:\n{log.read_text()[-8000:]}")
            time.sleep(1)
        yield Deployment(kept[1], environment)
    finally:
        with guard.in_order():
            check.send_signal(signal.SIGTERM)
            check.wait(120)
