"""What every dbt task leaves behind: its results, failing rows without personal data, and never an error of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import node_results, runs
from include.results.nodes import NodeResult
from include.results.record import failing_rows, record

pytestmark = pytest.mark.db

# The run, the task and its attempt.
TRY = ("run", "task", 1)


def a_failed_test(sql: str, column: str | None = None, *personal: str) -> tuple[list[NodeResult], Manifest]:
    """What dbt returned of one failed test, whose own SQL is `sql`, and the project that it belongs to."""
    model = {"resource_type": "model", "columns": {name: {"meta": {"personal": True}} for name in personal}}
    facts = Manifest({"test.p.t": {"resource_type": "test", "column_name": column}, "model.p.m": model}, {})
    failed = NodeResult("test.p.t", "test", "t", "fail", "error", 1, "Got 1 result", 0.1, None, sql)
    return [failed], facts


def kept(ops: Connection) -> list[NodeResult]:
    return node_results.of_run(ops, "run")


def test_a_failed_test_is_kept_with_its_rows_in_the_order_of_its_columns(ops: Connection) -> None:
    record(*TRY, *a_failed_test("select 'o1' as unique_field, 2 as n_records"))
    [result] = kept(ops)
    assert list(result.failing_rows[0].items()) == [("unique_field", "o1"), ("n_records", "2")]


def test_a_personal_column_is_left_out_of_the_rows(ops: Connection) -> None:
    record(*TRY, *a_failed_test("select 'o1' as order_id, 'a@example.com' as email", None, "email"))
    assert kept(ops)[0].failing_rows == [{"order_id": "o1"}]


def test_a_test_of_a_personal_column_shows_no_rows_whatever_dbt_calls_it(ops: Connection) -> None:
    record(*TRY, *a_failed_test("select 'a@example.com' as unique_field", "email", "email"))
    [result] = kept(ops)
    assert (result.failures, result.failing_rows) == (1, [])


def test_sql_that_does_not_run_again_costs_the_rows_and_not_the_result(ops: Connection) -> None:
    record(*TRY, *a_failed_test("select * from gone"))
    [result] = kept(ops)
    assert (result.status, result.failing_rows) == ("fail", [])


def test_a_moment_that_python_has_no_type_for_is_shown_as_the_database_has_it(ops: Connection) -> None:
    record(
        *TRY,
        *a_failed_test(
            "select 'u1' as user_id, timestamptz '0044-03-15 00:00:00+00 BC' as created_at,"
            " date '12021-02-10' as day, null as nothing, true as is_new, numeric 'NaN' as price"
        ),
    )
    [result] = kept(ops)
    assert result.failing_rows == [
        {
            "user_id": "u1",
            "created_at": "0044-03-15T00:00:00+00:00 BC",
            "day": "12021-02-10",
            "nothing": None,
            "is_new": "true",
            "price": "NaN",
        }
    ]


def test_sql_that_can_not_even_be_sent_costs_no_other_test_its_result(ops: Connection) -> None:
    [failed], facts = a_failed_test("select 1 as one")
    facts.nodes["test.p.odd"] = facts.nodes["test.p.t"]
    odd = replace(failed, unique_id="test.p.odd", name="odd", compiled_sql="select '\0' as one")
    record(*TRY, [odd, failed], facts)
    assert {result.name: result.failing_rows for result in kept(ops)} == {"odd": [], "t": [{"one": "1"}]}


def test_what_can_not_be_kept_hides_nothing_behind_an_error_of_ours(ops: Connection) -> None:
    ops.cursor().execute("drop schema ops cascade")
    record(*TRY, *a_failed_test("select 1 as one"))


def a_model(sql: str | None, status: str = "success", name: str = "m") -> NodeResult:
    return NodeResult(f"model.p.{name}", "model", name, status, None, None, None, 0.1, 1, sql)


def compiled(ops: Connection) -> list[tuple[str, str, str]]:
    with ops.cursor() as cursor:
        cursor.execute("select unique_id, run_id, sql from ops.compiled_sql order by unique_id")
        return cursor.fetchall()


def versions(ops: Connection) -> list[tuple[str, str]]:
    """What tells whether a row was written, or locked, since."""
    with ops.cursor() as cursor:
        cursor.execute("select xmin::text, xmax::text from ops.compiled_sql order by unique_id")
        return cursor.fetchall()


def test_what_ran_is_kept_with_the_run_that_it_was_new_in(ops: Connection) -> None:
    runs.begin(ops, "later", "release")
    record(*TRY, [a_model("select 1"), a_model("select 2", name="other")], Manifest({}, {}))
    record("later", "task", 1, [a_model("select 1"), a_model("select 3", name="other")], Manifest({}, {}))
    assert compiled(ops) == [("model.p.m", "run", "select 1"), ("model.p.other", "later", "select 3")]


def test_what_ran_before_is_not_written_again(ops: Connection) -> None:
    record(*TRY, [a_model("select 1")], Manifest({}, {}))
    before = versions(ops)
    record(*TRY, [a_model("select 1")], Manifest({}, {}))
    assert versions(ops) == before


def test_where_what_ran_can_not_be_kept_the_results_are(ops: Connection) -> None:
    ops.cursor().execute("drop table ops.compiled_sql")
    record(*TRY, [a_model("select 1")], Manifest({}, {}))
    assert [result.status for result in kept(ops)] == ["success"]


def test_a_key_of_a_personal_column_and_another_shows_no_rows(ops: Connection) -> None:
    results, facts = a_failed_test("select 'a@example.com/2026' as unique_field", None, "email")
    facts.nodes["test.p.t"]["test_metadata"] = {
        "name": "unique_combination",
        "kwargs": {"columns": ["email", "created_at"]},
    }
    record(*TRY, results, facts)
    [result] = kept(ops)
    assert (result.failures, result.failing_rows) == (1, [])


def test_what_did_not_run_leaves_what_ran_last(ops: Connection) -> None:
    record(*TRY, [a_model("select 1")], Manifest({}, {}))
    record(*TRY, [a_model("select 2", "skipped")], Manifest({}, {}))
    record(*TRY, [a_model(None, "error")], Manifest({}, {}))
    assert compiled(ops) == [("model.p.m", "run", "select 1")]


def test_failing_rows_are_few_and_hide_personal_columns(ops: Connection) -> None:
    sql = "select n as user_id, 'ada@example.com' as email from generate_series(1, 9) as n order by 1"
    failed = NodeResult("test.t", "test", "t", "fail", "error", 9, "", 0.1, None, compiled_sql=sql)
    rows = failing_rows(ops, failed, frozenset({"email"}))
    assert rows == [{"user_id": str(n)} for n in range(1, 6)]
