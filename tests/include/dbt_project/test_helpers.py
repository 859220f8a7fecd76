"""Which models are helpers, and how lists are told without their names."""

from __future__ import annotations

import pytest

from include.dbt_project import helpers


@pytest.mark.parametrize("name", ["int_orders", "stg_greenery__orders", "model.p.int_orders", "model.p.stg_orders.v1"])
def test_a_helper_is_a_model_whose_name_begins_with_int_or_stg(name: str) -> None:
    assert helpers.is_helper(name)


@pytest.mark.parametrize("name", ["fact_orders", "interest", "raw.int_orders", "snapshot.p.int_x", "mint_orders", ""])
def test_others_are_none(name: str) -> None:
    assert not helpers.is_helper(name)


def test_names_are_taken_apart_and_keep_their_order() -> None:
    assert helpers.apart(["stg_b", "fact_b", "int_a", "dim_a"]) == (("fact_b", "dim_a"), ("stg_b", "int_a"))


@pytest.mark.parametrize(
    ("names", "counted"),
    [
        (["fact_a", "int_a", "dim_a"], "2 other models and 1 helper"),
        (["fact_a"], "1 other model"),
        (["int_a", "stg_a"], "2 other helpers"),
    ],
)
def test_both_are_counted(names: list[str], counted: str) -> None:
    assert helpers.counted(names, "other ") == counted
