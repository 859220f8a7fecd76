"""The whole deployment on a laptop: an embedded Postgres and a real Airflow, all state in `.local/`.

.local/postgres/        the cluster: database `airflow` and database `warehouse`
.local/airflow/         AIRFLOW_HOME
.local/logs/            one file a component
.local/dbt/             releases of the dbt project
.local/stack.json       what is running: ports and process ids
.local/secrets.json     keys, the login and the passwords of Postgres, made once
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psutil

from include import settings
from include.dbt_project import release
from include.local import guard, postgres, warehouse
from include.local.progress import Progress, silent
from include.settings import PROJECT_ROOT
from include.warehouse import roles

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
USER = "admin"
# Two cores run four tasks at a time well, and thirty-two badly.
PARALLELISM = 4
START_LIMIT_SECONDS = 180
STOP_LIMIT_SECONDS = 20


class StackError(RuntimeError):
    """The local stack can't be started or used; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Running:
    """A stack that is up: where its UI is, and the process id of each component."""

    url: str
    pids: dict[str, int]


class Stack:
    """The local stack whose state is in one folder."""

    def __init__(
        self, home: Path, progress: Progress | None = None, *, extra_env: dict[str, str] | None = None
    ) -> None:
        self.home = home.resolve()
        self.logs = self.home / "logs"
        self.progress = progress or Progress()
        self._extra_env = extra_env or {}
        self._state = self.home / "stack.json"
        self._migrated = self.home / "airflow" / "migrated"

    # What it is --------------------------------------------------------------------------------------------------

    def running(self) -> Running | None:
        """The stack, if all of its components are alive."""
        state = self._read_state()
        return state if state and len(self._alive(state)) == len(COMPONENTS) else None

    def postgres(self) -> postgres.LocalPostgres:
        """The Postgres alone, started if it is down."""
        data = self.home / "postgres"
        if postgres.running_port(data):
            return postgres.start(data, passwords=self._passwords())
        with self._lock():
            return self._start_postgres()  # it stays: the next command comes soon

    def login(self) -> tuple[str, str]:
        """User and password of the Airflow UI."""
        return USER, self._secrets()["password"]

    def environment(self, server: postgres.LocalPostgres, port: int) -> dict[str, str]:
        """The environment of every process of the stack: what `airflow.cfg` leaves open, the warehouse, dbt."""
        keys = self._secrets()
        url = f"http://localhost:{port}"
        return {
            **os.environ,
            **warehouse.as_transformer(server).environment(),
            "WAREHOUSE_LOADER_USER": warehouse.as_loader(server).user,
            "WAREHOUSE_LOADER_PASSWORD": warehouse.as_loader(server).password,
            "WAREHOUSE_HEALTH_PASSWORD": warehouse.as_health(server).password,
            "WAREHOUSE_DEVELOPER_PASSWORD": warehouse.as_developer(server).password,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(PROJECT_ROOT),
            "GREENERY_STATE_DIR": str(self.home),
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW_CONFIG": str(PROJECT_ROOT / "airflow.cfg"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
            "AIRFLOW__CORE__FERNET_KEY": keys["fernet"],
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "airflow" / "passwords.json"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url("airflow"),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": keys["api"],
            "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(postgres.free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(postgres.free_port()),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "airflow" / "logs"),
            "AIRFLOW__COSMOS__CACHE_DIR": str(self.home / "cosmos"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
            "NO_PROXY": "localhost,127.0.0.1",
            **self._extra_env,
        }

    # What it does ------------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, *, keep: bool = False) -> Iterator[postgres.LocalPostgres]:
        """Postgres for the time of the block, and Airflow from the first call of `airflow` in it.

        What was up before stays up afterwards. Whatever else the block started is stopped, however it ends, even by
        SIGKILL; with `keep` only when it ends badly.
        """
        with self._lock():
            joined = self.running()
            if joined:
                self.progress.say(f"Joining the stack that is up at {joined.url}")
            else:
                guard.ends_with_us(f"the stack in {self.home}", end_left, str(self.home))
            done = False
            try:
                yield self._start_postgres()
                done = True
            finally:
                if not joined and not (keep and done):
                    self._stop()
                guard.has_ended(end_left, str(self.home))

    def airflow(self, server: postgres.LocalPostgres) -> Running:
        """Airflow beside this Postgres: the one that is up, or a new one. Call it in a `session`."""
        return self.running() or self._start_airflow(server)

    def migrate_again(self) -> None:
        """Let the next start migrate Airflow's database, which is replaced meanwhile."""
        self._migrated.unlink(missing_ok=True)

    def stop(self) -> bool:
        """Stop whatever of it runs; True where something did."""
        with self._lock():
            return self._stop()

    def _start_airflow(self, server: postgres.LocalPostgres) -> Running:
        if self.stop_airflow():
            self.progress.say("An earlier stack had not been stopped whole; what was left of it is stopped now")
        self.logs.mkdir(parents=True, exist_ok=True)
        port = self._ui_port()
        env = self.environment(server, port)
        self._migrate(env)
        with self.progress.step("Parsing the dbt project"), _environ(env):
            release.refresh()
            if problem := release.problem():
                self.progress.say(f"It can't be used, so the last release that could is:\n{problem.message}")
        running = Running(env["AIRFLOW__API__BASE_URL"], {})
        with self.progress.step(f"Starting Airflow at {running.url}"):
            for component in COMPONENTS:
                running.pids[component] = self._spawn(component, env)
                self._write_state(running)
            self._wait_until_healthy(running)
        return running

    def _start_postgres(self) -> postgres.LocalPostgres:
        if shutil.disk_usage(self.home).free < 1_000_000_000:
            raise StackError(f"less than 1 GB is free on the disk of {self.home}; make room, then try again")
        fresh = not (self.home / "postgres" / "PG_VERSION").exists()
        if postgres.running_port(self.home / "postgres"):
            return postgres.start(self.home / "postgres", passwords=self._passwords())
        with self.progress.step("Setting up and starting Postgres" if fresh else "Starting Postgres"):
            # Laptop settings: a power cut may cost the last second, never consistency.
            server = postgres.start(
                self.home / "postgres",
                passwords=self._passwords(),
                settings={"synchronous_commit": "off"},
                stays=True,  # as long as the stack does
            )
            postgres.ensure_database(server, "airflow")
            warehouse.prepare(server)
        return server

    def _migrate(self, env: dict[str, str]) -> None:
        """Airflow's own database, once a version of Airflow."""
        wanted = version("apache-airflow")
        (self.home / "airflow").mkdir(parents=True, exist_ok=True)
        passwords = Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({USER: self.login()[1]}))
        if self._migrated.exists() and self._migrated.read_text() == wanted:
            return
        with self.progress.step("Migrating Airflow's database"):
            log = self.logs / "migrate.log"
            with log.open("w") as out:
                code = subprocess.run(
                    [*_AIRFLOW, "db", "migrate"], env=env, stdout=out, stderr=out, cwd=PROJECT_ROOT
                ).returncode
            if code:
                raise StackError(f"`airflow db migrate` failed; {log} says why; `make clean` starts afresh")
            self._migrated.write_text(wanted)

    def _spawn(self, component: str, env: dict[str, str]) -> int:
        with (self.logs / f"{component}.log").open("a") as log:
            # A session of its own: Ctrl-C reaches us, and we stop the whole group in order.
            return subprocess.Popen(
                [*_AIRFLOW, component],
                env=env,
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).pid

    def _wait_until_healthy(self, running: Running) -> None:
        limit = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < limit:
            dead = set(COMPONENTS) - self._alive(running)
            if dead:
                name = sorted(dead)[0]
                raise StackError(f"Airflow's {name} ended while starting; {self.logs / name}.log says why")
            with suppress(httpx.HTTPError, ValueError, KeyError):
                health = httpx.get(f"{running.url}/api/v2/monitor/health", timeout=5, trust_env=False).json()
                parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
                if all(health[part]["status"] == "healthy" for part in parts):
                    return
            time.sleep(0.3)
        raise StackError(f"Airflow was not healthy after {START_LIMIT_SECONDS} s; the logs in {self.logs} say why")

    def _stop(self) -> bool:
        with _undisturbed():
            airflow = self.stop_airflow()
            return postgres.end_left(str(self.home / "postgres")) or airflow

    def stop_airflow(self) -> bool:
        """Stop Airflow alone, in a `session`; True where it ran."""
        state = self._read_state()
        with _undisturbed():
            with self.progress.step("Stopping Airflow") if state and self._alive(state) else nullcontext():
                was_up = _terminate(state.pids.values()) if state else False
            self._state.unlink(missing_ok=True)
        return was_up

    # Its state ---------------------------------------------------------------------------------------------------

    def _ui_port(self) -> int:
        wanted = settings.ui_port()
        port = postgres.free_port(wanted)
        if port != wanted:
            self.progress.say(f"Port {wanted} is in use (GREENERY_UI_PORT names another); Airflow takes {port}")
        return port

    def _secrets(self) -> dict[str, Any]:
        """Keys, the login's password and Postgres' by user. What the file lacks is made, and kept in it."""
        file = self.home / "secrets.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        whole = {name: secrets.token_urlsafe(64) for name in ("api", "jwt")}
        whole["fernet"] = urlsafe_b64encode(secrets.token_bytes(32)).decode()
        whole["password"] = secrets.token_urlsafe(9)
        whole |= kept
        passwords = {user: secrets.token_urlsafe(32) for user in (postgres.SUPERUSER, *roles.LOGINS)}
        whole["postgres"] = passwords | kept.get("postgres", {})
        if whole != kept:
            self.home.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(".secrets.json")
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                json.dump(whole, out)
            draft.replace(file)
        return whole

    def _passwords(self) -> dict[str, str]:
        return self._secrets()["postgres"]

    def _read_state(self) -> Running | None:
        try:
            state = json.loads(self._state.read_text())
            return Running(state["url"], state["pids"])  # another version may have written more
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write_state(self, running: Running) -> None:
        self._state.write_text(json.dumps(asdict(running)))

    def _alive(self, running: Running) -> set[str]:
        return {component for component, pid in running.pids.items() if _is_airflow(pid)}

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    "another make command is using the local stack; wait for it to end, then try again"
                ) from None
            yield


