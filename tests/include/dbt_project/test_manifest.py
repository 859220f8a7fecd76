"""Which task runs which test: every test has exactly one home, and none is forgotten."""

from __future__ import annotations

from typing import Any

from include.dbt_project.manifest import Manifest


def model(*parents: str) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "config": {"materialized": "table"},
        "depends_on": {"nodes": list(parents)},
        "columns": {},
    }


def data_test(*parents: str, severity: str = "ERROR") -> dict[str, Any]:
    return {
        "resource_type": "test",
        "name": "a_test",
        "config": {"severity": severity},
        "depends_on": {"nodes": list(parents)},
        "columns": {},
    }


NODES = {"a": model("raw"), "b": model("a"), "c": model("b"), "d": model("raw")}


def across(**tests: dict[str, Any]) -> set[str]:
    manifest = Manifest({**NODES, **tests}, {"raw": {"columns": {}}, "raw2": {"columns": {}}})
    return {test.unique_id for test in manifest.tests_of_no_single_model}


def test_a_test_of_one_model_runs_with_the_model() -> None:
    assert across(t=data_test("a")) == set()


def test_a_test_of_a_model_and_its_parent_runs_with_the_model() -> None:
    assert across(t=data_test("a", "b")) == set()


def test_a_test_of_a_model_and_a_source_runs_with_the_model() -> None:
    assert across(t=data_test("c", "raw2")) == set()


def test_a_test_of_sources_is_check_sources_work() -> None:
    assert across(t=data_test("raw", "raw2")) == set()


def test_a_test_of_siblings_crosses_models() -> None:
    assert across(t=data_test("a", "d")) == {"t"}


def test_a_test_of_a_model_and_its_grandparent_runs_with_the_model() -> None:
    assert across(t=data_test("a", "c")) == set()


def test_a_test_without_a_parent_crosses_models() -> None:
    assert across(t=data_test()) == {"t"}


def test_personal_columns_are_known_from_meta_in_either_place() -> None:
    node = model() | {
        "columns": {
            "email": {"meta": {"personal": True}},
            "phone": {"config": {"meta": {"personal": True}}},
            "user_id": {"meta": {}},
        }
    }
    assert Manifest({"a": node}, {}).personal_columns == {"email", "phone"}


def test_a_seed_depends_on_nothing_and_breaks_nothing() -> None:
    seed = {"name": "s", "resource_type": "seed", "depends_on": {"macros": []}, "config": {"materialized": "seed"}}
    model = {
        "name": "m",
        "resource_type": "model",
        "depends_on": {"nodes": ["seed.p.s"]},
        "config": {"materialized": "table"},
    }
    facts = Manifest({"seed.p.s": seed, "model.p.m": model}, {})
    assert (facts.upstream("model.p.m"), facts.downstream("seed.p.s")) == ({"seed.p.s"}, {"model.p.m"})
    assert facts.tests_of_no_single_model == []
