"""What a killed process had started ends, by its guard or by the next command; what is to stay stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from include.local import guard, postgres
from include.local.__main__ import main
from include.local.stack import Stack, end_left
from include.settings import PROJECT_ROOT
from tests import in_memory
from tests.waiting import wait_for

# A process starts something in the folder `home`, says what, and waits for its end.
BEGIN = """
import os, subprocess, sys, time
from pathlib import Path
from include.local import guard, postgres
home = Path(os.environ["GREENERY_STATE_DIR"])
"""
SAY = """
    print({what}, flush=True)
    time.sleep(600)
"""
A_FOLDER = BEGIN + 'with guard.folder("left-", home) as folder:' + SAY.format(what="folder")
A_FOLDER_THAT_STAYS = A_FOLDER.replace("print", "guard.has_ended(guard.remove, str(folder)); print")
A_FORK_BESIDE_IT = A_FOLDER.replace("print", "os.fork() or (time.sleep(30), os._exit(0)); print")
A_POSTGRES = A_FOLDER.replace("print", 'postgres.start(folder / "postgres"); print')
A_STACK = (
    BEGIN
    + """
from include.local.progress import silent
from include.local.stack import Running, Stack
stack = Stack(home, silent())
with stack.session():
    waits = [sys.executable, "-c", "import time; time.sleep(600)", "airflow"]
    scheduler = subprocess.Popen(waits, start_new_session=True)
    stack._write_state(Running("http://localhost:1", {"scheduler": scheduler.pid}))
"""
    + SAY.format(what="scheduler.pid")
)


# What keeps a process that is told to end from that. Each says so just before.
STUCK = {
    "a thread": """
threading.Thread(target=threading.Event().wait).start()
print("stuck", flush=True)
threading.Event().wait()
""",
    "a call that lets no other thread run": """
lock = ctypes.create_string_buffer(64)
ctypes.PyDLL(None).pthread_mutex_lock(lock)
print("stuck", flush=True)
ctypes.PyDLL(None).pthread_mutex_lock(lock)
""",
    "a command that swallows it": """
print("stuck", flush=True)
while True:
    with suppress(BaseException):
        signal.pause()
""",
    "a child": """
child = subprocess.Popen(["sh", "-c", "trap '' INT TERM HUP; echo stuck; while :; do sleep 600; done"])
while True:
    with suppress(KeyboardInterrupt):
        child.wait()
""",
    "a query": """
server = postgres.start(home / "postgres")
first, second = (psycopg2.connect(**server.database("postgres").libpq()) for _ in range(2))
first.cursor().execute("select pg_advisory_lock(1)")
print("stuck", flush=True)
second.cursor().execute("select pg_advisory_lock(1)")
""",
}


def command(what: str) -> str:
    """A command that does this, and hears that it is to end."""
    return f"{BEGIN}\nimport ctypes, psycopg2, signal, threading\nfrom contextlib import suppress\n" + (
        f"guard.interrupt_once()\n{what}"
    )


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder, which the environment names."""
    with in_memory.folder("greenery-home-") as path:
        monkeypatch.setenv("GREENERY_STATE_DIR", str(path))
        yield path


