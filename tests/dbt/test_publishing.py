"""Whatever became of the runs before it, what is published is a full build of raw as the run found it, or what it was.

Good days, faults, runs that were killed half-way, cleared, repeated, overtaken by a load, published twice or rolled
back follow each other at random: straight through dbt, `ops` and the gate, without a scheduler in between.
The first sequence is of a few models; `SEEDS=20` in the environment plays nineteen more, of all that could stay behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import pytest

from include.daily import buffers
from include.dbt_project import manifest
from include.dbt_project.manifest import Manifest
from include.publish import by_hand, gate
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.results import node_results, nodes, publications
from include.warehouse import connect
from tests.dbt.conftest import KeptShop
from tests.dbt.days import A_FEW, EVERYTHING, Days, Project
from tests.dbt.edits import deliver, replica
from tests.dbt.faults import (
    a_row_is_doubled,
    a_total_does_not_add_up,
    a_value_is_missing,
    a_word_is_unknown,
    an_amount_is_negative,
)

pytestmark = pytest.mark.db

FAULTS = (a_row_is_doubled, a_total_does_not_add_up, a_value_is_missing, a_word_is_unknown, an_amount_is_negative)
FIRST_HALF = ("+int_orders", "+int_events")


class Runs(Days):
    """Runs as the DAG makes them: each step leaves its results in `ops`, and the gate reads them there."""

    def __init__(self, shop: KeptShop, project: Project, seed: int) -> None:
        super().__init__(shop, project, seed)
        self.whole_project = seed > 1
        self.models = EVERYTHING if self.whole_project else A_FEW

    @property
    def run_id(self) -> str:
        """The run that began last."""
        return f"run {self.runs}"

    @cached_property
    def facts(self) -> Manifest:
        """The manifest of a project that has only the models that are built here."""
        whole = manifest.read(self.project.work / "target" / "manifest.json")
        names = self.project.names("--select", *self.models)
        kept = {key: node for key, node in whole.nodes.items() if node["name"] in names}
        known = kept.keys() | whole.sources.keys()
        tests = {
            key: node
            for key, node in kept.items()
            if node["resource_type"] != "test" or set(node["depends_on"]["nodes"]) <= known
        }
        return replace(whole, nodes=tests)

    def step(self, *command: str) -> bool:
        """A dbt command of the run; True if nothing in it failed."""
        results = nodes.from_dbt(self.project.results(*command, "--exclude-resource-type", "unit_test"))
        with connect() as connection:
            node_results.record(connection, self.run_id, command[-1], 1, results)
        return not {result.status for result in results} & {"fail", "error", "skipped"}

    def check_sources(self) -> bool:
        return self.step("test", "--selector", "sources")

    def build_and_test(self, *select: str) -> bool:
        return self.step("build", "--indirect-selection", "cautious", "--select", *(select or self.models))

    def whole(self) -> bool:
        """A run from its beginning up to publish; stops where the DAG would."""
        self.begin()
        return self.check_sources() and self.build_and_test()

    def content(self, schema: str = "analytics") -> list[tuple]:
        """What people query, or what another schema holds, as a sum over each mart."""
        tables = self.shop.query(f"select tablename from pg_tables where schemaname = '{schema}' order by 1")
        return [
            (name, *self.shop.query(f"select count(*), sum(hashtextextended(m::text, 0)) from {schema}.{name} as m"))
            for (name,) in tables
        ]

    def publishes(self) -> None:
        """The run is published, and is right."""
        assert publish_run(self.run_id, self.facts) is True
        assert self.differences({node["name"] for node in self.facts.nodes.values()}) == {}

    def is_refused(self, why: str) -> None:
        """The run is not published, and people query what they did."""
        before = self.content()
        with pytest.raises(NotPublishedError, match=why):
            publish_run(self.run_id, self.facts)
        assert self.content() == before


def a_good_day(runs: Runs) -> None:
    runs.load_a_day()
    assert runs.whole()
    runs.publishes()


def a_fault_that_is_mended_and_cleared(runs: Runs) -> None:
    sound = replica(runs.shop.connection)
    tables = replica(runs.shop.connection)
    runs.random.choice(FAULTS)(tables, runs.random)
    deliver(runs.shop.connection, tables)
    runs.begin()
    if not runs.check_sources() or not runs.build_and_test():
        runs.is_refused("no passing result|not as this run built them")
    deliver(runs.shop.connection, sound)
    with connect() as connection:  # check_sources and all that is downstream of it are cleared: the same run, anew
        buffers.begin(connection, runs.run_id)
    assert runs.check_sources()
    assert runs.build_and_test()
    runs.publishes()


def a_run_that_is_killed(runs: Runs) -> None:
    runs.load_a_day()
    runs.begin()
    runs.check_sources()
    runs.build_and_test(*FIRST_HALF)
    runs.is_refused("not as this run built them")


def a_run_that_is_killed_and_goes_on(runs: Runs) -> None:
    a_run_that_is_killed(runs)
    runs.build_and_test()
    runs.publishes()


def a_load_in_the_middle(runs: Runs) -> None:
    """By a loader that asks nobody; in the daily run the next task would refuse as well."""
    runs.begin()
    runs.check_sources()
    runs.build_and_test(*FIRST_HALF)
    runs.load_a_day()
    runs.build_and_test(*runs.models, "--exclude", *FIRST_HALF)
    # Where a test notices it first, what is downstream of it is not built.
    runs.is_refused("Raw was loaded at|not as this run built them")


def a_source_check_that_is_cleared_alone(runs: Runs) -> None:
    """After a load: what was built is of before it."""
    runs.load_a_day()
    assert runs.whole()
    runs.load_a_day()
    with connect() as connection:
        buffers.begin(connection, runs.run_id)
    runs.check_sources()
    runs.is_refused("not as this run built them")


def a_model_that_is_built_again_alone(runs: Runs) -> None:
    """Of the run that was published last; in the daily run its task would refuse."""
    before = runs.content()
    runs.build_and_test("int_orders")
    with pytest.raises(NotPublishedError, match=r"has begun to build since|not as this run built them"):
        publish_run(runs.run_id, runs.facts)
    assert runs.content() == before


def a_publish_that_is_repeated(runs: Runs) -> None:
    """It does nothing; where a model of the run was built again alone meanwhile, it is refused."""
    before = runs.content()
    with connect() as connection:
        live = publications.live(connection)
        builders = {builder for builder, _ in gate.built(connection).builds.values()}
    if live.run_id in builders:
        with pytest.raises(NotPublishedError, match=r"has begun to build since|not as this run built them"):
            publish_run(live.run_id, runs.facts)
    else:
        assert publish_run(live.run_id, runs.facts) is False
    assert runs.content() == before


def a_rollback(runs: Runs) -> None:
    """Back and forth; where a run has written since, it is refused."""
    before = runs.content()
    [(buffer,)] = runs.shop.query("select 'analytics_next'::regnamespace::oid")
    with connect() as connection:
        written = buffers.is_written_over(connection, buffer)
    if written:
        with pytest.raises(NotPublishedError, match="no way back"):
            by_hand.roll_back("ada", "to see")
        assert runs.content() == before
        return
    # Which may be the same rows, where a run published what was there already.
    former = runs.content("analytics_next")
    by_hand.roll_back("ada", "to see")
    assert runs.content() == former
    if runs.random.random() < 0.5:
        by_hand.roll_back("ada", "and back")
        assert runs.content() == before


MOVES: tuple[Callable[[Runs], None], ...] = (
    a_good_day,
    a_fault_that_is_mended_and_cleared,
    a_run_that_is_killed,
    a_run_that_is_killed_and_goes_on,
    a_load_in_the_middle,
    a_source_check_that_is_cleared_alone,
    a_model_that_is_built_again_alone,
    a_publish_that_is_repeated,
    a_rollback,
)


@pytest.fixture
def runs(request: pytest.FixtureRequest, shop: KeptShop, projects: Project) -> Runs:
    """A warehouse on its third day, with both buffers filled."""
    runs = Runs(shop, projects, seed=request.param)
    # That full builds pass their tests is seen after a run that was killed.
    runs.fill_both_buffers("everything" if runs.whole_project else "a_few")
    return runs


@pytest.mark.parametrize("runs", range(1, int(os.environ.get("SEEDS", "1")) + 1), indirect=True)
def test_any_sequence_of_runs_publishes_a_full_build_or_nothing(runs: Runs) -> None:
    """Each move at least once; of the whole project some of them again."""
    moves = [*MOVES, *runs.random.choices(MOVES, k=3 if runs.whole_project else 0)]
    runs.random.shuffle(moves)
    for move in moves:
        move(runs)
    a_good_day(runs)
