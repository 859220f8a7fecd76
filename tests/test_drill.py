"""What `make drill` takes for a difference; the drill itself takes minutes."""

from __future__ import annotations

from benchmarks.drill import differences

FIGURES = {"fact_orders": ["(1,10.00)", "(2,20.00)"], "dim_users": ["(a)"]}


def test_what_is_as_it_was_differs_in_nothing() -> None:
    assert differences(FIGURES, {"dim_users": ["(a)"], "fact_orders": ["(2,20.00)", "(1,10.00)"]}) == []


def test_another_cent_a_missing_table_and_a_row_that_is_there_twice_are_differences() -> None:
    after = {"fact_orders": ["(1,10.01)", "(2,20.00)"]}
    assert differences(FIGURES, after) == [
        "dim_users: 1 rows are gone and 0 are new",
        "  - (a)",
        "fact_orders: 1 rows are gone and 1 are new",
        "  - (1,10.00)",
        "  + (1,10.01)",
    ]
    assert differences({"t": ["(1)"]}, {"t": ["(1)", "(1)"]}) == ["t: 0 rows are gone and 0 are new"]
