"""What the commands behind make print: what was asked for on stdout, and all else on stderr."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from include.local import postgres
from include.settings import PROJECT_ROOT
from tests import in_memory

ONE = ("psql", "ARGS=-Atc 'select 1'")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A state folder, with nothing in it at first."""
    with in_memory.folder("greenery-home-") as path:
        yield path
        postgres.stop(path / "postgres")


def make(home: Path, *arguments: str, stderr: int = subprocess.PIPE) -> tuple[str, str]:
    """What a command of make's prints on stdout and stderr."""
    done = subprocess.run(
        ["make", "-s", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, "GREENERY_STATE_DIR": str(home), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.db
def test_psql_prints_its_rows_and_nothing_else_on_stdout(home: Path) -> None:
    assert make(home, *ONE) == ("1\n", "Setting up and starting Postgres …\n")
    assert make(home, *ONE) == ("1\n", "")
    assert make(home, "down") == ("", "Stopped\n")
    assert make(home, *ONE) == ("1\n", "Starting Postgres …\n")


@pytest.mark.db
def test_who_ends_the_command_ends_psql(home: Path) -> None:
    """It takes the place of the command's process."""
    command = [sys.executable, "-m", "include.local", "psql", "-c", r"\! echo $PPID"]
    env = {**os.environ, "GREENERY_STATE_DIR": str(home)}
    with subprocess.Popen(command, cwd=PROJECT_ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == f"{process.pid}\n"


@pytest.mark.db
def test_the_mcp_server_is_handed_the_pages_password_and_no_other_secret(home: Path) -> None:
    from mcp import Client, StdioServerParameters  # takes half a second, which the others don't need

    env = {**os.environ, "GREENERY_STATE_DIR": str(home), "AIRFLOW__CORE__FERNET_KEY": "of-airflow"}
    started = StdioServerParameters(command="make", args=["-s", "mcp"], env=env, cwd=PROJECT_ROOT)

    async def start() -> dict[str, str]:
        async with Client(started) as client:
            assert (await client.list_tools()).tools
            found = []
            for one in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):  # it has ended meanwhile
                    found += [one] if "plugins.data_health.mcp_server" in one.cmdline() else []
            [server] = found
            return server.environ()

    given = asyncio.run(start())
    passwords = json.loads((home / "secrets.json").read_text())["postgres"]
    assert given["WAREHOUSE_HEALTH_PASSWORD"] == passwords["greenery_health"]
    assert (given["WAREHOUSE_USER"], given["GREENERY_STATE_DIR"]) == ("greenery_health", str(home))
    of_others = {*passwords.values(), "of-airflow"} - {passwords["greenery_health"]}
    assert of_others.isdisjoint(given.values())


@pytest.mark.db
def test_in_a_terminal_psql_says_on_one_line_that_moves_that_postgres_starts(home: Path) -> None:
    make(home, "down")
    terminal, inside = pty.openpty()
    try:
        assert make(home, *ONE, stderr=inside)[0] == "1\n"
        said = os.read(terminal, 10_000).decode()
    finally:
        os.close(inside), os.close(terminal)
    assert re.match("\r\x1b\\[K(Starting|Setting up and starting) Postgres … 0 s\r\x1b\\[K", said)
    assert said.endswith("\r\x1b[K")
    assert "\n" not in said


@pytest.mark.db
def test_a_masked_copy_takes_the_place_of_the_warehouse_which_is_set_aside(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert make(home, "masked", f"TO={copy}")[0] == f"{copy}\n"
    make(home, "psql", "ARGS=-c \"insert into raw.promos values ('spring', 1, 'active', now())\"")
    promos = "ARGS=-Atc 'select count(*) from raw.promos'"
    (copy / "raw.users.copy.gz").rename(tmp_path / "users")
    with pytest.raises(AssertionError, match="can't be read as a masked copy"):
        make(home, "masked", f"FROM={copy}", "ARGS=--replace")
    assert make(home, "psql", promos)[0] == "1\n"

    (tmp_path / "users").rename(copy / "raw.users.copy.gz")
    assert make(home, "masked", f"FROM={copy}", "ARGS=--replace")[0] == ""

    assert make(home, "psql", promos)[0] == "0\n"
    assert make(home, "psql", promos.replace("-Atc", "-d warehouse_replaced -Atc"))[0] == "1\n"
    with pytest.raises(AssertionError, match="warehouse_replaced, which was set aside before, is still there"):
        make(home, "masked", f"FROM={copy}", "ARGS=--replace")


# Instead of a Python: what the installer calls is there and is noisy.
_PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c "*) echo 1; exit;;
  "-m venv") mkdir -p "$4/bin"; cp "$0" "$4/bin/python";;
esac
echo "noise of $*"
echo "noise of $*" >&2
exit ${FAILS:-0}
"""


@pytest.mark.db
@pytest.mark.parametrize("command", ["compile", pytest.param("run", marks=pytest.mark.torture)])
def test_the_lines_that_a_dbt_by_hand_needs_let_it_in(command: str, home: Path, tmp_path: Path) -> None:
    """Those of the page, as they stand there, in a checkout of which only the state folder is named."""
    page = (PROJECT_ROOT / "docs" / "i-want-to.md").read_text()
    lines = re.findall(r"^    (export WAREHOUSE_.+)$", page, re.MULTILINE)
    [line] = re.findall(rf"`(\.venv/bin/dbt {command} .+?)`", page)
    if command == "run":
        lines += [line.replace("fact_orders", "+fact_orders")]  # as a run of the day has built before it
    for entry in PROJECT_ROOT.iterdir():
        if entry.name not in (".local", "dbt"):
            (tmp_path / entry.name).symlink_to(entry)
    shutil.copytree(PROJECT_ROOT / "dbt", tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    (tmp_path / ".local").symlink_to(home)
    of_the_tests = ("PG", "WAREHOUSE_", "DBT_", "GREENERY_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(of_the_tests)}
    env |= {"GREENERY_STATE_DIR": str(home), "DBT_SEND_ANONYMOUS_USAGE_STATS": "False"}
    script = "\n".join(["set -e", *lines, line])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fails", [0, 3])
def test_installing_prints_nothing_on_stdout(fails: int, tmp_path: Path) -> None:
    (tmp_path / "include/local").mkdir(parents=True)
    for name in ("include/local/install.py", "include/local/progress.py", *_pins()):
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(_PYTHON)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        ["python3", tmp_path / "include/local/install.py"],
        env={**os.environ, "PYTHON": str(python), "FAILS": str(fails)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1 if fails else 0, "")
    said = done.stderr.splitlines()
    assert said[0] == f"Installing into .venv with {python} …"
    assert said[-1] == ("Mend what it says above, then run the same command again." if fails else "Installed")
    assert any(line.startswith("noise of -m venv") for line in said) == bool(fails)


def _pins() -> list[str]:
    return [path.name for path in PROJECT_ROOT.glob("*.txt")]
