"""dbt in this process, its project parsed once and without a database.

Tests that build get one warehouse, whose time zone is not UTC: dbt must not care.
"""

from __future__ import annotations

import fcntl
import gc
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from dbt.artifacts.schemas.results import NodeResult
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt_common.events.base_types import EventLevel, EventMsg
from psycopg2.extensions import connection as Connection

from include import raw
from include.dbt_project import release
from include.fast_cosmos.invocation import without_debugging
from include.local import postgres
from include.settings import PROJECT_ROOT, Warehouse
from tests import in_memory
from tests.conftest import copy_database

if TYPE_CHECKING:
    from tests.dbt.days import Project

PROJECT = PROJECT_ROOT / "dbt"
WAREHOUSE = "dbt_tests"
SCHEMAS = ("raw", "staging", "snapshots", "analytics", "analytics_next")


@dataclass
class Dbt:
    """A parsed dbt project. Calling it runs a command; `warnings` are those of the parse."""

    project: Path
    work: Path
    manifest: Manifest | None = None
    warnings: tuple[str, ...] = ()
    named: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict, repr=False)

    def parse(self) -> Dbt:
        """Parse the project, from nothing unless it was parsed before in the same `work` folder."""
        warnings: list[str] = []

        def listen(event: EventMsg) -> None:
            if event.info.level in (EventLevel.WARN, EventLevel.ERROR):
                warnings.append(event.info.msg)

        with pytest.MonkeyPatch.context() as environment:
            # With other values of the profile, dbt would throw a former parse away.
            for name in ("WAREHOUSE_HOST", "WAREHOUSE_PORT", "WAREHOUSE_USER", "WAREHOUSE_PASSWORD"):
                environment.delenv(name, raising=False)
            done = self._invoke(dbtRunner(callbacks=[listen]), "parse", "--show-all-deprecations")
        assert done.success, done.exception
        self.manifest, self.warnings = done.result, tuple(warnings)
        self.named.clear()
        return self

    def __call__(self, *command: str) -> dict[str, str]:
        """Run a dbt command; returns the status of each node by its name."""
        return {result.node.name: str(result.status) for result in self.results(*command)}

    def results(self, *command: str) -> list[NodeResult]:
        """The same, with all that dbt says of each node."""
        done = self.invoke(*command)
        assert done.exception is None, done.exception
        return list(done.result.results)

    def invoke(self, *command: str) -> dbtRunnerResult:
        """Run a dbt command that needs no parse."""
        # What dbt would write beside it is in what it returns.
        quiet = ("--quiet", "--no-write-json", "--log-level", "none", "--log-level-file", "none")
        return self._invoke(dbtRunner(manifest=self.manifest), *command, *quiet)

    def names(self, *selection: str) -> set[str]:
        """The names of the nodes that a selection selects; asked once."""
        if selection not in self.named:
            done = self.invoke("ls", "--output", "name", *selection)
            assert done.success, done.exception
            self.named[selection] = frozenset(done.result)
        return {*self.named[selection]}

    def _invoke(self, runner: dbtRunner, *command: str) -> dbtRunnerResult:
        """From the bottom of a stack, as tasks do."""
        with without_debugging(), ThreadPoolExecutor(1) as thread:
            return thread.submit(runner.invoke, [*command, *self._flags()]).result()

    def _flags(self) -> list[str]:
        return [
            *("--project-dir", str(self.project), "--profiles-dir", str(self.project)),
            *("--target-path", str(self.work / "target"), "--log-path", str(self.work / "logs")),
        ]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Dbt]:
    """The project as a release has it, parsed: enough to ask what is in it.

    Of processes that test side by side one parses it, and the others load a copy of what that one made.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "parsed"
    with in_memory.folder("greenery-dbt-") as home, pytest.MonkeyPatch.context() as environment:
        environment.setenv("WAREHOUSE_DB", WAREHOUSE)
        with shared.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if first := not shared.exists():
                shutil.copytree(PROJECT, home / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
                release.write_macros_hash(home / "dbt")
            else:
                shutil.copytree(shared, home, dirs_exist_ok=True)
            parsed = Dbt(home / "dbt", home).parse()
            if first:
                (home / "warnings.json").write_text(json.dumps(parsed.warnings))
                shutil.copytree(home, shared)
        # Loading says nothing of the files that were parsed before.
        parsed.warnings = tuple(json.loads((home / "warnings.json").read_text()))
        gc.freeze()  # dbt and the manifest are here to stay: no collection has to look through them any more
        yield parsed


@pytest.fixture(scope="session")
def dbt(shop: Shop, project: Dbt) -> Dbt:
    """The same project, with the warehouse to build it in."""
    return project


@pytest.fixture(scope="session")
def manifest(project: Dbt) -> Manifest:
    """The project's manifest."""
    assert project.manifest
    return project.manifest


