"""Four weeks of a shop whose orders change, come late and are corrected: each message against a recount of the CSVs.

Each day's folder is loaded, built, published and told by the daily run's own steps, at six in the morning of the day
after: the warehouse's clock is put to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import pytest

from include.dbt_project import manifest
from include.dbt_project.manifest import Manifest
from include.publish.publish import publish_run
from include.raw import csv_loader
from include.receipts.move import Move
from include.results import figures, node_results, nodes, publications
from include.results.publications import Publication
from include.results.summary import gather
from include.slack import render
from include.warehouse import connect, migrate
from tests.dbt import weeks
from tests.dbt.conftest import WAREHOUSE, KeptShop
from tests.dbt.days import SCHEMAS, Days, Project
from tests.dbt.recount import SIDES, Recount, days

pytestmark = pytest.mark.db

MODELS = ("+daily_metrics", "path:snapshots")


class Clock:
    """The clock of the warehouse: what asks Postgres for the time gets what it is put to."""

    def __init__(self, shop: KeptShop) -> None:
        self.shop = shop

    def begin(self) -> None:
        """Who connects from now on looks for functions here first."""
        self.shop.query("create schema played")
        self.put_to(datetime.now(UTC))
        self.shop.query(f"alter database {WAREHOUSE} set search_path = played, pg_catalog, public")
        self.shop.query("set search_path = played, pg_catalog, public")

    def put_to(self, moment: datetime) -> None:
        """It goes on from there."""
        for name, kind in (("now", "stable"), ("clock_timestamp", "volatile")):
            self.shop.query(
                f"create or replace function played.{name}() returns timestamptz {kind} language sql"
                f" as $$ select pg_catalog.{name}() + interval '{moment - datetime.now(UTC)}' $$"
            )

    def end(self) -> None:
        """It is what it was."""
        self.shop.query("drop schema played cascade")
        self.shop.query(f"alter database {WAREHOUSE} reset search_path")
        self.shop.query("reset search_path")


@dataclass(frozen=True)
class Told:
    """What was told of a day: by which publication, from which folder, which moves, in which message."""

    day: date
    recount: Recount
    publication: Publication
    table: dict[tuple[str, date], tuple[Decimal | None, Decimal, Decimal | None]]
    moves: tuple[Move, ...]
    message: str


class Weeks(Days):
    """The weeks as they were told."""

    models = MODELS

    def __init__(self, shop: KeptShop, project: Project, folder: Path) -> None:
        self.shop, self.project, self.folder, self.clock = shop, project, folder, Clock(shop)
        self.runs, self.release, self.overlap = 0, "a release", timedelta(0)
        self.told: list[Told] = []
        for schema in SCHEMAS:
            shop.query(f"drop schema if exists {schema} cascade")
        self.clock.begin()
        migrate.upgrade()

    def play(self) -> None:
        """All of them."""
        for day, folder in weeks.folders(self.folder):
            self.clock.put_to(datetime.combine(day + timedelta(days=1), time(6), UTC))
            with connect() as connection:
                csv_loader.load_folder(connection, folder)
            self.begin()
            self.build()
            assert publish_run(self.run_id, self.facts)
            self.told.append(self._tell(day, folder))

    @property
    def run_id(self) -> str:
        """The run that began last."""
        return f"run {self.runs}"

    def build(self, *select: str) -> None:
        """As tasks do: each result is left in `ops`, where the gate reads it."""
        results = nodes.from_dbt(self.project.untested.results("build", "--select", *(select or self.models)))
        assert {one.status for one in results} <= {"success", "no-op"}, results
        with connect() as connection:
            node_results.record(connection, self.run_id, "a task", 1, results)
            node_results.keep_compiled(connection, self.run_id, results)

    @cached_property
    def facts(self) -> Manifest:
        """The manifest of a project that has only what is built here."""
        whole = manifest.read(self.project.work / "target" / "manifest.json")
        names = self.project.untested.names("--select", *self.models)
        return Manifest(
            {key: node for key, node in whole.nodes.items() if node["name"] in names},
            whole.sources,
            metrics=whole.metrics,
            semantic_models=whole.semantic_models,
        )

    def _tell(self, day: date, folder: Path) -> Told:
        """As the report does."""
        with connect() as connection:
            live = publications.live(connection)
            summary = gather(connection, self.run_id, "http://run", run_failed=False, facts=self.facts)
            figures.keep(connection, self.run_id, summary.figures.metrics)
        table = self.shop.query("select metric, day, value, numerator, denominator from analytics.daily_metrics")
        return Told(
            day,
            Recount(folder, weeks.price),
            live,
            {(metric, of): numbers for metric, of, *numbers in table},
            summary.moves,
            render.render(summary).body,
        )


@pytest.fixture(scope="module")
def played(shop: KeptShop, projects: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weeks]:
    """The weeks, played once."""
    played = Weeks(shop, projects, tmp_path_factory.mktemp("weeks"))
    try:
        played.play()
        yield played
    finally:
        for schema in SCHEMAS:
            shop.query(f"drop schema if exists {schema} cascade")
        played.clock.end()


def test_every_figure_of_every_day_is_what_the_csvs_say(played: Weeks):
    for one in played.told:
        counted = {
            (metric, day): one.recount.of(metric, day, day)
            for metric in SIDES
            for day in days(one.recount.first_day, one.recount.last_day)
        }
        expected = {key: [this.value, this.numerator, this.denominator] for key, this in counted.items()}
        found = {key: numbers for key, numbers in one.table.items() if key[0] in SIDES}
        assert {k: (found.get(k), v) for k, v in expected.items() if found.get(k) != v} == {}, one.day
        assert found.keys() == expected.keys()
