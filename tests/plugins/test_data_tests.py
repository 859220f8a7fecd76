"""The pages of data tests: how each stands, and what it found, without anybody's personal data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from plugins.data_health import pages
from plugins.data_health.views import test as one_test
from plugins.data_health.views import tests
from tests.plugins.shop import ADDS_UP, EMAIL, FACTS, UNIQUE, of_test, run

pytestmark = pytest.mark.db
Ask = Callable[..., Any]


@pytest.fixture
def history(ops: Connection) -> Connection:
    """Four runs: a test failed, passed, and fails since the third; another warned once, a third never ran."""
    run(ops, "1", 100, of_test("fail"))
    run(ops, "2", 3, of_test("pass"), of_test("warn", ADDS_UP))
    run(ops, "3", 2, of_test("fail"))
    run(ops, "4", 1, of_test("fail", failing_rows=[{"order_id": "<o1>", "email": "a@example.com"}]))
    return ops


def test_the_worst_stand_on_top_with_since_when_and_how_often(history: Connection, ask: Ask) -> None:
    answer = ask(tests.read, facts=FACTS)
    assert [(test.name, test.standing.state, test.in_last_run) for test in answer.tests] == [
        ("fact_unique", "fail", True),
        ("adds_up", "warn", False),
        ("dim_email", "never", False),
    ]
    unique = answer.tests[0]
    assert unique.standing.run_id == "4"
    assert unique.standing.since == ask(one_test.read, "fact_unique", facts=FACTS).results[1].started_at
    assert unique.standing.failed_runs == 2, "the one of 100 days ago is past"
    assert answer.counts == {"fail": 1, "error": 0, "warn": 1, "never": 1, "pass": 0}
    page = pages.render("tests.html", answer=answer)
    assert page.count("not in the last run") == 1
    assert pages.path("tests") + "?state=warn" in page


def test_those_that_stand_so_are_picked_and_all_are_counted(history: Connection, ask: Ask) -> None:
    answer = ask(tests.read, "warn", facts=FACTS)
    assert [test.name for test in answer.tests] == ["adds_up"]
    assert sum(answer.counts.values()) == 3
    assert "None passed" in pages.render("tests.html", answer=ask(tests.read, "pass", facts=FACTS))


def test_what_was_skipped_says_nothing_of_how_a_test_stands(history: Connection, ask: Ask) -> None:
    run(history, "5", 0, of_test("skipped"))
    unique = ask(tests.read, facts=FACTS).tests[0]
    assert (unique.standing.state, unique.standing.run_id, unique.in_last_run) == ("fail", "4", False)


def test_a_test_is_told_in_words_with_the_keys_that_failed(history: Connection, ask: Ask) -> None:
    told = ask(one_test.read, "fact_unique", facts=FACTS)
    assert (told.title, told.expects, told.on) == (
        "unique on fact_orders.order_id",
        "each value once",
        ("fact_orders",),
    )
    assert [result.run_id for result in told.results] == ["4", "3", "2"]
    assert told.last_failed.failure.rows == ({"order_id": "<o1>"},), "without the personal column"
    assert told.last_failed.failure.measured == "3 values occur more than once"
    page = pages.render("test.html", answer=told)
    assert "&lt;o1&gt;" in page
    assert "a@example.com" not in page
    log = told.results[0].log_url
    assert log.endswith("/runs/4/tasks/transform.fact_orders_model_build")
    assert f'class="out" href="{log}"' in page


def test_a_test_of_a_personal_column_keeps_its_rows_back(ops: Connection, ask: Ask) -> None:
    run(ops, "run", 0, of_test("fail", EMAIL, failing_rows=[{"unique_field": "a@example.com"}]))
    told = ask(one_test.read, "dim_email", facts=FACTS)
    assert (told.last_failed.hidden, told.last_failed.failure.rows) == (True, ())
    page = pages.render("test.html", answer=told)
    assert "the column is personal" in page
    assert "a@example.com" not in page


def test_an_error_is_told_without_what_dbt_leads_it_up_with(ops: Connection, ask: Ask) -> None:
    run(ops, "run", 0, of_test("error", compiled_sql="select 1 / 0"))
    told = ask(one_test.read, UNIQUE, facts=FACTS)
    assert (told.results[0].measured, told.sql, told.has_run) == ("division by zero", "select 1 / 0", True)


def test_a_test_that_never_ran_has_a_page_all_the_same(ask: Ask) -> None:
    told = ask(one_test.read, "adds_up", facts=FACTS)
    assert (told.standing.state, told.expects) == ("never", "Orders are the same whichever mart one asks.")
    assert "No run of the last 90 days" in pages.render("test.html", answer=told)


@pytest.mark.parametrize("name", ["nothing", "fact_orders"])
def test_what_is_no_test_is_not_found(ask: Ask, name: str) -> None:
    with pytest.raises(LookupError, match="There is no data test"):
        ask(one_test.read, name, facts=FACTS)