class Shop:
    """The warehouse of these tests: queries, and the raw tables as a test wants them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def query(self, statement: str, *parameters: object) -> list[tuple]:
        """The rows of a query, none for a statement that has no result."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str) -> object:
        """The one value of a query."""
        [[value]] = self.query(statement)
        return value

    def reset(self) -> None:
        """Empty raw tables and nothing else."""
        for schema in SCHEMAS:
            self.query(f"drop schema if exists {schema} cascade")
        with self.connection.cursor() as cursor:
            raw.create(cursor)

    def insert(self, table: str, *rows: dict[str, object], loaded_at: str = "2021-02-12 06:00:00+00") -> None:
        """Add rows to a raw table."""
        for row in rows:
            row = row | {"_loaded_at": loaded_at}
            names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
            self.query(f"insert into raw.{table} ({names}) values ({marks})", *row.values())

    def copy(self, folder: Path) -> None:
        """Fill the raw tables from a folder of CSVs."""
        with self.connection.cursor() as cursor:
            for name in raw.TABLES:
                with (folder / f"{name}.csv").open() as file:  # newlines become "\n": some files have CRLF
                    columns = file.readline().strip()
                    cursor.execute(f"alter table raw.{name} alter _loaded_at set default now()")
                    cursor.copy_expert(f"copy raw.{name} ({columns}) from stdin csv", file)
                    cursor.execute(f"alter table raw.{name} alter _loaded_at drop default")
        self.note_loads()

    def note_loads(self) -> None:
        """Note a load of every table, as a loader does."""
        for name in raw.TABLES:
            self.query(f"insert into raw.loads select '{name}', now(), count(*), 'a test' from raw.{name}")

    def rows(self, relation: str) -> list[tuple]:
        """All rows of a relation, in an order that depends on nothing but them."""
        return sorted(self.query(f"select * from {relation}"), key=repr)

    def small(self) -> None:
        """A shop of two users and three products, sound in every respect."""
        self.reset()
        self.insert(
            "addresses", {"address_id": "home", "zipcode": "01234"}, {"address_id": "office", "zipcode": "99999"}
        )
        at = {"created_at": "2021-01-01 00:00:00+00", "updated_at": "2021-01-01 00:00:00+00"}
        self.insert(
            "users", {"user_id": "ann", "address_id": "home", **at}, {"user_id": "bob", "address_id": "home", **at}
        )
        self.insert("promos", {"promo_id": "spring", "discount": 3, "status": "inactive"})
        self.insert(
            "products",
            {"product_id": "fern", "name": "Fern", "price": 10, "inventory": 1},
            {"product_id": "moss", "name": "Moss", "price": 4.5, "inventory": 100},
            {"product_id": "ivy", "name": "Ivy", "price": 7, "inventory": 0},
        )
        self.insert(
            "orders",
            self.order("o1", promo_id="spring", order_cost=24.5, order_total=26.5),
            self.order("o2", order_cost=10, order_total=15),
            self.order("o3", user_id="bob", order_cost=4.5, order_total=9.5),
        )
        self.insert(
            "order_items",
            {"order_id": "o1", "product_id": "fern", "quantity": 2},
            {"order_id": "o1", "product_id": "moss", "quantity": 1},
            {"order_id": "o2", "product_id": "fern", "quantity": 1},
            {"order_id": "o3", "product_id": "moss", "quantity": 1},
        )
        event = {"session_id": "s1", "user_id": "ann", "created_at": "2021-02-10 10:00:00+00"}
        self.insert(
            "events",
            event | {"event_id": "e1", "event_type": "page_view", "product_id": "fern"},
            event | {"event_id": "e2", "event_type": "add_to_cart", "product_id": "fern"},
            event | {"event_id": "e3", "event_type": "checkout", "order_id": "o1"},
            event | {"event_id": "e4", "event_type": "checkout", "order_id": "o2"},
            event | {"event_id": "e5", "event_type": "package_shipped", "order_id": "o1"},
            event
            | {"event_id": "e6", "event_type": "page_view", "product_id": "ivy", "session_id": "s2", "user_id": "bob"},
        )
        self.note_loads()

    @staticmethod
    def order(order_id: str, **columns: object) -> dict[str, object]:
        """An order that is being prepared, with 5 dollars of shipping."""
        sound = {
            "user_id": "ann",
            "address_id": "office",
            "created_at": "2021-02-10 10:00:00+00",
            "status": "preparing",
        }
        return {"order_id": order_id, "shipping_cost": 5, **sound, **columns}


