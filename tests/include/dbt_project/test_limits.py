"""What dbt allows and can't be run here is refused when the project is read, with the file and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from include.dbt_project import limits, release
from include.dbt_project.manifest import Manifest
from include.fast_cosmos.releases import ProjectError

LONG = "a" * 64
HOOKS = {
    "materialized": "incremental",
    "pre-hook": [{"sql": "{{ before_build() }}"}],
    "post-hook": [{"sql": "{{ after_build() }}"}],
}
TAKES_CHANGES = HOOKS | {
    "incremental_strategy": "replace_changed",
    "meta": {"key": "order_id", "follows": [{"rows_where": "price is null"}]},
}


@pytest.fixture(autouse=True)
def _warehouse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_DB", "warehouse")
    monkeypatch.setenv("GREENERY_RAW_SCHEMA", "loaded")


def node(kind: str = "model", package: str = "shop", **other: Any) -> dict[str, Any]:
    file = f"{kind}s/marts/one.sql"
    config = {"materialized": {"model": "table"}.get(kind, kind), **other.pop("config", {})}
    return {
        "resource_type": kind,
        "package_name": package,
        "name": "one",
        "alias": "one",
        "config": config,
        "schema": "snapshots" if kind == "snapshot" else "analytics_next",
        "database": "warehouse",
        "original_file_path": file,
        "depends_on": {"nodes": []},
        "columns": {},
        "raw_code": "",
        **other,
    }


def said(*nodes: dict[str, Any]) -> str | None:
    return limits.problem(Manifest({f"{n['resource_type']}.{n['package_name']}.one": n for n in nodes}, {}))


@pytest.mark.parametrize("kind", ["model", "seed", "snapshot", "test"])
def test_what_can_be_run_is_not_refused(kind: str) -> None:
    assert said(node(kind)) is None


@pytest.mark.parametrize(
    ("refused", "because"),
    [
        (node(database="elsewhere"), "goes to database elsewhere"),
        (node(alias=LONG), f"would be called {LONG}"),
        (node("seed", alias="ü" * 32), "Postgres takes 63 bytes"),
        (node(schema="analytics"), "goes to schema analytics, which is not dbt's"),
        (node(schema="ops"), "goes to schema ops"),
        (node("seed", schema="loaded"), "goes to schema loaded"),
        (node("snapshot", schema="analytics_next"), r"in dbt_project.yml for all of them: `snapshots: {+schema: snap"),
        (node("test", config={"store_failures": True}), r"`data_tests: {+schema: audit}`"),
        (node(config={"materialized": "incremental"}), "leaves no word of what it builds"),
        (node(config=HOOKS | {"pre-hook": [{"sql": "select 1"}]}), "Give all models the two hooks"),
        (node(config=TAKES_CHANGES, schema="inner"), "takes changes alone and goes to schema inner"),
        (node(language="python"), "is written in python"),
        (node(original_file_path="models/my marts/one.sql"), 'a folder that is called "my marts"'),
        (node(original_file_path="models/v1.0/one.sql"), 'a folder that is called "v1.0"'),
        (node(original_file_path="models/a b/one.sql", config={"materialized": "ephemeral"}), 'called "a b"'),
        (node(original_file_path=f"models/{'a/' * 120}one.sql"), "Shorten them"),
        (node(config={"latest_version_pointer": {"enabled": True}}), "asks for a `latest_version_pointer`"),
    ],
)
def test_what_can_not_be_run_is_refused_with_its_file_and_a_way_out(refused: dict[str, Any], because: str) -> None:
    found = said(refused)
    assert found
    assert found.startswith(refused["original_file_path"])
    assert because in found


def test_an_incremental_model_that_leaves_word_is_not_refused() -> None:
    assert said(node(config=HOOKS)) is None


def test_two_nodes_of_one_task_are_refused() -> None:
    found = said(node(), node(package="other"))
    assert found
    assert found.count("is drawn as the task models.marts.one_model_build") == 2


def test_snapshots_of_one_name_are_refused() -> None:
    found = said(node("snapshot"), node("snapshot", package="other"))
    assert found
    assert found.count("snapshot one has the name of another package's") == 2


def test_a_snapshot_of_what_reads_a_snapshot_is_refused() -> None:
    nodes = {
        "snapshot.shop.first": node("snapshot", name="first"),
        "model.shop.between": node(name="between", depends_on={"nodes": ["snapshot.shop.first"]}),
        "snapshot.shop.second": node("snapshot", name="second", depends_on={"nodes": ["model.shop.between"]}),
    }
    found = limits.problem(Manifest(nodes, {}))
    assert found
    assert "snapshot second reads between, which reads a snapshot itself" in found


@pytest.mark.parametrize("kind", ["view", "materialized_view"])
@pytest.mark.parametrize("through", ["directly", "through an ephemeral model"])
def test_a_view_that_would_be_dropped_with_what_it_reads_is_refused(kind: str, through: str) -> None:
    elsewhere = node(name="elsewhere", schema="staging", original_file_path="models/elsewhere.sql")
    between = node(
        name="between",
        original_file_path="models/between.sql",
        config={"materialized": "ephemeral"},
        depends_on={"nodes": ["model.shop.elsewhere"]},
    )
    read = "model.shop.elsewhere" if through == "directly" else "model.shop.between"
    view = node(config={"materialized": kind}, depends_on={"nodes": [read]})
    nodes = {"model.shop.elsewhere": elsewhere, "model.shop.between": between, "model.shop.one": view}
    found = limits.problem(Manifest(nodes, {}))
    assert found
    assert "model one is a view that people query, and reads elsewhere in another schema" in found
    elsewhere["schema"] = "analytics_next"
    assert limits.problem(Manifest(nodes, {})) is None


def test_a_function_is_refused() -> None:
    function = {"name": "f", "original_file_path": "functions/f.sql"}
    assert limits.problem(Manifest({}, {}, functions={"function.shop.f": function})) == (
        "functions/f.sql: function f has no task that would make it. Make it by hand, or in an `on-run-start` hook."
    )


def test_an_ephemeral_model_goes_nowhere() -> None:
    assert said(node(alias=LONG, database="elsewhere", config={"materialized": "ephemeral"})) is None


@pytest.mark.db
def test_a_project_that_can_not_be_run_keeps_the_last_release(released: Path) -> None:
    made = release.refresh()
    (released / "models/two.sql").write_text("{{ config(database='elsewhere') }} select 2 as two")
    assert release.refresh() == made
    said = release.problem()
    assert said
    assert "models/two.sql: model two goes to database elsewhere" in said.message


@pytest.mark.db
def test_a_project_that_never_could_be_run_is_an_error(project: Path) -> None:
    (project / f"models/{LONG}.sql").write_text("select 1 as one")
    with pytest.raises(ProjectError, match="Give it a shorter `alias`"):
        release.refresh()
