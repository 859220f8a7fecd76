"""The pages of models: what the last run made of each, and all that is known of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from plugins.data_health import pages
from plugins.data_health.results import STRIP_DAYS
from plugins.data_health.views import history, model, models
from tests.plugins.shop import ADDS_UP, FACTS, MART, ORDERS, STAGED, UNIQUE, built, of_test, run

pytestmark = pytest.mark.db
Ask = Callable[..., Any]


@pytest.fixture
def mart(ops: Connection) -> Connection:
    """What is published, and what is being built of it: another table."""
    with ops.cursor() as cursor:
        cursor.execute("create table analytics.fact_orders (order_id text, email text, units integer)")
        cursor.execute("insert into analytics.fact_orders select n::text from generate_series(1, 7) as n")
        cursor.execute("create table analytics_next.fact_orders (other text)")
        cursor.execute("analyze analytics.fact_orders")
    return ops


def test_models_stand_by_folder_with_what_the_last_run_made_of_them(ops: Connection, ask: Ask) -> None:
    run(ops, "first", 1, built("error"), of_test("fail"))
    run(ops, "last", 0, built(), of_test("pass"), of_test("warn", ADDS_UP))
    listed = ask(models.read, facts=FACTS)
    assert [folder.name for folder in listed.folders] == ["marts/core", "staging/shop", "snapshots", "sources"]
    [fact_orders] = listed.folders[0].models
    assert (fact_orders.grain, fact_orders.state, fact_orders.rows) == (
        "One row per order & `order_id`.",
        "success",
        1234,
    )
    assert fact_orders.tests == models.Tested(passed=1, warned=1, failed=0, not_run=1)
    assert listed.run.run_id == "last"
    page = pages.render("models.html", answer=listed)
    assert "One row per order &amp; <code>order_id</code>." in page
    assert pages.path("models", "raw.orders") in page


def test_before_the_first_run_models_are_listed_without(ask: Ask) -> None:
    listed = ask(models.read, facts=FACTS)
    assert (listed.run, listed.folders[0].models[0].state) == (None, None)
    assert "No run has begun yet" in pages.render("models.html", answer=listed)


def test_before_the_project_was_parsed_the_page_says_so(ask: Ask) -> None:
    assert "No dbt project" in pages.render("models.html", answer=ask(models.read))


def test_a_model_is_told_as_it_is_published(mart: Connection, ask: Ask) -> None:
    told = ask(model.read, "fact_orders", facts=FACTS)
    assert (told.live.schema, told.live.rows) == ("analytics", 7)
    assert {column.name: (column.type, column.there) for column in told.columns} == {
        "order_id": ("text", True),
        "email": ("text", True),
        "units": ("integer", True),
    }
    assert [column.name for column in told.columns if column.personal] == ["email"]
    assert (told.owner.name, told.group, told.exposures) == ("Analytics", "core", ("Sales",))


def test_a_model_has_its_runs_and_its_tests_history(ops: Connection, ask: Ask) -> None:
    run(ops, "bad", 2, built("error"), of_test("fail"))
    run(ops, "good", 1, built(), of_test("pass"))
    run(ops, "bad again", 0, built(), of_test("fail"))
    told = ask(model.read, "fact_orders", facts=FACTS)
    assert [(result.run_id, result.state) for result in told.results] == [
        ("bad again", "success"),
        ("good", "success"),
        ("bad", "error"),
    ]
    unique = next(test for test in told.tests if test.name == "fact_unique")
    assert [day.state for day in unique.days] == [None] * (STRIP_DAYS - 3) + ["fail", "pass", "fail"]
    assert unique.standing.state == "fail"
    page = pages.render("model.html", answer=told)
    assert page.count('<rect class="fail"') == 2
    assert page.count('<rect class="pass"') == 1


def test_the_last_run_of_a_day_is_what_the_day_was_like_as_over_time(ops: Connection, ask: Ask) -> None:
    run(ops, "one", 0, of_test("fail"))
    run(ops, "two", 0, of_test("pass"))
    run(ops, "three", 0, of_test("skipped"))
    assert ask(model.read, "fact_orders", facts=FACTS).tests[0].days[-1].state == "pass"
    [over_time] = ask(history.read, STRIP_DAYS, facts=FACTS).steady
    assert (over_time.passed, over_time.failed) == (1, 0)


def test_a_retry_has_the_last_word_of_its_run(ops: Connection, ask: Ask) -> None:
    run(ops, "run", 0, built("error"))
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.node_results (run_id, task_id, attempt, unique_id, resource_type, name, status, seconds)"
            " select run_id, task_id, 2, unique_id, resource_type, name, 'success', 1 from ops.node_results"
        )
    assert [result.state for result in ask(model.read, "fact_orders", facts=FACTS).results] == ["success"]


def test_what_ran_is_shown_and_else_what_is_written(ops: Connection, ask: Ask) -> None:
    before = ask(model.read, "fact_orders", facts=FACTS)
    assert (before.sql, before.has_run) == ("select 1 as {{ one }}", False)
    assert "no run has left its compiled SQL" in pages.render("model.html", answer=before)
    run(ops, "run", 0, built(compiled_sql="select '<script>' as one"))
    after = ask(model.read, "fact_orders", facts=FACTS)
    assert (after.sql, after.has_run) == ("select '<script>' as one", True)
    assert "select &#39;&lt;script&gt;&#39; as one" in pages.render("model.html", answer=after)


def test_neighbours_are_drawn_and_named(ask: Ask) -> None:
    told = ask(model.read, "stg_orders", facts=FACTS)
    assert (told.upstream, told.downstream) == (("raw.orders",), ("fact_orders",))
    page = pages.render("model.html", answer=told)
    assert page.count(f'<a href="{pages.path("models", "raw.orders")}"') == 3  # two pictures and the list
    assert "stg_orders comes from 1 other and leads to 1 other" in page
    assert "Step by step" not in page, "there is no helper between"


def test_lineage_looks_through_helpers_and_shows_them_on_a_click(ask: Ask) -> None:
    told = ask(model.read, "fact_orders", facts=FACTS)
    assert (told.upstream, told.comes_from, told.helpers) == (("stg_orders",), ("raw.orders",), ("stg_orders",))
    shown, _, folded = pages.render("model.html", answer=told).partition("<details>")
    assert ("raw.orders" in shown, "stg_orders" in shown) == (True, False)
    assert "<summary>Step by step, with 1 helper</summary>" in folded
    assert pages.path("models", "stg_orders") in folded
    source = ask(model.read, "raw.orders", facts=FACTS)
    assert (source.downstream, source.leads_to) == (("seen", "stg_orders"), ("fact_orders", "seen"))


def test_what_leads_to_helpers_alone_says_so(ask: Ask) -> None:
    facts = replace(FACTS, nodes={STAGED: FACTS.nodes[STAGED]})
    told = ask(model.read, "raw.orders", facts=facts)
    assert (told.leads_to, told.downstream) == ((), ("stg_orders",))
    assert "helpers alone" in pages.render("model.html", answer=told)


def test_helpers_are_folded_unless_something_failed(ops: Connection, ask: Ask) -> None:
    run(ops, "well", 1, built(model=STAGED), of_test("pass"))
    [staging] = [folder for folder in ask(models.read, facts=FACTS).folders if folder.name == "staging/shop"]
    assert (staging.named, [one.name for one in staging.helpers]) == ((), ["stg_orders"])
    page = pages.render("models.html", answer=ask(models.read, facts=FACTS))
    assert '<summary>1 helper<span class="away"> in staging/shop</span></summary>' in page
    assert page.index("<details>") < page.index(pages.path("models", "stg_orders")) < page.index("</details>")
    run(ops, "bad", 0, built("error", STAGED))
    [staging] = [folder for folder in ask(models.read, facts=FACTS).folders if folder.name == "staging/shop"]
    assert ([one.name for one in staging.named], staging.helpers) == (["stg_orders"], ())
    assert "<details>" not in pages.render("models.html", answer=ask(models.read, facts=FACTS))


def test_a_source_and_a_snapshot_have_such_a_page(ops: Connection, ask: Ask) -> None:
    freshness = replace(of_test("fail"), unique_id=f"freshness.{ORDERS}", resource_type="freshness", message="stale")
    run(ops, "run", 0, freshness)
    source = ask(model.read, "raw.orders", facts=FACTS)
    assert (source.kind, source.downstream, source.sql) == ("source", ("seen", "stg_orders"), None)
    assert [(result.state, result.measured) for result in source.results] == [("fail", "stale")]
    snapshot = ask(model.read, "seen", facts=FACTS)
    assert (snapshot.kind, snapshot.folder, snapshot.live) == ("snapshot", "snapshots", None)
    for told in (source, snapshot):
        assert told.name in pages.render("model.html", answer=told)


def test_names_that_two_share_lead_to_each_by_its_unique_id(ask: Ask) -> None:
    other = "model.other.fact_orders"
    facts = replace(FACTS, nodes={**FACTS.nodes, other: {**FACTS.nodes[MART], "description": "Another."}})
    assert ask(model.read, other, facts=facts).description == "Another."
    assert ask(model.read, STAGED, facts=facts).downstream == (other, MART)


@pytest.mark.parametrize("name", ["nothing", UNIQUE, "'; drop schema ops cascade; --"])
def test_what_is_no_model_is_not_found(ask: Ask, name: str) -> None:
    with pytest.raises(LookupError, match="There is no model, snapshot or source"):
        ask(model.read, name, facts=FACTS)
