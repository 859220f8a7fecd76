"""What becomes of tests and models: newly, still, or not at all, in the words of the daily message."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from include.preview import checks, report
from include.preview.report import Became
from include.results import failures
from include.results.nodes import NodeResult
from tests.include.results.project import FACTS, MODELS

CONTRACT = """Compilation Error in model fact_orders (models/core/fact_orders.sql)
  This model has an enforced contract that failed.
  Please ensure the name, data_type, and number of columns in your contract match the columns in your model's
  definition.

  | column_name | definition_type | contract_type | mismatch_reason       |
  | ----------- | --------------- | ------------- | --------------------- |
  | order_total |                 | NUMERIC       | missing in definition |
  | status      | INTEGER         | TEXT          | data type mismatch    |

  > in macro assert_columns_equivalent (macros/relations/column/columns_spec_ddl.sql)"""
UNIQUE = "test.p.fact_unique"


@dataclass(frozen=True)
class Built:
    """As much of a build as is asked for."""

    results: dict[str, NodeResult]


def result(status: str, failures: int = 0, message: str = "", unique_id: str = UNIQUE) -> NodeResult:
    return NodeResult(unique_id, "test", unique_id.split(".")[-1], status, "error", failures, message, 0.1, None)


result.__test__ = False


def model(status: str, name: str, message: str = "") -> NodeResult:
    return NodeResult(f"model.p.{name}", "model", name, status, None, None, message, 0.1, 1)


def changes(before: str | None, after: NodeResult, *others: NodeResult) -> tuple[report.TestChange, ...]:
    former = {} if before is None else {UNIQUE: result(before, 1)}
    return checks.compare(former, {one.unique_id: one for one in (after, *others)}, FACTS, FACTS)


@pytest.mark.parametrize(
    ("before", "after", "became"),
    [
        ("pass", "fail", Became.FAILS),
        ("warn", "fail", Became.FAILS),
        (None, "fail", Became.FAILS),
        ("pass", "warn", Became.WARNS),
        ("fail", "warn", Became.WARNS),
        ("fail", "pass", Became.PASSES),
        ("fail", "fail", Became.STILL_FAILS),
        ("warn", "warn", Became.STILL_WARNS),
        ("pass", "error", Became.NOT_RUN),
        ("error", "error", Became.STILL_FAILS),
    ],
)
def test_what_becomes_of_a_test(before: str | None, after: str, became: Became) -> None:
    assert [one.became for one in changes(before, result(after, 1))] == [became]


@pytest.mark.parametrize("before", ["pass", None])
def test_a_test_that_passes_as_before_is_no_news(before: str | None) -> None:
    assert changes(before, result("pass")) == ()


def test_a_test_is_told_in_the_words_of_the_message() -> None:
    [change] = changes("pass", result("fail", 2, "Got 2 results"))
    assert (change.name, change.model, change.owner, change.rows) == (
        "unique on fact_orders.order_id",
        "fact_orders",
        "Analytics",
        2,
    )
    assert change.reason == "2 values occur more than once; expected each value once"


def test_a_test_says_nothing_of_the_data_when_it_can_not_run() -> None:
    message = (
        'Database Error in test fact_unique (models/x.yml)\n  invalid input syntax for type uuid: "ana@example.com"'
    )
    [change] = changes("pass", result("error", 0, message))
    assert change.reason == 'invalid input syntax for type uuid: "…"'


def test_a_test_of_a_model_that_was_not_built_can_not_run_although_it_passed_on_the_published_one() -> None:
    told = changes("pass", result("pass"), model("error", "fact_orders"))
    assert {one.name: (one.became, one.reason) for one in told}["unique on fact_orders.order_id"] == (
        Became.NOT_RUN,
        "fact_orders was not built",
    )
    assert "unique on dim_users.user_id" not in {one.name for one in told}


def test_a_test_that_the_base_does_not_have_is_new() -> None:
    without = replace(FACTS, nodes={name: node for name, node in FACTS.nodes.items() if name != UNIQUE})
    [change] = checks.compare({}, {UNIQUE: result("fail", 1)}, without, FACTS)
    assert change.is_new
    assert not changes("pass", result("fail", 1))[0].is_new


def test_the_worst_comes_first() -> None:
    other = result("warn", 1, unique_id="test.p.dim_unique")
    assert [one.became for one in changes("pass", other, result("fail", 1))] == [Became.FAILS, Became.WARNS]


def test_a_model_that_can_not_be_built_is_told_with_what_is_behind_it() -> None:
    results = {
        one.unique_id: one
        for one in (
            model("error", "fact_orders", 'Database Error in x\n  column "y" does not exist'),
            model("skipped", "dim_users"),
        )
    }
    [failed] = checks.failed(Built(results), FACTS)
    assert (failed.name, failed.behind, failed.breaks_contract) == ("fact_orders", ("dim_users",), False)
    assert failed.reason == 'column "y" does not exist'


def test_a_broken_contract_is_told_column_by_column() -> None:
    [failed] = checks.failed(Built({MODELS[2]: model("error", "fact_orders", CONTRACT)}), FACTS)
    assert failed.breaks_contract
    assert failed.reason == (
        "order_total is missing in definition (contract: NUMERIC); "
        "status is of another type (SQL: INTEGER, contract: TEXT)"
    )


def test_a_contract_is_told_from_a_message_of_one_line_too() -> None:
    message = failures.without_data(CONTRACT)
    [failed] = checks.failed(Built({MODELS[2]: model("error", "fact_orders", message)}), FACTS)
    assert failed.reason.endswith("status is of another type (SQL: INTEGER, contract: TEXT)")


def test_a_unit_test_that_newly_fails_is_told_with_how_its_made_up_rows_differ() -> None:
    unit = result("fail", 1, "actual differs from expected:\n\n@@,order_id\n→ ,1", "unit_test.p.fact_orders.counts")
    unit = replace(unit, resource_type="unit_test")
    [change] = checks.compare({}, {unit.unique_id: unit}, FACTS, FACTS)
    assert (change.name, change.model, change.became) == ("unit test counts", "fact_orders", Became.FAILS)
    assert (change.reason, change.differs) == ("it makes other rows than it expects", "@@,order_id\n→ ,1")
    assert checks.compare({unit.unique_id: unit}, {unit.unique_id: replace(unit, status="pass")}, FACTS, FACTS)[
        0
    ].became
    assert checks.failed(Built({unit.unique_id: unit}), FACTS) == ()
