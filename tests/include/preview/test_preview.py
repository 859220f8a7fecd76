"""A preview of a small shop from its first step to its report: what a change that makes no other rows may break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from include.dbt_project import release
from include.local.progress import silent
from include.preview import kept
from include.preview.preview import make
from include.preview.report import Became, Kind, Report, Verdict
from include.warehouse import roles, sandbox
from include.warehouse.sandbox import Sandbox
from tests.include.preview import shop
from tests.include.preview.shop import Previewed

pytestmark = pytest.mark.db

MARTS = "models/marts/_marts.yml"
BUYERS = "models/marts/buyers.sql"
PROMOTIONS = "models/marts/promotions.sql"


@pytest.fixture
def preview(previewed: Previewed) -> Callable[[str, str], Report]:
    """Makes a preview of `main` with one file as it is given."""

    def made(file: str, text: str) -> Report:
        (previewed.folder / BUYERS).write_text(shop.FILES[BUYERS])
        path: Path = previewed.folder / file
        written = file in shop.FILES
        path.write_text(text)
        try:
            report = make(previewed.connection, "main", "ana", silent())
        finally:
            if not written:
                path.unlink()
        return report

    return made


def test_a_new_test_of_a_model_that_is_as_before_is_run(preview: Callable[[str, str], Report]) -> None:
    report = preview("tests/nothing_is_promoted.sql", "select 1 as one from {{ ref('promotions') }}")
    assert report.verdict is Verdict.RED
    assert [(one.name, one.became, one.is_new) for one in report.tests] == [
        ("test nothing_is_promoted", Became.FAILS, True)
    ]
    assert report.versus.published_at is not None


def test_a_test_that_looks_for_something_else_is_run(preview: Callable[[str, str], Report]) -> None:
    report = preview("tests/more_buyers_than_promotions.sql", "select 1 as one from {{ ref('promotions') }}")
    assert [(one.name, one.became, one.is_new) for one in report.tests] == [
        ("test more_buyers_than_promotions", Became.FAILS, False)
    ]


def test_a_unit_test_that_expects_something_else_is_run(preview: Callable[[str, str], Report]) -> None:
    report = preview(MARTS, shop.FILES[MARTS].replace("paid: 3}", "paid: 4}"))
    assert report.verdict is Verdict.RED
    assert [(one.name, one.became) for one in report.tests] == [("unit test what_a_buyer_paid_adds_up", Became.FAILS)]


def test_a_snapshot_that_changes_alone_is_taken(preview: Callable[[str, str], Report]) -> None:
    snapshots = "snapshots/_snapshots.yml"
    report = preview(snapshots, shop.FILES[snapshots].replace("unique_key: order_id", "unique_key: nobody"))
    assert report.verdict is Verdict.RED
    assert [one.name for one in report.failed] == ["orders_kept"]


def test_a_test_of_a_model_that_is_gone_is_gone_and_comes_back_with_the_model(
    previewed: Previewed, preview: Callable[[str, str], Report]
) -> None:
    (previewed.folder / PROMOTIONS).unlink()
    assert preview(BUYERS, shop.FILES[BUYERS]).plan.tests_gone == ("more_buyers_than_promotions",)
    assert preview(PROMOTIONS, shop.FILES[PROMOTIONS]).plan.tests_gone == ()


def test_a_mart_that_dbt_puts_into_what_reads_it_is_gone_and_its_tests_run(
    preview: Callable[[str, str], Report],
) -> None:
    report = preview(BUYERS, "{{ config(materialized='ephemeral') }}\n" + shop.FILES[BUYERS])
    assert report.verdict is Verdict.RED
    assert [one.name for one in report.plan.models if one.kind is Kind.GONE] == ["buyers"]
    assert (report.failed, report.tests) == ((), ())


def test_what_a_preview_that_was_killed_has_left_is_in_nobodys_way(
    previewed: Previewed, preview: Callable[[str, str], Report]
) -> None:
    left = Sandbox("preview_ana").snapshots
    previewed.run(f"set role {roles.DEVELOPER}; create table {left}.orders (a int); reset role")
    orders = "models/marts/orders.sql"
    report = preview(orders, shop.FILES[orders].replace("order_total as paid", "2 * order_total as paid"))
    assert report.failed == ()
    assert sandbox.all_of(previewed.connection) == []


def test_a_report_is_kept_of_the_state_that_was_parsed_whatever_is_edited_meanwhile(previewed: Previewed) -> None:
    parsed = release.releases().stamp_of(previewed.folder)

    class Editing:
        @contextmanager
        def step(self, what: str) -> Iterator[None]:
            yield
            if what.startswith("Comparing"):
                (previewed.folder / BUYERS).write_text("select 1 as edited")

        def at(self, how_far: str) -> None:
            pass

    report = make(previewed.connection, "main", "ana", Editing())
    assert kept.of(parsed) == report
    assert kept.of(release.releases().stamp_of(previewed.folder)) is None


def test_a_model_that_reads_nothing_any_more_has_a_preview(preview: Callable[[str, str], Report]) -> None:
    report = preview(PROMOTIONS, f"{shop.FILES[PROMOTIONS]} where false")
    assert [(one.name, one.gone) for one in report.rows] == [("promotions", 1)]
