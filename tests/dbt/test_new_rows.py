"""Tests that look at what is new find whatever they would find in all of history: no fault falls between the two.

Days are played at random (`tests/dbt/edits.py`) and spoilt (`tests/dbt/faults.py`), loaded by the loaders' own code and
built by dbt on what an earlier run published with all tests passing. Then `dbt test` runs twice on the same state, once as
on an ordinary day, once over all of history. `SEEDS=100` in the environment plays a hundred sequences instead of two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from dbt.cli.main import dbtRunner

from include.publish import publish_run
from tests.dbt.conftest import Dbt, Shop
from tests.dbt.days import INCREMENTAL, NOTHING_TO_PROVE, SCHEMAS, Days, Project
from tests.dbt.edits import EDITS, Edit, deliver, replica
from tests.dbt.faults import FAULTS

pytestmark = pytest.mark.db

SEEDS = range(1, int(os.environ.get("SEEDS", "2")) + 1)
ALL = ("path:models", "path:snapshots")
MODELS = ("test_type:data,path:models", "test_type:data,path:tests")
THIS_BUFFER = "schema_oid = 'analytics_next'::regnamespace"

# By test, what it found: a row by its first column, which is a key or a figure's name; nulls by their number.
Found = dict[str, set[object]]


class Looks(Days):
    """Days on which every model is built, and looked at."""

    errors: set[str]

    def spoil(self, faults: tuple[Edit, ...], times: int) -> None:
        """A day on which something went wrong."""
        tables = replica(self.shop.connection)
        for fault in self.random.choices(faults, k=times):
            fault(tables, self.random)
        deliver(self.shop.connection, tables)

    def first_runs(self) -> None:
        """Fill both buffers with what passes all tests, then two days of ordinary runs."""
        for _ in range(2):
            assert self.run_soundly() is True
            self.load_a_day()
        assert self.run_soundly() is False

    def run_soundly(self) -> bool:
        """A run whose tests pass over all of history, so that it is published; True if it built everything anew."""
        rebuilt = self.begin()
        self.build(*ALL)
        assert self.look(scan=True) == {}
        self.publish()
        return rebuilt

    def publish(self) -> None:
        publish_run(f"run {self.runs}", NOTHING_TO_PROVE)

    def look(self, *select: str, scan: bool) -> Found:
        """Run tests, by default all; `errors` are those of severity error that fail."""
        self.shop.query(f"update ops.buffers set scan = {scan} where {THIS_BUFFER}")
        command = ["test", "--quiet", *(("--select", *select) if select else ()), "--exclude-resource-type", "unit_test"]
        done = dbtRunner(manifest=self.project.manifest).invoke([*command, *self.project._flags()])
        assert done.exception is None, done.exception
        assert {str(result.status) for result in done.result.results} <= {"pass", "fail", "warn"}
        self.errors = {result.node.name for result in done.result.results if str(result.status) == "fail"}
        found: Found = {}
        for result in done.result.results:
            if str(result.status) != "pass":
                firsts = [row[0] for row in self.shop.query(result.node.compiled_code)]
                found[result.node.name] = {first for first in firsts if first is not None}
                if None in firsts:
                    found[result.node.name].add(firsts.count(None))
        return found

    def compare(self, *select: str) -> set[str]:
        """Both looks at the same state; returns the errors, once it is sure that the first misses nothing."""
        assert self.shop.value(f"select rebuild from ops.buffers where {THIS_BUFFER}") is False
        new = self.look(*select, scan=False)
        everything = self.look(*select, scan=True)
        missed = {name: rows - new.get(name, set()) for name, rows in everything.items()}
        assert {name: rows for name, rows in missed.items() if rows} == {}
        return self.errors


@pytest.fixture(scope="module")
def projects(dbt: Dbt, shop: Shop) -> Iterator[Project]:
    """The project; afterwards nothing is left of what these tests do to the warehouse."""
    yield Project(dbt.project, dbt.work, dbt.manifest)
    for schema in SCHEMAS:
        shop.query(f"drop schema if exists {schema} cascade")


@pytest.fixture
def days(request: pytest.FixtureRequest, shop: Shop, projects: Project) -> Looks:
    """A warehouse on its first day."""
    return Looks(shop, projects, seed=getattr(request, "param", 1))


@pytest.mark.parametrize("days", SEEDS, indirect=True)
def test_no_fault_in_raw_falls_between_what_is_new_and_all_of_history(days: Looks):
    days.first_runs()
    days.load_a_day()
    for _ in range(3):
        sound = replica(days.shop.connection)
        days.spoil(FAULTS, times=6)
        assert days.begin() is False
        days.build(*ALL)
        errors = days.compare()
        print(errors)
        deliver(days.shop.connection, sound)
        assert days.run_soundly() is True
        days.load_a_day()
