"""The local stack at its edges: two at once, Ctrl-C, leftovers, a taken port."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import psutil
import psycopg2
import pytest
from sqlalchemy import create_engine, text

from include.demo_shop import demo as demo_shop
from include.local import postgres, warehouse
from include.local.__main__ import _backup
from include.local.demo import messages_of, use_warehouse_of
from include.local.progress import Progress, silent
from include.local.stack import Running, Stack, StackError
from include.settings import PROJECT_ROOT
from include.slack import outbox
from include.slack.message import Message
from include.warehouse import connect, roles
from tests import in_memory
from tests.include.dbt_project.conftest import start as one_model
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.stack]


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder, forgotten with all that runs in it."""
    with in_memory.folder("greenery-home-") as path:
        yield path
        Stack(path, silent()).stop()


def of_this(home: Path) -> list[psutil.Process]:
    """The processes that belong to a state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            named = str(home) in " ".join(process.cmdline())
            if named or process.environ().get("GREENERY_STATE_DIR") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_ctrl_c_while_starting_leaves_no_process(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_model(tmp_path, monkeypatch)  # none of the real project gets so far as to be drawn
    monkeypatch.delenv("GREENERY_DEMO_FIRST_DAY")  # two days of the shop, not all since March
    (home / "airflow").mkdir()
    (home / "airflow" / "migrated").write_text(version("apache-airflow"))  # no component gets so far as to look
    command = subprocess.Popen(
        [sys.executable, "-m", "include.local", "demo"],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "GREENERY_STATE_DIR": str(home),
            "GREENERY_UI_PORT": str(postgres.free_port()),
            "GREENERY_DEMO_FIRST_DAY": "",  # as in life: no more than two days are played
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    state = Stack(home)
    try:
        wait_for(lambda: len((state._read_state() or Running("", {})).pids) == 4, "all four run", seconds=180)
        command.send_signal(signal.SIGINT)

        def stops() -> bool:
            command.send_signal(signal.SIGTERM)
            return command.poll() is not None

        wait_for(stops, "it stops, however often it is told", seconds=60, every=0.5)
        output, _ = command.communicate(timeout=60)
    finally:
        command.kill()
    wait_for(lambda: not of_this(home), f"none of it runs: {output}", every=0.1)  # its guard ends after it
    # Python ends itself by a signal that comes in the middle of an exec, or at its very end.
    assert command.returncode in (130, -signal.SIGINT, -signal.SIGTERM), output


def test_what_an_earlier_stack_left_running_is_stopped(home: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "airflow"], start_new_session=True)
    wait_for(lambda: "airflow" in psutil.Process(left.pid).cmdline(), "the process has its name")
    stack = Stack(home, silent())
    state = {"url": "http://localhost:1", "pids": {"scheduler": left.pid}, "postgres_port": 1}  # as it once was
    (home / "stack.json").write_text(json.dumps(state))
    assert stack.running() is None
    assert stack.stop()
    assert left.poll() is not None


def test_a_process_that_only_has_an_old_number_is_left_alone(home: Path) -> None:
    stack = Stack(home, silent())
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        stack._write_state(Running("http://localhost:1", {"scheduler": innocent.pid}))
        stack.stop()
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_taken_port_is_said_and_another_one_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setenv("GREENERY_UI_PORT", str(taken))
        assert Stack(home, Progress(said))._ui_port() != taken
    assert said.getvalue().startswith(f"Port {taken} is in use")


def test_the_login_is_made_once_and_kept_private(home: Path) -> None:
    assert Stack(home).login() == Stack(home).login()
    assert (home / "secrets.json").stat().st_mode & 0o077 == 0


def test_secrets_that_are_there_stay_and_what_came_later_is_added(home: Path) -> None:
    (home / "secrets.json").write_text(json.dumps({"api": "a", "jwt": "b", "fernet": "c", "password": "ada's"}))
    assert Stack(home).login() == ("admin", "ada's")
    passwords = Stack(home)._passwords()
    assert passwords.keys() == {postgres.SUPERUSER, *roles.LOGINS}
    assert len(set(passwords.values())) == len(passwords)
    assert Stack(home)._passwords() == passwords
    assert (home / "secrets.json").stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def session() -> Iterator[tuple[Path, postgres.LocalPostgres]]:
    """A command that is under way: its state folder and its Postgres."""
    with in_memory.folder("greenery-home-") as path, Stack(path, silent()).session() as server:
        yield path, server


def test_after_a_restore_airflows_database_is_migrated_again(
    session: tuple[Path, postgres.LocalPostgres], tmp_path: Path
) -> None:
    """A backup may be of an older version of Airflow; the marker tells of the database that was replaced."""
    home, _ = session
    for command, stays in (("check", True), ("restore", False)):
        (home / "airflow").mkdir(exist_ok=True)
        (home / "airflow" / "migrated").touch()
        with patch.dict(os.environ):
            assert _backup(Stack(home, silent()), Namespace(rest=[command, str(tmp_path)])) == 1, "it is no backup"
        assert (home / "airflow" / "migrated").exists() == stays


def test_a_second_command_at_the_same_time_is_refused(session: tuple[Path, postgres.LocalPostgres]) -> None:
    home, _ = session
    with pytest.raises(StackError, match="another make command"):
        Stack(home, silent()).stop()


def test_each_kind_of_shop_has_a_warehouse_of_its_own_that_comes_back(
    session: tuple[Path, postgres.LocalPostgres],
) -> None:
    _, server = session
    where = warehouse.as_loader(server)
    days = []
    for shop in ("demo", "csv", "demo", "csv", "demo"):
        use_warehouse_of(server, shop, silent())
        with connect("test", where) as connection:
            days.append(demo_shop.next_day(connection))
            if len(days) == 1:
                demo_shop.play_day(connection, 1, orders_per_day=5)
    assert days == [1, 1, 2, 1, 2]


def test_what_a_run_said_is_given_in_that_order(session: tuple[Path, postgres.LocalPostgres]) -> None:
    """Its messages are of one moment, and the row of one that Slack took lies behind the others."""
    _, server = session
    with connect("test", warehouse.as_transformer(server)) as connection:
        first, _ = [
            outbox.keep(connection, "run", audience, Message("published", "", audience, [{}]), waiting=True)
            for audience in ("stakeholders", "engineers")
        ]
        outbox.arrived(connection, first, None)
    assert messages_of(server, "run") == ("stakeholders", "engineers")


def test_everybody_is_asked_for_a_password_of_their_own(session: tuple[Path, postgres.LocalPostgres]) -> None:
    home, server = session
    for role in (postgres.SUPERUSER, *roles.LOGINS):
        where = server.database(warehouse.NAME, role)
        with connect("test", where) as connection, connection.cursor() as cursor:
            cursor.execute("select current_user")
            assert cursor.fetchall() == [(role,)]
        for password in ("", next(one for one in server.passwords.values() if one != where.password)):
            with (
                pytest.raises(psycopg2.OperationalError, match="password"),
                connect("", replace(where, password=password)),
            ):
                pass
    environment = Stack(home).environment(server, 1)
    assert environment["WAREHOUSE_PASSWORD"] == server.passwords[roles.TRANSFORMER]
    assert environment["WAREHOUSE_LOADER_PASSWORD"] == server.passwords[roles.LOADER]
    assert environment["WAREHOUSE_HEALTH_PASSWORD"] == server.passwords[roles.HEALTH]
    assert environment["WAREHOUSE_DEVELOPER_PASSWORD"] == server.passwords[roles.DEVELOPER]
    with closing(create_engine(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).connect()) as airflows:
        assert airflows.scalar(text("select current_database()")) == "airflow"


def install(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Let the installer install into a folder that has nothing but the pins."""
    (folder / "include/local").mkdir(parents=True)
    for name in (
        "include/local/install.py",
        "include/local/progress.py",
        *(path.name for path in PROJECT_ROOT.glob("*.txt")),
    ):
        shutil.copy(PROJECT_ROOT / name, folder / name)
    return subprocess.run(
        [sys.executable, folder / "include/local/install.py"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_a_machine_without_the_right_python_is_told_what_to_install(tmp_path: Path) -> None:
    done = install(tmp_path, PYTHON="/bin/false")
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or 3.12")
    assert not (tmp_path / ".venv").exists()


def test_an_environment_that_is_linked_to_is_not_emptied(tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    (others / "python").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".venv").symlink_to(others)
    done = install(tmp_path / "mine")
    assert done.returncode == 1
    assert done.stderr.startswith(f".venv is a link to {others}")
    assert (others / "python").exists()
