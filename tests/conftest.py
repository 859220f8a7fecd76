"""What all tests share: a real Postgres, and a fresh warehouse for each test that asks for one."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from include.local import guard, postgres
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import migrate, planner
from tests import deployment as deployments
from tests import in_memory, marked
from tests.dbt.lives import lived
from tests.deployment import deployment, failed_day, first_day, second_day  # noqa: F401 - fixtures
from tests.forks import OURS, Forks, loaded

# So many objects are made before Python looks for garbage: dbt makes millions, and every 700 is Python's own choice.
GARBAGE_AFTER = 50_000


def pytest_configure() -> None:
    """Before anything imports Airflow: its settings and its own database are this test process' own."""
    gc.disable()  # what is imported stays, and to look through it time and again took nearly half of a collection
    marked.begin()
    until_it_ends = ExitStack()
    os.environ["AIRFLOW_HOME"] = str(until_it_ends.enter_context(guard.folder("greenery-airflow-")))
    atexit.register(until_it_ends.close)
    # Told to end, the tests stop the servers that they started, as they do on Ctrl-C. That they would ignore where they
    # are started in the background, and so would what they start to press it on.
    for number in guard.TOLD_TO_END:
        signal.signal(number, signal.default_int_handler)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AIRFLOW__COSMOS__ENABLE_TELEMETRY"] = "False"
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
    # What `make test ARGS=…` was given is not for the `make` that a test calls.
    for of_make in ("ARGS", "MAKEFLAGS", "MAKELEVEL"):
        os.environ.pop(of_make, None)
    # Each of some thousand connections would first ask a server of this machine whether it encrypts.
    os.environ["PGSSLMODE"] = os.environ["PGGSSENCMODE"] = "disable"
    # A demo shop whose days do not depend on the day of the test: a Monday, with enough of them over.
    os.environ["GREENERY_DEMO_FIRST_DAY"] = "2026-03-02"


_ENDING = ExitStack()


def pytest_keyboard_interrupt() -> None:
    """What the tests end now, and what they say last, take longer than a guard waits for who has not heard it."""
    _ENDING.enter_context(guard.in_order())


def pytest_report_header() -> list[str]:
    """What tests of before had left that were killed, and their guards too."""
    return guard.end_what_was_left()


# In this order: at the end another project takes the place of Greenery's.
_WITH_AIRFLOW = (
    "tests/daily/test_daily_run.py",
    "tests/daily/test_faults.py",
    "tests/daily/test_killed_scheduler.py",
    "tests/daily/test_torture.py",
    "tests/daily/test_time.py",
    "tests/plugins/test_in_",
    "tests/daily/test_own_project.py",
    "tests/daily/",
    "tests/dbt/lives/test_on_a_scheduler.py",
)
_AFTER_TWO_RUNS = ("tests/dbt/test_backup.py", "tests/dbt/test_incremental.py", "tests/dbt/test_prices.py")
_AFTER_TWO_OF_A_FEW = ("tests/dbt/test_publishing.py", "tests/dbt/test_lost_rows.py", "tests/dbt/lives/")
_PREVIEWS = ("tests/include/preview/",)
_A_LIFE, _A_LIFE_ON_A_SCHEDULER = "test_torture_of_a_life[", "test_torture_with_a_life_on_a_scheduler["
# The longest ones. They begin first: side by side (`-n 2`), none is left over for one process alone at the end.
_LONG = (
    *_WITH_AIRFLOW,
    "tests/own_project/",
    "tests/include/local/test_stack.py",
    "tests/dbt/",
    *_PREVIEWS,
    "tests/include/daily/test_admission.py",
    "tests/include/dbt_project/",
    "tests/dags/",  # goes on from what tests/dbt parses, and would wait for it
    "tests/test_unpromised.py",
    "tests/test_operations.py",
    "tests/deploy/test_preview_workflow.py",
)


