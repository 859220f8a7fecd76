"""The message of the next run: the last run's, with what the preview knows in its place; and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from psycopg2.extensions import connection as Connection

from include.preview import message
from include.preview import report as reports
from include.preview.report import Became, FigureDay, FigureMove, Kind, Report
from include.results import node_results, publications, runs
from include.results.nodes import NodeResult
from include.warehouse import roles
from include.words import Unit
from tests.include.preview.reports import COMMENTS, model
from tests.include.results.project import FACTS, MODELS
from tests.include.results.project import model as project_model

pytestmark = pytest.mark.db

WITH_METRICS = replace(
    FACTS,
    nodes={**FACTS.nodes, "model.p.daily_metrics": {**project_model("model.p.dim_users"), "name": "daily_metrics"}},
    metrics={
        name: {
            "name": name,
            "label": name.capitalize(),
            "type": "simple",
            "type_params": {},
            "config": {"meta": {"in_message": place, "unit": unit}},
        }
        for place, (name, unit) in enumerate({"orders": Unit.NUMBER, "revenue": Unit.DOLLARS}.items())
    },
)
TESTS = [unique_id for unique_id, node in FACTS.nodes.items() if node["resource_type"] == "test"]
DAY = date(2026, 11, 23)
UNIQUE = reports.TestChange(
    "test.p.fact_unique",
    "unique on fact_orders.order_id",
    "fact_orders",
    Became.FAILS,
    2,
    "2 values",
    owner="Analytics",
)


@pytest.fixture
def told(db: Connection) -> Connection:
    """A warehouse whose one run was published; from now on it only reads."""
    publish(db)
    return db


def publish(db: Connection, others: Sequence[NodeResult] = ()) -> None:
    """A run that built all, whose tests passed but for some, and that was published."""
    runs.begin(db, "run", "release")
    built = [NodeResult(one, "model", one.split(".")[-1], "success", None, None, "", 0.1, 1) for one in MODELS]
    passed = [NodeResult(one, "test", one.split(".")[-1], "pass", "error", 0, "", 0.1, None) for one in TESTS]
    results = {one.unique_id: one for one in (*built, *passed, *others)}
    node_results.record(db, "run", "task", 1, list(results.values()))
    metrics(db, "analytics", orders=41, revenue=4210.4)
    with db.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
        cursor.execute("create schema preview_ana")
    read_only(db)


def read_only(db: Connection) -> None:
    with db.cursor() as cursor:
        cursor.execute("set default_transaction_read_only = on")
    if not db.autocommit:
        db.commit()


def metrics(db: Connection, schema: str, **values: float) -> None:
    with db.cursor() as cursor:
        cursor.execute(f"create table {schema}.daily_metrics (day date, metric text, value numeric(16, 4))")
        for name, value in values.items():
            cursor.execute(f"insert into {schema}.daily_metrics values (%s, %s, %s)", (DAY, name, value))


def tomorrow(told: Connection, report: Report = COMMENTS) -> str:
    return message.tomorrow(told, report, WITH_METRICS, "preview_ana")


def test_where_nothing_was_published_there_is_no_message(db: Connection) -> None:
    runs.begin(db, "run", "release")
    assert tomorrow(db) == ""


def test_where_ops_can_not_be_read_there_is_no_message(told: Connection) -> None:
    with told.cursor() as cursor:
        cursor.execute("set default_transaction_read_only = off")
        cursor.execute("drop schema ops cascade")
    assert tomorrow(told) == ""


def test_a_change_that_moves_nothing_says_that_figures_are_unchanged(told: Connection) -> None:
    said = tomorrow(told)
    assert said.startswith("✅ Greenery data is up to date\n\nPublished 24 Nov 2026 09:30 UTC.\nTests: 7 passed.")
    assert "Orders: 41 = unchanged" in said
    assert "Open the run" not in said


def test_figures_are_those_of_the_sandbox_against_what_is_published(told: Connection) -> None:
    with told.cursor() as cursor:
        cursor.execute("set default_transaction_read_only = off")
    metrics(told, "preview_ana", orders=82, revenue=8420.8)
    read_only(told)
    day = FigureDay(DAY, Decimal("4210.4"), Decimal("8420.8"))
    changed = replace(model("fact_orders", Kind.CHANGED, "SQL"), unique_id="model.p.fact_orders")
    said = tomorrow(
        told,
        replace(
            COMMENTS,
            plan=reports.Plan((changed,)),
            figures=(FigureMove("revenue", "Revenue", Unit.DOLLARS, True, 14, 1, (day,)),),
        ),
    )
    assert said.startswith("✅ Greenery data is up to date, 1 figure moved\n")
    assert "Orders: 82 ▲ 41\n" in said
    assert "Revenue of Mon 23 Nov is $4,211 higher than told ($8,421, told $4,210): model fact_orders changed" in said


def test_a_test_that_newly_fails_holds_the_publish_back_with_what_is_behind_it(told: Connection) -> None:
    said = tomorrow(told, replace(COMMENTS, tests=(UNIQUE,)))
    assert said.startswith("🔴 Greenery data was not published: 1 test failed on fact_orders\n")
    assert "Stakeholders still see the data as of" in said
    assert "• order_id: 2 values occur more than once; expected each value once (new)" in said
    assert "2 models behind it were not built: dim_users and daily_metrics" in said
    assert "Downstream: Sales" in said
    assert "http" not in said, "there is no such run, and nothing to answer yet"
    assert "Orders: 41\n" in said, "people still see what is published"


def test_a_test_that_spans_models_hides_no_failure_of_one_of_them(told: Connection) -> None:
    spans = replace(UNIQUE, unique_id="test.p.adds_up", name="test adds_up")
    said = tomorrow(told, replace(COMMENTS, tests=(UNIQUE, spans)))
    assert said.startswith("🔴 Greenery data was not published: 1 test failed on fact_orders\n")
    assert "adds_up" not in said, "it reads what is not built behind that"


def test_a_test_that_only_warns_is_told_and_published(told: Connection) -> None:
    said = tomorrow(told, replace(COMMENTS, tests=(replace(UNIQUE, became=Became.WARNS),)))
    assert said.startswith("✅ Greenery data is up to date, 1 warning\n")
    assert "Tests: 6 passed, 1 warned." in said


def test_a_model_that_can_not_be_built_fails_the_run(told: Connection) -> None:
    failed = reports.FailedModel("fact_orders", 'column "y" does not exist', ("dim_users",))
    said = tomorrow(told, replace(COMMENTS, failed=(failed,), tests=(replace(UNIQUE, became=Became.NOT_RUN),)))
    assert said.startswith("🔴 Greenery data was not published: model fact_orders failed\n")
    assert 'column "y" does not exist' in said
    assert "unique on fact_orders" not in said, "it did not run"


def test_a_test_that_failed_before_the_change_still_holds_the_publish_back(told: Connection) -> None:
    said = tomorrow(told, replace(COMMENTS, tests=(replace(UNIQUE, became=Became.STILL_FAILS),)))
    assert said.startswith("🔴 Greenery data was not published: 1 test failed on fact_orders\n")


def test_what_was_let_through_does_not_hold_the_publish_back(db: Connection) -> None:
    failing = NodeResult("test.p.fact_unique", "test", "fact_unique", "fail", "error", 2, "", 0.1, None)
    publish(db, [failing])
    still = replace(COMMENTS, tests=(replace(UNIQUE, became=Became.STILL_FAILS),))
    assert tomorrow(db, still).startswith("✋ Greenery data was published although 1 failed test was let through\n")
    mended = replace(COMMENTS, tests=(replace(UNIQUE, became=Became.PASSES),))
    assert tomorrow(db, mended).startswith("✅ Greenery data is up to date\n")


def test_who_develops_may_read_what_it_takes(told: Connection) -> None:
    with told.cursor() as cursor:
        cursor.execute("set default_transaction_read_only = off")
        roles.ensure(told)
        cursor.execute(f"alter schema preview_ana owner to {roles.DEVELOPER}; set role {roles.DEVELOPER}")
    assert "Orders: 41 = unchanged" in tomorrow(told)
