"""Where it broke first, and what is told of it: the place, what was measured, whose it is, and what it holds up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.answers.answer import About, Answer, Kind
from include.dbt_project.manifest import Manifest
from include.results import failures
from include.results.failures import Owner, Root, RunContext, broken, title, warned
from include.results.nodes import UNEXPLAINED, NodeResult
from tests.include.results.project import FACTS, MODELS, ORDERS, generic

RUN = RunContext(started_at=datetime(2026, 11, 24, 6, tzinfo=UTC), since={}, log_urls={"test.p.orders_unique": "log"})


def failed(unique_id: str, failures: int | None = 1, message: str = "", status: str = "fail", rows: list | None = None):
    kind = unique_id.split(".")[0]
    name = unique_id.split(".", 1)[1] if kind == "task" else unique_id.split(".")[-1]
    return NodeResult(unique_id, kind, name, status, "error", failures, message, 0.1, None, None, rows or [])


def roots(*unique_ids: str, not_built: list[str] | None = None) -> list[Root]:
    return broken([failed(one) for one in unique_ids], FACTS, RUN, not_built or [])


def test_a_broken_source_explains_what_is_behind_it_in_one_place() -> None:
    [root] = roots("test.p.orders_unique", not_built=["model.p.stg_orders", "model.p.fact_orders", "model.p.dim_users"])
    assert (root.kind, root.name, root.log_url) == ("source", "raw.orders", "log")
    assert root.not_built == ("stg_orders", "fact_orders", "dim_users")
    assert (root.owner, root.exposures) == (Owner("Data platform"), ("Sales",))


def test_what_only_broke_behind_something_else_is_no_root() -> None:
    [root] = roots("test.p.orders_unique", "test.p.dim_unique")
    assert (root.name, root.also_failed) == ("raw.orders", ("unique on dim_users.user_id",))


def test_tests_of_one_model_are_one_place() -> None:
    [root] = roots("test.p.fact_unique", "test.p.fact_status")
    assert [failure.column for failure in root.failures] == ["order_id", "status"]
    assert root.owner == Owner("Analytics", "S0ANALYTICS")


def test_two_places_are_two_roots_and_a_model_behind_both_is_told_once() -> None:
    first, second = roots("test.p.fact_unique", "model.p.stg_users", not_built=["model.p.dim_users"])
    assert (first.name, first.not_built) == ("fact_orders", ("dim_users",))
    assert (second.name, second.not_built, second.exposures) == ("stg_users", (), ("Sales", "loads"))


def test_a_model_that_broke_itself_is_not_among_those_behind_another() -> None:
    [root] = roots("model.p.stg_orders", not_built=["model.p.stg_orders", "model.p.fact_orders"])
    assert root.not_built == ("fact_orders",)


def test_a_test_across_models_is_a_place_of_its_own() -> None:
    [root] = roots("test.p.adds_up")
    assert (root.kind, root.name, root.owner, root.exposures) == (
        "test",
        "adds_up",
        Owner("Analytics", "S0ANALYTICS"),
        ("Sales",),
    )
    assert root.failures[0].expected == "Orders are the same whichever mart one asks."
    assert root.failures[0].wanted == "expected: Orders are the same whichever mart one asks."


def test_a_task_of_a_model_that_died_leads_to_what_is_behind_the_model() -> None:
    [root] = roots(
        "task.transform.core.fact_orders_model_build", not_built=["model.p.fact_orders", "model.p.dim_users"]
    )
    assert (root.kind, root.name, root.not_built) == ("task", "fact_orders", ("dim_users",))


def test_tasks_that_were_refused_for_one_reason_are_one() -> None:
    refused = [failed(f"task.{name}", None, "another run reads raw", "error") for name in ("a", "b")]
    assert [root.name for root in broken(refused, FACTS, RUN, MODELS)] == ["a"]


def test_each_task_that_died_is_told_for_itself() -> None:
    died = [failed(f"task.{name}", None, UNEXPLAINED, "error") for name in ("a", "b")]
    assert [root.name for root in broken(died, FACTS, RUN, MODELS)] == ["a", "b"]


def test_warnings_stand_for_themselves() -> None:
    results = [failed("test.p.orders_unique", status="warn"), failed("test.p.dim_unique", status="warn")]
    assert [root.name for root in warned(results, FACTS, RUN)] == ["raw.orders", "dim_users"]


@pytest.mark.parametrize(
    ("unique_id", "count", "measured", "expected"),
    [
        ("test.p.orders_unique", 1, "1 value occurs more than once", "each value once"),
        ("test.p.orders_unique", 2000, "2,000 values occur more than once", "each value once"),
        ("test.p.orders_user", 3, "3 rows without a match", "each in users.id"),
        ("test.p.fact_status", 2, "2 other values", "one of new, shipped"),
    ],
)
def test_a_test_says_what_it_measured_and_what_it_expected(
    unique_id: str, count: int, measured: str, expected: str
) -> None:
    [root] = broken([failed(unique_id, count)], FACTS, RUN, [])
    assert (root.failures[0].measured, root.failures[0].expected) == (measured, expected)


@pytest.mark.parametrize(
    ("test", "measured", "expected"),
    [
        (
            generic("not_before", ORDERS, "delivered_at", moment="created_at", key="id"),
            "3 rows where delivered_at is before created_at",
            "created_at first",
        ),
        (
            generic("happens_within", ORDERS, "created_at", to="ref('dim_users')", began="signed_up_at", key="id"),
            "3 rows where created_at is before signed_up_at in dim_users",
            "signed_up_at first",
        ),
        (
            generic("happens_within", ORDERS, "at", to="ref('visits')", began="begun", ended="ended", key="id"),
            "3 rows where at is before begun or after ended in visits",
            "between begun and ended",
        ),
        (
            generic("unique_but_for_case", ORDERS, "promo"),
            "3 keys written in more than one way",
            "one way, whatever the case and the space",
        ),
        (
            generic("is_id", ORDERS, columns=["id"], key="id"),
            "3 ids blank or too long",
            "text in each, of 1,000 bytes at most",
        ),
        (
            generic("holds_for_most", ORDERS, expression="cost > 0", by="status"),
            "it does not hold for most rows",
            "cost > 0",
        ),
        (
            generic("holds_for_most", ORDERS, expression="cost > 0")
            | {"description": "most orders to cost something", "config": {"meta": {"expects_description": True}}},
            "it does not hold for most rows",
            "most orders to cost something",
        ),
        (
            generic("keeps_most_rows", ORDERS),
            "less than half as many rows as when data was last published",
            "at least half. If that is right: `mute known --waives` (docs/runbook.md), then clear check_sources",
        ),
        (
            generic("filled_for_most", ORDERS),
            "3 columns empty for most new rows",
            "a value in most, as before. If that is right: `mute known --waives` (docs/runbook.md), then clear "
            "check_sources",
        ),
        (
            generic("well_formed", ORDERS, columns={"id": "code"}, key="id"),
            "3 values not well formed",
            "what the column is for, as people write it",
        ),
    ],
)
def test_a_test_of_what_is_known_says_what_it_measured(test: dict[str, object], measured: str, expected: str) -> None:
    facts = Manifest({"test.p.known": test}, FACTS.sources)
    [root] = broken([failed("test.p.known", 3)], facts, RUN, [])
    assert (root.failures[0].measured, root.failures[0].expected) == (measured, expected)


@pytest.mark.parametrize(
    ("meta", "measured"), [({}, "3 rows found"), ({"names_faults": True}, "3 rows found: id: blank")]
)
def test_a_test_that_names_faults_says_which(meta: dict[str, bool], measured: str) -> None:
    test = generic("of_ones_own", ORDERS, "id")
    test["config"]["meta"] = meta
    rows = [{"id": "n/a", "column_name": "id", "fault": "blank"}] * 2
    [root] = broken([failed("test.p.own", 3, rows=rows)], Manifest({"test.p.own": test}, FACTS.sources), RUN, [])
    assert root.failures[0].measured == measured


@pytest.mark.parametrize(
    "where", [{"description": "no order before sign-up"}, {"config": {"description": "no order before sign-up"}}]
)
def test_a_test_of_ones_own_expects_what_its_description_says(where: dict[str, object]) -> None:
    """From its YAML, or from `config(description=…)` in its file, where dbt leaves the other one empty."""
    node = {"resource_type": "test", "name": "early", "description": "", "config": {}} | where
    assert failures.expectation("test.early", Manifest({"test.early": node}, {})) == "no order before sign-up"


def test_a_test_that_reads_no_node_can_be_muted() -> None:
    node = {"resource_type": "test", "name": "early", "config": {}, "depends_on": {"nodes": []}}
    mute = Answer(1, RUN.started_at, "ada", Kind.MUTE, About("test.early"), "known")
    [root] = broken([failed("test.early")], Manifest({"test.early": node}, {}), replace(RUN, answers=(mute,)), [])
    assert root.failures[0].muted == mute


def test_a_stale_table_says_how_old_it_may_be() -> None:
    stale = NodeResult(f"freshness.{ORDERS}", "freshness", "of", "fail", "error", None, "51 hours ago", 0.1, None)
    [root] = broken([stale], FACTS, RUN, [])
    assert (root.kind, root.name) == ("source", "raw.orders")
    assert (root.failures[0].measured, root.failures[0].expected) == ("51 hours ago", "at most 50 hours ago")


def test_a_database_error_is_told_without_the_values_that_it_quotes() -> None:
    message = (
        "Database Error in model stg_users (models/stg_users.sql)\n"
        '  invalid input syntax for type integer: "ada@example.com"\n'
        "  DETAIL:  Key (email)=(ada@example.com) is duplicated.\n"
        "  compiled code at target/run/stg_users.sql"
    )
    [root] = broken([failed("model.p.stg_users", None, message, "error")], FACTS, RUN, [])
    assert root.failures[0].measured == 'invalid input syntax for type integer: "…"'


def test_a_build_that_outgrew_its_temporary_files_says_what_to_do() -> None:
    message = (
        "Database Error in model int_events (models/marts/core/int_events.sql)\n"
        '  temporary file size exceeds "temp_file_limit" (20971520kB)\n'
        "  compiled code at target/run/int_events.sql"
    )
    [root] = broken([failed("model.p.int_events", None, message, "error")], FACTS, RUN, [])
    assert root.failures[0].measured.startswith(
        'temporary file size exceeds "temp_file_limit" (20971520kB). So much one'
    )
    assert "clear the task" in root.failures[0].measured


def test_rows_of_a_personal_column_never_appear() -> None:
    [root] = broken(
        [
            failed("test.p.dim_email", rows=[{"unique_field": "ada@example.com", "n_records": "2"}]),
            failed("test.p.dim_unique", rows=[{"unique_field": "1", "email": "ada@example.com"}]),
        ],
        FACTS,
        RUN,
        [],
    )
    assert [failure.rows for failure in root.failures] == [(), ({"unique_field": "1"},)]


def test_what_is_known_has_its_age() -> None:
    since = datetime(2026, 11, 22, 6, tzinfo=UTC)
    run = RunContext(RUN.started_at, {"test.p.fact_unique": since}, {})
    [root] = broken([failed("test.p.fact_unique"), failed("test.p.fact_status")], FACTS, run, [])
    assert [(failure.since, failure.days) for failure in root.failures] == [(since, 2), (None, 0)]
    assert not root.known


@pytest.mark.parametrize(
    ("unique_id", "called"),
    [
        ("test.p.orders_unique", "unique on raw.orders.order_id"),
        ("test.p.adds_up", "test adds_up"),
        ("model.p.dim_users", "model dim_users"),
        ("task.snapshot", "task snapshot"),
        ("test.p.gone_meanwhile", "test gone_meanwhile"),
    ],
)
def test_what_people_call_it(unique_id: str, called: str) -> None:
    assert title(failed(unique_id), FACTS) == called


@pytest.mark.parametrize(
    "message",
    [
        'invalid input syntax for type integer: "12 Main St\n  Springfield"',
        'time zone "ada@example.com" not recognized',
        'duplicate key value violates "k"\n  DETAIL:  Key (address)=(12 Main St\nApt 4) already exists.',
        'invalid input syntax for type integer: "5" pots"',
        'invalid value "Ada" for "Mon"',
    ],
)
def test_values_that_a_database_quotes_are_left_out(message: str) -> None:
    told = failures.without_data(message)
    for value in ("Main St", "Springfield", "Apt 4", "pots", "Ada", "@example.com"):
        assert value not in told


def test_a_hint_is_left_in() -> None:
    told = failures.without_data(
        'Database Error in model m (m.sql)\n  column "a" does not exist\n  HINT:  Perhaps "b".'
    )
    assert told == 'column "a" does not exist HINT: Perhaps "b".'
