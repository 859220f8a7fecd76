"""What a change of the project touches: Greenery's own project, with an edit each, parsed by dbt."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.dbt_project import manifest, release
from include.fast_cosmos.releases import Release
from include.preview.plan import compare
from include.preview.report import ColumnChange, Kind, ModelChange, Plan
from include.preview.version import Version
from tests.dbt.conftest import Dbt

pytestmark = pytest.mark.slow

CORE = "models/marts/core"
ORDERS, MODELS = f"{CORE}/fact_orders.sql", f"{CORE}/_core__models.yml"
OUTCOMES = (Kind.NEW, Kind.CHANGED, Kind.GONE)

Edit = Callable[[Path], None]
Planned = Callable[..., Plan]


def replaced(file: str, *texts: tuple[str, str]) -> Edit:
    """An edit that replaces texts, the first of each."""

    def edit(project: Path) -> None:
        said = (project / file).read_text()
        for old, new in texts:
            assert old in said
            said = said.replace(old, new, 1)
        (project / file).write_text(said)

    return edit


def written(file: str, text: str) -> Edit:
    """An edit that writes a file."""

    def edit(project: Path) -> None:
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text(text)

    return edit


def both(*edits: Edit) -> Edit:
    """Edits, one after the other."""

    def edit(project: Path) -> None:
        for one in edits:
            one(project)

    return edit


def version(project: Path, work: Path) -> Version:
    """A state of the project, as dbt parsed it."""
    file = work / "target" / "manifest.json"
    whole = json.loads(file.read_text())
    return Version("main", "1234567", Release(project, "greenery", "warehouse"), manifest.read(file), whole)


@pytest.fixture
def main(parsed: Dbt) -> Version:
    """The project as it is."""
    return version(parsed.project, parsed.work)


@pytest.fixture
def edited(parsed: Dbt, tmp_path: Path) -> Callable[[Edit], Version]:
    """The project after an edit."""

    def parse(edit: Edit) -> Version:
        made = edit_of(parsed, edit, tmp_path / str(time.monotonic_ns()))
        return version(made.project, made.work)

    return parse


def edit_of(parsed: Dbt, edit: Edit, work: Path) -> Dbt:
    """A copy of the project with an edit, parsed."""
    shutil.copytree(parsed.project, work / "dbt")
    (work / "target").mkdir()
    shutil.copy(parsed.work / "target" / "partial_parse.msgpack", work / "target")
    edit(work / "dbt")
    release.write_macros_hash(work / "dbt")
    return Dbt(work / "dbt", work).parse()


@pytest.fixture
def planned(main: Version, edited: Callable[[Edit], Version]) -> Callable[[Edit], Plan]:
    """The plan of an edit."""
    return lambda edit: compare(main, edited(edit))


def reasons(plan: Plan, *kinds: Kind) -> dict[str, tuple[str, ...]]:
    """Of the models of some kinds, by name."""
    return {one.name: one.reasons for one in plan.models if one.kind in kinds}


def named(plan: Plan, name: str) -> ModelChange:
    [found] = [one for one in (*plan.models, *plan.snapshots) if one.name == name]
    return found


def rebuilt(plan: Plan) -> set[str]:
    return {one.name for one in plan.models if one.is_rebuilt}


def incremental(of: Version) -> set[str]:
    return {node["name"] for node in of.facts.nodes.values() if node["config"]["materialized"] == "incremental"}


def test_the_same_project_touches_nothing(main: Version) -> None:
    assert compare(main, main) == Plan()


def test_a_comment_builds_nothing_in_a_preview_and_all_of_what_reads_it_in_the_next_run(
    planned: Planned, main: Version
) -> None:
    plan = planned(replaced(ORDERS, ("from events\n", "from events -- of any kind\n")))
    behind = {one for one in main.facts.downstream("model.greenery.fact_orders") if one.startswith("model.")}
    assert plan.built() == ()
    assert plan.exposures == ()
    assert named(plan, "fact_orders").reasons == ("comments",)
    assert rebuilt(plan) == {"fact_orders", *map(main.facts.title, behind)} & incremental(main)
    assert named(plan, "product_funnel_daily").reasons == ("reads fact_orders",)


def test_other_sql_changes_a_model_and_all_that_reads_it(planned: Planned, main: Version) -> None:
    plan = planned(replaced(ORDERS, ("'checkout'", "'add_to_cart'")))
    behind = {one for one in main.facts.downstream("model.greenery.fact_orders") if one.startswith("model.")}
    assert reasons(plan, *OUTCOMES) == {"fact_orders": ("SQL",)}
    assert {one.unique_id for one in plan.models if one.kind is Kind.DOWNSTREAM} == behind
    assert rebuilt(plan) == {one.name for one in plan.models} & incremental(main)
    names = [one.name for one in plan.models]
    assert names.index("fact_orders") < names.index("int_daily_figures") < names.index("daily_metrics")
    assert ("int_orders", "fact_orders") in plan.edges
    assert ("stg_greenery__orders", "int_orders") not in plan.edges
    [sales] = [one for one in plan.exposures if one.name == "sales_dashboard"]
    assert (sales.label, sales.owner) == ("Sales", "Analytics")
    assert sales.models == ("daily_metrics", "fact_orders", "repeat_purchase_indicators")


def test_a_renamed_column_is_told_with_its_type(planned: Planned) -> None:
    plan = planned(
        both(
            replaced(ORDERS, ("        orders.units,\n", "        orders.units as pieces,\n")),
            lambda project: _rename_column(project / MODELS),
        )
    )
    changed = named(plan, "fact_orders")
    assert changed.reasons == ("SQL", "columns")
    assert changed.columns == (ColumnChange("units", "bigint", None), ColumnChange("pieces", None, "bigint"))


def _rename_column(file: Path) -> None:
    before, found, after = file.read_text().partition("  - name: fact_orders\n")
    assert "- name: units\n" in after
    file.write_text(before + found + after.replace("- name: units\n", "- name: pieces\n", 1))


def test_a_model_says_its_key_its_owner_and_what_is_never_shown(planned: Planned) -> None:
    plan = planned(
        both(
            replaced(ORDERS, ("'checkout'", "'add_to_cart'")),
            replaced("models/staging/greenery/stg_greenery__orders.sql", ("select", "select distinct")),
        )
    )
    orders = named(plan, "fact_orders")
    assert (orders.key, orders.owner, orders.is_mart) == (("order_id",), "Analytics", True)
    assert {"user_id", "shipping_address", "tracking_id"} <= set(orders.personal)
    assert "status" not in orders.personal
    assert named(plan, "int_user_first_orders").key == ("user_id",)  # of two that are unique, the one that is followed
    assert not named(plan, "int_orders").is_mart
    assert not named(plan, "stg_greenery__orders").is_mart


def test_configuration_is_told_by_its_values(planned: Planned) -> None:
    plan = planned(
        replaced(
            "models/marts/product/product_funnel_daily.sql",
            ("materialized='incremental'", "materialized='table'"),
            ("'parent_key': 'cast(started_at as date)'", "'parent_key': 'cast(started_at as date)', 'in': 'x'"),
        )
    )
    assert reasons(plan, *OUTCOMES) == {
        "product_funnel_daily": ("materialized: incremental → table", "meta.follows"),
    }
    assert rebuilt(plan) == set()  # a table always is


def test_what_changes_no_row_builds_nothing(planned: Planned) -> None:
    plan = planned(
        both(
            replaced(
                f"{CORE}/dim_days.sql",
                ("with\n", "{{ config(tags=['daily'], group='product', meta={'about': 'days'}) }}\nwith\n"),
            ),
            replaced(MODELS, ("money, units and delivery, who bought", "money, units, delivery, who bought")),
            replaced(
                "models/marts/product/_product__models.yml",
                (
                    "        data_tests:\n",
                    "        data_tests:\n          - accepted_values: {arguments: {values: [a]}}\n",
                ),
            ),
        )
    )
    assert plan.built() == ()
    assert named(plan, "dim_days").reasons == ("owner", "tags", "meta.about")
    assert named(plan, "fact_orders").reasons == ("description",)
    assert plan.tests_new == ("accepted_values_fact_product_product_id__a",)
    assert [one.split(".")[2] for one in plan.tests_changed] == [*plan.tests_new]
    assert named(plan, "fact_product").reasons == ("tests",)
    assert rebuilt(plan) == set()


def test_a_macro_changes_what_uses_it_and_every_incremental_model_is_built_in_full(
    planned: Planned, main: Version
) -> None:
    plan = planned(replaced("macros/product_versions.sql", ("select", "select distinct")))
    users = {one.name for one in plan.models if one.kind is Kind.CHANGED}
    assert "int_order_items" in users  # by way of `priced_items`
    assert "dim_users" not in users
    assert named(plan, "int_order_items").reasons == ("macro product_versions",)
    assert rebuilt(plan) == incremental(main)


def test_a_comment_in_a_macro_changes_no_model(planned: Planned, main: Version) -> None:
    plan = planned(replaced("macros/priced_items.sql", ("-- Whole orders", "-- All orders")))
    assert plan.built() == ()
    assert {one.name: one.reasons for one in plan.models} == dict.fromkeys(incremental(main), ("macros or variables",))


def test_a_macro_that_dbt_itself_calls_changes_the_models_that_it_is_called_for(
    planned: Planned, main: Version
) -> None:
    plan = planned(replaced("macros/daily/changes.sql", ("except all {{ present }}", "except {{ present }}")))
    changed = reasons(plan, Kind.CHANGED)
    assert set(changed) == incremental(main)
    assert set(changed.values()) == {("macro get_incremental_replace_changed_sql",)}


def test_a_variable_changes_the_models_that_ask_for_it(planned: Planned) -> None:
    plan = planned(replaced("dbt_project.yml", ("[1, 7, 30]", "[1, 7, 31]")))
    assert reasons(plan, *OUTCOMES) == {"repeat_purchase_indicators": ("variable come_back_days",)}


def test_a_variable_in_a_file_of_variables_changes_the_models_that_ask_for_it(
    edited: Callable[[Edit], Version],
) -> None:
    """dbt takes them from dbt_project.yml or from vars.yml."""

    def moved(days: str) -> Edit:
        def edit(project: Path) -> None:
            said = yaml.safe_load((project / "dbt_project.yml").read_text())
            apart = said.pop("vars") | {"come_back_days": json.loads(days)}
            (project / "dbt_project.yml").write_text(yaml.safe_dump(said, sort_keys=False))
            (project / "vars.yml").write_text(yaml.safe_dump({"vars": apart}))

        return edit

    before, after = edited(moved("[1, 7, 30]")), edited(moved("[1, 7, 31]"))
    plan = compare(before, after)
    assert reasons(plan, *OUTCOMES) == {"repeat_purchase_indicators": ("variable come_back_days",)}
    assert rebuilt(plan) == incremental(before)


def test_a_new_model_a_moved_one_and_a_renamed_table(planned: Planned) -> None:
    def move(project: Path) -> None:
        folder = project / "models" / "marts" / "product"
        (folder / "product_stock_outs.sql").rename(folder / "stock_outs.sql")
        replaced("models/_exposures.yml", ("ref('product_stock_outs')", "ref('stock_outs')"))(project)
        for file in ("_product__models.yml", "_product__unit_tests.yml"):
            path = folder / file
            path.write_text(path.read_text().replace("product_stock_outs", "stock_outs"))
        replaced("models/_exposures.yml", ("ref('product_stock_outs')", "ref('stock_outs')"))(project)

    plan = planned(
        both(
            move,
            written(f"{CORE}/states.sql", "{{ config(contract={'enforced': false}) }} select 'x' as state"),
            replaced(f"{CORE}/order_status_changes.sql", ("with\n", "{{ config(alias='changes_of_status') }}\nwith\n")),
        )
    )
    found = {(one.name, one.kind) for one in plan.models if one.kind in OUTCOMES}
    assert found == {
        ("states", Kind.NEW),
        ("product_stock_outs", Kind.GONE),
        ("stock_outs", Kind.NEW),
        ("order_status_changes", Kind.GONE),
        ("changes_of_status", Kind.NEW),
    }
    assert not named(plan, "states").is_rebuilt
    touched = {one.name: one.models for one in plan.exposures}
    assert "stock_outs" in touched["product_dashboard"]


def test_a_mart_that_goes_where_nobody_queries_it_is_gone(planned: Planned) -> None:
    plan = planned(
        both(
            replaced(f"{CORE}/order_status_changes.sql", ("with\n", "{{ config(schema='staging') }}\nwith\n")),
            replaced(
                "models/marts/product/product_stock_outs.sql",
                ("with\n", "{{ config(materialized='ephemeral', contract={'enforced': false}) }}\nwith\n"),
            ),
        )
    )
    assert reasons(plan, Kind.NEW) == {
        "order_status_changes": ("schema: none → staging",),
        "product_stock_outs": ("contract", "materialized: table → ephemeral", "columns"),
    }
    found = [(one.name, one.kind, one.is_mart) for one in plan.models if one.kind in OUTCOMES]
    assert sorted(found) == [
        (name, kind, kind is Kind.GONE)
        for name in ("order_status_changes", "product_stock_outs")
        for kind in (Kind.GONE, Kind.NEW)
    ]


def test_what_the_message_tells_otherwise_is_told(planned: Planned) -> None:
    plan = planned(replaced("models/marts/_metrics.yml", ("{meta: {in_message: 1,", "{meta: {")))
    assert len(plan.figures_gone) == 1
    assert plan.figures_new == plan.models == ()
    renamed = planned(replaced("models/marts/_metrics.yml", (f"label: {plan.figures_gone[0]}", "label: Sold")))
    assert (renamed.figures_gone, renamed.figures_new) == (plan.figures_gone, ("Sold",))


def test_a_unit_test_that_expects_something_else_is_changed(planned: Planned) -> None:
    file = "models/marts/product/_product__unit_tests.yml"
    plan = planned(replaced(file, ("description: ", "description: Now ")))
    assert plan.tests_changed == ()


def test_a_seed_is_its_rows(edited: Callable[[Edit], Version]) -> None:
    seed = "seeds/states.csv"
    plan = compare(edited(written(seed, "state\nOhio\n")), edited(written(seed, "state\nIowa\n")))
    assert reasons(plan, *OUTCOMES) == {"states": ("rows of the seed",)}


def test_a_snapshot_is_told_apart_and_what_reads_it_is_downstream(planned: Planned, main: Version) -> None:
    plan = planned(replaced("snapshots/products_snapshot.sql", ("select", "select distinct")))
    [snapshot] = plan.snapshots
    assert (snapshot.kind, snapshot.reasons, snapshot.key) == (Kind.CHANGED, ("SQL",), ("dbt_scd_id",))
    behind = main.facts.downstream(snapshot.unique_id)
    assert {one.unique_id for one in plan.models if one.kind is Kind.DOWNSTREAM} == behind


CHECKSUMS = (
    "{% for id, node in graph.nodes.items() if node.config.materialized == 'incremental' %}"
    "{{ node.name }} {{ model_checksum(id) }}\n{% endfor %}"
)


def checksums(of: Dbt) -> set[str]:
    """Each incremental model with what the daily run compares."""
    [found] = of.results("compile", "--inline", CHECKSUMS, "--no-introspect", "--no-populate-cache")
    return set(found.node.compiled_code.split("\n")) - {""}


@pytest.mark.parametrize(
    "edit",
    [
        replaced("models/staging/greenery/stg_greenery__promos.sql", ("select", "-- why\nselect")),
        replaced(f"{CORE}/dim_users.sql", ("with\n", "{{ config(tags=['people']) }}\nwith\n")),
    ],
    ids=["a comment", "a tag"],
)
def test_what_is_built_in_full_is_what_the_daily_run_would(parsed: Dbt, edit: Edit, tmp_path: Path) -> None:
    made = edit_of(parsed, edit, tmp_path / "edited")
    plan = compare(version(parsed.project, parsed.work), version(made.project, made.work))
    assert rebuilt(plan) == {one.split()[0] for one in checksums(made) - checksums(parsed)}


def _another_dbt(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {**whole, "metadata": {**whole["metadata"], "dbt_version": "9.9.9"}}


def test_another_dbt_may_change_every_model(main: Version) -> None:
    plan = compare(main, replace(main, whole=_another_dbt(main.whole)))
    assert len(plan.models) == len(main.facts.models)
    assert {one.reasons for one in plan.models} == {(f"dbt {main.whole['metadata']['dbt_version']} → 9.9.9",)}
    assert rebuilt(plan) == incremental(main)


def test_a_source_that_lies_elsewhere_changes_what_reads_it(main: Version) -> None:
    sources = {**main.facts.sources}
    of_users = "source.greenery.greenery.users"
    sources[of_users] = sources[of_users] | {"relation_name": '"w"."loaded"."users"'}
    plan = compare(main, replace(main, facts=replace(main.facts, sources=sources)))
    assert reasons(plan, *OUTCOMES) == {"stg_greenery__users": ("source raw.users",)}
    assert "dim_users" in reasons(plan, Kind.DOWNSTREAM)
