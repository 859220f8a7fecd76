"""Which task runs which test: every test has exactly one home, and none is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from include.dbt_project.manifest import CHECK_SOURCES, CROSS_MODEL_TESTS, SNAPSHOT, Manifest


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


def snapshot(*parents: str, unique_key: str | list[str] = "id") -> dict[str, Any]:
    return {
        "resource_type": "snapshot",
        "config": {"materialized": "snapshot", "unique_key": unique_key},
        "depends_on": {"nodes": list(parents)},
        "schema": "snapshots",
        "alias": "past",
    }


def generic(name: str, column: str, *parents: str) -> dict[str, Any]:
    return {**data_test(*parents), "test_metadata": {"name": name}, "column_name": column}


SOURCES = {"raw": {}, "raw2": {}, "made": {"schema": "snapshots", "identifier": "past"}}
NODES = {
    "a": model("raw"),
    "b": model("a"),
    "c": model("b"),
    "d": model("raw"),
    "past": snapshot("raw"),
    "e": model("past", "a"),
}


def home(test: dict[str, Any]) -> str:
    facts = Manifest({**NODES, "t": test}, SOURCES)
    [known] = facts.data_tests
    found = facts.home_of(known)
    others = {*NODES, CHECK_SOURCES, CROSS_MODEL_TESTS} - {found}
    assert "t" in facts.tests_of(found)
    assert not any("t" in facts.tests_of(other) for other in others)
    return found


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        (["a"], "a"),
        (["a", "b"], "b"),
        (["a", "c"], "c"),
        (["c", "raw2"], "c"),
        (["raw", "raw2"], CHECK_SOURCES),
        (["a", "d"], CROSS_MODEL_TESTS),
        ([], CROSS_MODEL_TESTS),
        (["past"], SNAPSHOT),
        (["past", "raw"], SNAPSHOT),
        (["past", "e"], "e"),
        (["past", "d"], CROSS_MODEL_TESTS),
        (["made"], CROSS_MODEL_TESTS),  # it may not be there before the snapshots are taken
    ],
)
def test_a_test_has_one_home(parents: list[str], expected: str) -> None:
    assert home(data_test(*parents)) == expected


@pytest.mark.parametrize(
    ("test", "guards"),
    [
        (generic("unique", "id", "raw"), True),
        (generic("not_null", "id", "raw"), True),
        (generic("unique", "other", "raw"), False),
        (generic("accepted_values", "id", "raw"), False),
        (generic("unique", "id", "raw2"), False),
        ({**data_test("raw"), "tags": ["snapshot_key"]}, True),
        (data_test("raw"), False),
    ],
)
def test_a_snapshot_is_taken_after_the_key_tests_of_what_it_reads(test: dict[str, Any], *, guards: bool) -> None:
    assert ("t" in Manifest({**NODES, "t": test}, SOURCES).tests_of(SNAPSHOT)) is guards


def test_a_key_of_several_columns_is_guarded_by_the_tests_of_each() -> None:
    past = snapshot("raw", unique_key=["id", "line"])
    facts = Manifest({"past": past, "t": generic("not_null", "line", "raw")}, SOURCES)
    assert facts.tests_of(SNAPSHOT) == {"t"}


def drawn(unique_id: str, file: str, *fqn: str) -> dict[str, Any]:
    kind, package, _ = unique_id.split(".", 2)
    return {
        **model(),
        "resource_type": kind,
        "package_name": package,
        "original_file_path": file,
        "fqn": [package, *fqn],
    }


TASKS = {
    "model.shop.finance": ("models/finance/finance.sql", "models.finance.finance_model_build"),
    "model.shop.finance_days": ("models/finance/finance_days.sql", "models.finance.finance_days_model_build"),
    "model.shop.order.v2": ("models/order_v2.sql", "models.order_v2_model_build"),
    "seed.shop.countries": ("seeds/countries.csv", "seeds.countries_seed_build"),
}


def test_a_task_is_found_again_by_its_id() -> None:
    facts = Manifest({one: drawn(one, file) for one, (file, _) in TASKS.items()}, {})
    for unique_id, (_, task) in TASKS.items():
        assert facts.task_of(unique_id) == task
        assert facts.node_of(f"transform.{task}") == unique_id
    assert facts.node_of("transform.models.elsewhere.finance_model_build") == "model.shop.finance"
    assert facts.node_of("check_sources") is None


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