def end_left(home: str) -> bool:
    """Stop the stack of a process that is gone; True where something of it ran.

    A command that came in between has joined it: to stop it or leave it up is that one's.
    """
    try:
        return Stack(Path(home), silent()).stop()
    except StackError:
        return False


_AIRFLOW = (sys.executable, "-m", "airflow")


def _is_airflow(pid: int) -> bool:
    """Whether the process lives and is one of Airflow's: its number may belong to another by now."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        named = process.cmdline()  # empty for a moment while a process starts
        return process.status() != psutil.STATUS_ZOMBIE and (not named or "airflow" in " ".join(named))
    return False


def _session(leader: int) -> list[psutil.Process]:
    """The processes of a component's session, also those that outlived it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader and _is_airflow(process.pid):
                found.append(process)
    return found


def _terminate(leaders: Collection[int]) -> bool:
    """End the components and all that they started: asked first, killed after a while. True where any lived."""
    family: list[psutil.Process] = []
    for leader in leaders:
        members = _session(leader)
        # A component ends what it started; orphans have to be asked themselves.
        for process in [one for one in members if one.pid == leader] or members:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)
        family += members
    _, left = psutil.wait_procs(family, timeout=STOP_LIMIT_SECONDS)
    # What a component started while it was being stopped is in its session still.
    left += [process for leader in leaders for process in _session(leader) if process not in left]
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    return bool(family)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No Ctrl-C in this block: it must not leave half of what is being stopped running."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in guard.TOLD_TO_END}
    try:
        with guard.in_order():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _environ(env: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