_LAST_DEPLOYED = pytest.StashKey[str | None]()
# What `make check` runs, and how a file says that none of its tests is among that.
WITHOUT_A_DATABASE = "not db and not stack and not chart and not slow"
_ALL_NEED_ONE = re.compile(r"^pytestmark = .*pytest\.mark\.(db|stack|slow)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make check` does not read files that it would run no test of: what they import takes seconds."""
    unread = (
        config.option.markexpr == WITHOUT_A_DATABASE
        and collection_path.match("test_*.py")
        and _ALL_NEED_ONE.search(collection_path.read_text())
    )
    return True if unread else None


@pytest.fixture(scope="session", autouse=True)
def _lean_dbt() -> Iterator[None]:
    """Every process that tests has a dbt that leaves out what it does for nobody."""
    from tests.lean_dbt import lean  # only in processes that test

    with lean():
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The order of the files; that of the tests in a file is kept. Last of all, when it is known which are left out."""
    items.sort(key=lambda item: next((at for at, long in enumerate(_LONG) if item.nodeid.startswith(long)), len(_LONG)))
    wanted = (item.nodeid for item in reversed(items) if "deployment" in getattr(item, "fixturenames", ()))
    config.stash[_LAST_DEPLOYED] = next(wanted, None)


def pytest_collection_finish() -> None:
    """What was imported is here to stay: nobody has to look for garbage in it, as pytest does five times at its end."""
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """After the last test that wants the deployment, end it."""
    if item.nodeid == item.config.stash[_LAST_DEPLOYED]:
        deployments.end(item.config)


class _OneAirflowAtATime(LoadScopeScheduling):
    """For tests side by side (`-n 2`): those of a file in one process, and files that share what takes long to make.

    All that start an Airflow are such, those that go on from the same two runs, and previews of the same small shop.
    Lives that seeds draw share little and take long, so each goes to whichever process is free.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        if name.startswith(_A_LIFE):
            return nodeid
        alike = (_WITH_AIRFLOW, _AFTER_TWO_RUNS, _AFTER_TWO_OF_A_FEW, _PREVIEWS)
        shared = (files for files in alike if file.startswith(files))
        return next(shared, (file,))[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Called by xdist where tests run side by side."""
    config.option.loadscopereorder = False  # by the number of tests in a file, which says little
    return _OneAirflowAtATime(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After a night of lives, and when it is stopped: what there was in those of this commit."""
    reports = (one for kind in terminalreporter.stats.values() for one in kind if isinstance(one, pytest.TestReport))
    if any(_A_LIFE in one.nodeid or _A_LIFE_ON_A_SCHEDULER in one.nodeid for one in reports):
        terminalreporter.section("lives")
        terminalreporter.write_line(lived.table(lived.noted(lived.commit())))


REAL_DATA = PROJECT_ROOT.parent / "shared" / "greenery"


# A test's server is thrown away: nothing of it has to outlive a crash, or to be followed by another.
FORGETFUL = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.LocalPostgres]:
    """A Postgres of this test process' own, forgotten afterwards."""
    with in_memory.folder("greenery-test-") as home, postgres.serving(home / "postgres", FORGETFUL) as running:
        yield running


def copy_database(server: postgres.LocalPostgres, this: str, to: str) -> None:
    """Copy a database that nobody is connected to; what was set with `alter database` stays behind."""
    with postgres.admin(server) as cursor:
        _copy(cursor, this, to)


def _copy(cursor: Cursor, this: str, to: str) -> None:
    cursor.execute(f'create database "{to}" template "{this}" strategy file_copy')


def copy_warehouse(server: postgres.LocalPostgres, this: str, to: str) -> None:
    """The same of a migrated warehouse, with what the migration set."""
    with postgres.admin(server) as cursor:
        _copy(cursor, this, to)
        for setting, value in planner.SETTINGS.items():
            cursor.execute(f'alter database "{to}" set {setting} = {value}')


@contextmanager
def named_by_the_environment(where: Warehouse, server: postgres.LocalPostgres) -> Iterator[Warehouse]:
    """Let `include.warehouse.connect()` open a database, which is dropped in the end."""
    with pytest.MonkeyPatch.context() as environment:
        for key, value in where.environment().items():
            environment.setenv(key, value)
        yield where
    with postgres.admin(server) as cursor:
        cursor.execute(f'drop database "{where.database}" with (force)')


@pytest.fixture
def empty_warehouse(server: postgres.LocalPostgres) -> Iterator[Warehouse]:
    """A database with nothing in it, before the migrations."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.ensure_database(server, name)
    with named_by_the_environment(server.database(name), server) as where:
        yield where


@pytest.fixture(scope="session")
def migrated(server: postgres.LocalPostgres) -> str:
    """The name of a migrated database, to be copied: that is done ten times as fast as the migrations."""
    postgres.ensure_database(server, "migrated")
    migrate.upgrade(server.database("migrated"))
    return "migrated"


@contextmanager
def a_warehouse(server: postgres.LocalPostgres, migrated: str) -> Iterator[Warehouse]:
    """A migrated warehouse for the time of the block; the environment names it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    copy_warehouse(server, migrated, name)
    with named_by_the_environment(server.database(name), server) as where:
        yield where


@pytest.fixture
def warehouse(server: postgres.LocalPostgres, migrated: str) -> Iterator[Warehouse]:
    """One of the test's own."""
    with a_warehouse(server, migrated) as where:
        yield where


@pytest.fixture
def db(warehouse: Warehouse) -> Iterator[Connection]:
    """An autocommit connection to the warehouse."""
    connection = psycopg2.connect(
        host=warehouse.host,
        port=warehouse.port,
        dbname=warehouse.database,
        user=warehouse.user,
        options="-c timezone=UTC",
    )
    connection.autocommit = True
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Processes of their own that import nothing anew."""
    with loaded(*OURS) as forks:
        yield forks


@pytest.fixture(scope="session")
def dbts() -> Iterator[Forks]:
    """Processes that have dbt loaded, and have parsed with it."""
    with loaded("tests.parsed_before") as forks:
        yield forks


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with Greenery's real CSVs."""
    if not (REAL_DATA / "orders.csv").exists():
        pytest.skip("Greenery's real data is not beside this checkout (../shared/greenery)")
    return REAL_DATA