@contextmanager
def started(code: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that runs this, and what it says."""
    run = [sys.executable, "-c", code]
    with subprocess.Popen(run, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def guard_of(home: Path) -> psutil.Process:
    """The guard of the one record in this state folder."""
    [record] = (home / "started").iterdir()
    found: list[psutil.Process] = []

    def look() -> bool:
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                found.extend([one] if str(record) in one.cmdline() else [])
        return bool(found)

    wait_for(look, "a guard runs")
    return found[0]


def is_over(process: str) -> bool:
    try:
        return psutil.Process(int(process)).status() == psutil.STATUS_ZOMBIE  # nobody has asked for its end yet
    except psutil.NoSuchProcess:
        return True


def records(home: Path) -> list[Path]:
    return list((home / "started").iterdir())


@pytest.mark.db
def test_a_postgres_ends_with_the_process_that_started_it(home: Path) -> None:
    with started(A_POSTGRES) as (process, folder):
        data = Path(folder) / "postgres"
        assert postgres.running_port(data)
        server = str(postgres.server_process(data))
        process.kill()
        wait_for(lambda: not records(home), "its record is gone")
    wait_for(lambda: is_over(server), "it is over")
    assert not data.parent.exists()


@pytest.mark.db
def test_a_stack_ends_with_the_process_that_started_it(home: Path) -> None:
    with started(A_STACK) as (process, scheduler):
        assert postgres.running_port(home / "postgres")
        assert not is_over(scheduler)
        process.kill()
        process.wait()
        wait_for(lambda: not records(home), "its record is gone")
    assert not postgres.running_port(home / "postgres")
    wait_for(lambda: is_over(scheduler), "it is over")
    assert not (home / "stack.json").exists()


@pytest.mark.slow
def test_where_the_guard_was_killed_too_the_next_command_ends_and_names_what_is_left(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(A_FOLDER) as (process, folder):
        guard_of(home).kill()
        assert main(["down"]) == 0
        assert Path(folder).exists(), "the process lives"
        process.kill()
    capsys.readouterr()
    assert main(["down"]) == 0
    said = f"Ended what an earlier command had left, which was killed: the folder {folder}\nNothing was running\n"
    assert capsys.readouterr() == ("", said)
    assert not Path(folder).exists()
    assert guard.end_what_was_left() == []


@pytest.mark.slow
def test_what_is_to_stay_outlives_the_process(home: Path) -> None:
    with started(A_FOLDER_THAT_STAYS) as (process, folder):
        process.kill()
        wait_for(lambda: not records(home), "its record is gone")
    assert Path(folder).exists()


@pytest.mark.slow
def test_a_fork_that_outlives_the_process_keeps_nothing_alive(home: Path) -> None:
    with started(A_FORK_BESIDE_IT) as (process, folder):
        [fork] = [one for one in psutil.Process(process.pid).children() if "include.local.guard" not in one.cmdline()]
        process.kill()
        wait_for(lambda: not records(home), "its record is gone", seconds=20)
        assert fork.is_running()
        fork.kill()
    assert not Path(folder).exists()


@pytest.mark.slow
def test_what_the_next_command_has_ended_a_guard_that_comes_later_leaves_alone(home: Path) -> None:
    with started(A_FOLDER) as (process, folder):
        late = guard_of(home)
        late.suspend()
        wait_for(lambda: late.status() == psutil.STATUS_STOPPED, "the guard is stopped")
        process.kill()
        process.wait()
        assert len(guard.end_what_was_left()) == 1
        Path(folder).mkdir()
        late.resume()
        wait_for(lambda: is_over(str(late.pid)), "the guard is over")
    assert Path(folder).exists()


def test_the_number_of_a_process_that_is_gone_may_be_anothers_by_now(home: Path) -> None:
    left = home / "left"
    left.mkdir()
    (home / "started").mkdir()
    record = home / "started" / f"{os.getpid()}-a.owned"
    record.write_text(guard._line("include.local.guard:remove", str(left), f"the folder {left}"))
    [said] = guard.end_what_was_left()
    assert said.endswith(f": the folder {left}")
    assert not left.exists()


def test_of_two_commands_that_end_what_is_left_only_one_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was ended may have been begun again by then."""
    (home / "started").mkdir()
    record = home / "started" / "1-a.owned"
    record.write_text(guard._line("include.local.guard:remove", "left", "the folder left"))
    ended: list[str] = []

    def slow(path: str) -> bool:
        ended.append(path)
        opened = str(record.with_suffix(".ending"))
        wait_for(lambda: sum(file.path == opened for file in psutil.Process().open_files()) == 2, "the other one waits")
        return True

    with monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setattr(guard, "remove", slow)
        first = pool.submit(guard.end_what_was_left)
        wait_for(lambda: ended, "it is being ended")
        second = pool.submit(guard.end_what_was_left)
        assert (len(first.result()), second.result(), ended) == (1, [], ["left"])


def test_a_stack_that_another_command_uses_by_now_is_that_ones(home: Path) -> None:
    with Stack(home)._lock():
        assert end_left(str(home)) is False


def test_a_cluster_that_is_just_being_made_is_waited_for(home: Path, tmp_path: Path) -> None:
    """Whoever removes its folder meanwhile leaves half of it."""
    initdb = tmp_path / "initdb"
    initdb.symlink_to(shutil.which("sh"))
    with subprocess.Popen([initdb, "-c", "sleep 0.3; :", str(home / "postgres")]) as making:
        assert not postgres.end_left(str(home / "postgres"))
        assert making.poll() == 0


@pytest.mark.slow
def test_what_can_not_be_ended_is_named_and_kept_for_the_next_command(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> bool:
        raise PermissionError("it is another's")

    also = "guard.ends_with_us('more', os.rmdir, os.environ['GREENERY_STATE_DIR'] + '/more'); print"
    (home / "more").mkdir()
    with started(A_FOLDER.replace("print", also)) as (process, folder):
        guard_of(home).kill()
        process.kill()
    with monkeypatch.context() as patched:
        patched.setattr(guard, "remove", refuse)
        [said] = guard.end_what_was_left()
        assert said.endswith(f": the folder {folder} (which can't be ended: it is another's)")
    (home / "more").mkdir()
    [said] = guard.end_what_was_left()
    assert said.endswith(f": the folder {folder}")
    assert (home / "more").exists(), "it was ended once"


@pytest.mark.slow
@pytest.mark.parametrize("nohup", [True, False])
def test_who_is_started_with_nohup_outlives_the_terminal(nohup: bool) -> None:
    code = f"{BEGIN.replace('home', '#')}import signal\nprint(signal.SIGHUP in guard.TOLD_TO_END)"
    started_by = ["nohup"] if nohup else ["env", "--default-signal=HUP"]  # the tests themselves may run under nohup
    done = subprocess.run([*started_by, sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.stdout == f"{not nohup}\n"


# Instead of a Python: it says who it is, and waits.
PLAYED = """#!/bin/sh
echo $$ > started
mv started process
exec sleep 600
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", [["torture"], ["preview"], ["psql", "ARGS=-c 'select 1'"]])
def test_who_ends_make_ends_its_command(command: list[str], tmp_path: Path) -> None:
    shutil.copy(PROJECT_ROOT / "Makefile", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PLAYED)
    python.chmod(0o755)
    with subprocess.Popen(["make", *command, "PYTHON3=true"], cwd=tmp_path) as make:
        wait_for((tmp_path / "process").exists, "make has started it")
        process = (tmp_path / "process").read_text()
        make.terminate()
    wait_for(lambda: is_over(process), "it ends with make")


def query_waits(data: Path) -> bool:
    with postgres.admin(postgres.LocalPostgres(data, postgres.running_port(data))) as cursor:
        cursor.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted")
        return cursor.fetchone() == (1,)


@pytest.mark.db
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_told_to_end_ends_with_its_children_whatever_keeps_it(home: Path, number: signal.Signals) -> None:
    with ExitStack() as stack:
        begun = {by: stack.enter_context(started(command(code))) for by, code in STUCK.items()}
        assert {said for _, said in begun.values()} == {"stuck"}
        wait_for(lambda: query_waits(home / "postgres"), "the query waits")
        below = [one for process, _ in begun.values() for one in psutil.Process(process.pid).children(recursive=True)]
        server = str(postgres.server_process(home / "postgres"))
        for process, _ in begun.values():
            process.send_signal(number)
        wait_for(lambda: not records(home), "the guards are done", seconds=60)
        killed = dict.fromkeys(STUCK, -signal.SIGKILL)
        assert {by: process.wait() for by, (process, _) in begun.items()} == killed
    wait_for(lambda: all(is_over(one) for one in (server, *(str(one.pid) for one in below))), "so are the children")


@pytest.mark.slow
def test_who_ends_as_it_is_told_is_not_killed(home: Path) -> None:
    with started(command("print('waits', flush=True)\nsignal.pause()")) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
        wait_for(lambda: not records(home), "its guard is done")


IMPORTS = """
import importlib.util
print("imports", flush=True)
while True:
    importlib.util.find_spec("what_is_not_there")
"""


@pytest.mark.slow
def test_two_signals_at_the_same_moment_end_a_command(home: Path) -> None:
    """In an import Python dropped the exception of the first, where the second was ignored by then."""
    with ExitStack() as stack:
        begun = [stack.enter_context(started(command(IMPORTS))) for _ in range(8)]
        for process, _ in begun:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
        assert {process.wait() for process, _ in begun} == {-signal.SIGINT}
        wait_for(lambda: not records(home), "their guards are done")


IN_ORDER, DONE = guard._IN_ORDER, guard._DONE
INT, CHLD = bytes([signal.SIGINT]), bytes([signal.SIGCHLD])


@pytest.mark.parametrize(
    ("said", "until"),
    [
        ([], None),
        ([CHLD], None),
        ([INT], 5),
        ([INT, INT], 5),
        ([INT, IN_ORDER], 181),
        ([INT, IN_ORDER, INT], 181),
        ([INT, IN_ORDER, DONE], 7),
        ([INT, IN_ORDER, IN_ORDER, DONE], 183),
        ([IN_ORDER, INT], 181),
        ([IN_ORDER, DONE], None),
    ],
)
def test_what_ends_in_order_is_given_time(said: list[bytes], until: float | None) -> None:
    patience = guard._Patience()
    for at, one in enumerate(said):
        patience.hear(one, float(at))
    assert patience.until == until


@pytest.mark.slow
def test_what_tests_start_bears_their_mark_and_ends_with_them(home: Path) -> None:
    code = f"""{BEGIN}
from tests import marked
marked.begin()
print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid, flush=True)
time.sleep(600)
"""
    with started(code) as (process, left):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not records(home), "its record is gone")
    wait_for(lambda: is_over(left), "it is over")
