"""Whole previews on a shop of some days: what a reviewer and an engineer read of six kinds of change, as golden files.

Write them again with `GOLDEN=write`, and read what changed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include import settings
from include.dbt_project import manifest
from include.local.progress import silent
from include.preview import render
from include.preview.preview import make
from include.preview.report import Cost, Kind, Report, Verdict
from include.publish.publish import publish_run
from include.results import node_results, nodes
from include.results.summary import gather
from include.slack import outbox
from include.slack.render import render as render_message
from include.warehouse import connect, roles, sandbox
from include.warehouse.sandbox import SandboxError
from tests.dbt.conftest import PROJECT, KeptShop
from tests.dbt.days import Days, Project
from tests.forks import Forks, fork_dbt
from tests.repository import begin, git

pytestmark = pytest.mark.db

# Enough for orders to be delivered, some of them late.
DAYS = 9
GOLDEN = Path(__file__).parent / "previews"
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
# What the message says of times.
_MOMENT = re.compile(r"\b\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d\b")
_TOOK = re.compile(r"\bTook [\w ]+\.")


class Published(Days):
    """A shop whose marts are published with all that a run leaves in `ops`."""

    def publish(self) -> None:
        """Publish as the daily run does."""
        facts = manifest.read(self.project.work / "target" / "manifest.json")
        results = nodes.from_dbt(self.project.results("test", "--exclude-resource-type", "unit_test"))
        with connect() as connection:
            node_results.record(connection, f"run {self.runs}", "tests", 1, results)
        assert publish_run(f"run {self.runs}", facts)
        with connect() as connection:
            told = gather(connection, f"run {self.runs}", "", run_failed=False, facts=facts)
            outbox.keep(connection, f"run {self.runs}", "engineers", render_message(told), waiting=False)

    def build(self, *select: str) -> None:
        """Build all, and leave each result in `ops`."""
        results = nodes.from_dbt(self.project.untested.results("build", "--select", *(select or self.models)))
        assert {one.status for one in results} <= {"success", "no-op"}, results
        with connect() as connection:
            node_results.record(connection, f"run {self.runs}", "models", 1, results)
            node_results.keep_compiled(connection, f"run {self.runs}", results)


class Repository:
    """The project in a git repository, in a folder that can be edited."""

    def __init__(self, folder: Path) -> None:
        self.dbt = folder / "dbt"
        shutil.copytree(PROJECT, self.dbt, ignore=shutil.ignore_patterns("target", "logs"))
        begin(self.dbt)

    def edit(self, file: str, this: str, to: str, times: int = 1) -> None:
        """Replace a text that a file has so many times."""
        path = self.dbt / "models" / file
        text = path.read_text()
        assert text.count(this) >= times, (file, this)
        path.write_text(text.replace(this, to, times))

    def restore(self) -> None:
        """As it was."""
        git(self.dbt, "checkout", "--quiet", ".")
        git(self.dbt, "clean", "--quiet", "--force", "-d")


@pytest.fixture(scope="module")
def repository(
    shop: KeptShop, projects: Project, dbts: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Repository]:
    """The project as it is published, and the environment of who develops it; dbt parses in a fork."""
    days = Published(shop, projects, seed=1)
    for _ in range(DAYS - 1):
        days.load_a_day()
    days.begin()
    days.build()
    days.publish()
    with connect() as connection:
        roles.ensure(connection, login=True)
    repository = Repository(tmp_path_factory.mktemp("repository"))
    with pytest.MonkeyPatch.context() as environment:
        fork_dbt(dbts, environment)
        environment.setenv("GREENERY_DBT_DIR", str(repository.dbt))
        environment.setenv("GREENERY_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        environment.setenv("WAREHOUSE_DEVELOPER_USER", roles.DEVELOPER)
        yield repository


@pytest.fixture
def preview(repository: Repository) -> Iterator[Callable[[], Report]]:
    """Makes a preview of the project as it is edited by then."""

    def made() -> Report:
        with connect("a test", settings.warehouse_developer()) as connection:
            return make(connection, "main", "a test", silent())

    yield made
    repository.restore()


def steady(report: Report) -> Report:
    """A report without what depends on the clock and on the machine."""

    def cost(of: Cost) -> Cost:
        return replace(of, seconds=of.seconds and 2.0, bytes=of.bytes and 200_000)

    return replace(
        report,
        versus=replace(report.versus, commit="abc1234", published_at=report.versus.published_at and NOON),
        made_at=NOON,
        plan=replace(report.plan, models=tuple(replace(one, cost=cost(one.cost)) for one in report.plan.models)),
        slow=tuple(replace(one, seconds=1.0, seconds_at_ten=4.0) for one in report.slow),
        message=_TOOK.sub("Took a minute.", _MOMENT.sub("DATE", report.message)),
        seconds=20.0,
    )


def golden(name: str, report: Report) -> None:
    """That a report reads as it did, in a terminal and on a pull request."""
    report = steady(report)
    for file, text in ((f"{name}.txt", render.text(report)), (f"{name}.md", render.markdown(report))):
        if os.environ.get("GOLDEN") == "write":
            GOLDEN.mkdir(exist_ok=True)
            (GOLDEN / file).write_text(text)
        assert text == (GOLDEN / file).read_text()


def test_a_comment_touches_nothing(repository: Repository, preview: Callable[[], Report]) -> None:
    repository.edit("marts/core/fact_orders.sql", "with\n", "-- The money of each order.\nwith\n")
    report = preview()
    assert report.verdict is Verdict.GREEN
    assert {one.name: one.kind for one in report.plan.models}["fact_orders"] is Kind.COMMENTS
    golden("a_comment", report)


def rename_a_column(repository: Repository) -> None:
    repository.edit("marts/core/fact_orders.sql", "as shipping_country", "as country")
    repository.edit("marts/core/_core__models.yml", "- name: shipping_country", "- name: country")


def test_a_renamed_column_breaks_who_reads_it(repository: Repository, preview: Callable[[], Report]) -> None:
    rename_a_column(repository)
    report = preview()
    assert report.verdict is Verdict.RED
    golden("a_renamed_column", report)


def test_a_join_that_multiplies_orders_doubles_revenue(repository: Repository, preview: Callable[[], Report]) -> None:
    repository.edit(
        "marts/core/fact_orders.sql",
        "        and checkouts.checkout_number = 1",
        "    cross join (values (1), (2)) as twice (number)",
    )
    report = preview()
    assert report.verdict is Verdict.RED
    golden("a_join_that_multiplies", report)


def test_a_filter_that_drops_late_orders(repository: Repository, preview: Callable[[], Report]) -> None:
    repository.edit(
        "marts/core/int_orders.sql",
        "on orders.order_id = item_totals.order_id\n",
        "on orders.order_id = item_totals.order_id\n"
        "    where orders.delivered_at is null or orders.delivered_at <= orders.estimated_delivery_at\n",
    )
    report = preview()
    assert report.verdict is Verdict.RED
    golden("a_filter_that_drops_late_orders", report)


def test_a_new_mart_changes_nothing_else(repository: Repository, preview: Callable[[], Report]) -> None:
    marts = repository.dbt / "models" / "marts" / "product"
    (marts / "late_orders_daily.sql").write_text(
        "with\n\norders as (\n\n    select * from {{ ref('fact_orders') }}\n\n)\n\n"
        "select\n    cast(delivered_at as date) as day,\n    count(*) as late_orders\n"
        "from orders\nwhere is_late\ngroup by cast(delivered_at as date)\n"
    )
    (marts / "_late.yml").write_text(
        "models:\n  - name: late_orders_daily\n    description: One row per day on which an order came late.\n"
        "    columns:\n      - name: day\n        data_type: date\n        data_tests: [not_null, unique]\n"
        "      - name: late_orders\n        data_type: bigint\n"
    )
    report = preview()
    assert report.verdict is Verdict.GREEN
    golden("a_new_mart", report)


def test_a_preview_leaves_the_sandbox_of_another_one_alone(
    repository: Repository, preview: Callable[[], Report], shop: KeptShop
) -> None:
    rename_a_column(repository)  # what was parsed before is not parsed again
    with connect("another", settings.warehouse_developer()) as other:
        theirs = sandbox.create(other, sandbox.name_of(sandbox.PREVIEW, "a test"), "another preview")
        with pytest.raises(SandboxError, match="in use"):
            preview()
        left = shop.query("select nspname from pg_namespace where nspname like 'preview%%'")
        assert {schema for (schema,) in left} == set(theirs.schemas)
        sandbox.drop(other, theirs)