class KeptShop(Shop):
    """The same in a database that can be kept as it is, and gone back to."""

    name = WAREHOUSE

    def __init__(self, server: postgres.LocalPostgres) -> None:
        self.server = server
        postgres.ensure_database(server, WAREHOUSE)
        self.connect()

    def keep(self, name: str) -> None:
        """Keep a copy of the warehouse as it is now, in place of an earlier one of that name."""
        with postgres.admin(self.server) as cursor:
            cursor.execute(f"drop database if exists {name} with (force)")
        self._copy(WAREHOUSE, name)

    def go_back(self, name: str) -> bool:
        """Make the warehouse what was kept, but for settings of the database; False where nothing was."""
        with postgres.admin(self.server) as cursor:
            cursor.execute("select from pg_database where datname = %s", (name,))
            if not cursor.rowcount:
                return False
            cursor.execute(f"drop database {WAREHOUSE} with (force)")
        self._copy(name, WAREHOUSE)
        return True

    def come_to(self, name: str, play: Callable[[], None]) -> None:
        """Make the warehouse what `play` makes of it. That is played once; from then on it is a copy."""
        if not self.go_back(name):
            play()
            self.keep(name)

    def _copy(self, this: str, to: str) -> None:
        """The copy has the oids of the original, which `ops` knows the buffers by."""
        self.connection.close()
        copy_database(self.server, this, to)
        self.connect()

    @property
    def where(self) -> Warehouse:
        """How to connect to it."""
        return self.server.database(self.name)

    def connect(self) -> None:
        """Connect anew, where the server was restarted."""
        self.connection = psycopg2.connect(**self.where.libpq())
        self.connection.autocommit = True
        self.query(f"alter database {self.name} set timezone to 'America/New_York'")
        self.query("set timezone to 'UTC'")


@pytest.fixture(scope="session")
def shop(server: postgres.LocalPostgres) -> Iterator[KeptShop]:
    """The warehouse of these tests, in whatever state the last one left it: call `reset` or `small` first.

    The environment names it meanwhile.
    """
    kept = KeptShop(server)
    with pytest.MonkeyPatch.context() as environment:
        for key, value in server.database(WAREHOUSE).environment().items():
            environment.setenv(key, value)
        yield kept
    kept.connection.close()


@pytest.fixture(scope="session")
def told_in_full(dbt: Dbt) -> Project:
    """The project, which tells what a full build of it would hold; that takes seconds, once."""
    from tests.dbt.days import Project  # which imports this module

    return Project(dbt.project, dbt.work, dbt.manifest)


@pytest.fixture(scope="module")
def projects(told_in_full: Project, shop: Shop) -> Iterator[Project]:
    """The project for tests of days; afterwards nothing is left of what they do to the warehouse."""
    from tests.dbt.days import SCHEMAS  # which imports this module

    yield told_in_full
    for schema in SCHEMAS:
        shop.query(f"drop schema if exists {schema} cascade")
    # Whoever made the roles has set a `search_path` for who tests, too: it would go before that of the database.
    for (role,) in shop.query(
        "select setrole::regrole::text from pg_db_role_setting"
        " join pg_database on pg_database.oid = setdatabase and datname = current_database() where setrole <> 0"
    ):
        shop.query(f"alter role {role} in database {WAREHOUSE} reset all")


def build_all(dbt: Dbt) -> None:
    """Build every model, and see every test pass."""
    statuses = dbt("build", "--exclude-resource-type", "unit_test")
    assert {name: status for name, status in statuses.items() if status not in ("success", "pass", "no-op")} == {}


@pytest.fixture(scope="module")
def greenery(dbt: Dbt, shop: KeptShop, real_data: Path) -> Shop:
    """Greenery's real shop, built."""

    def build() -> None:
        shop.reset()
        shop.copy(real_data)
        build_all(dbt)

    shop.come_to("greenery", build)
    return shop
