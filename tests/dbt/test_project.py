"""What the manifest says of the project as a whole: documented, tested, owned, drawn in the right order."""

from __future__ import annotations

import re

from dbt.artifacts.resources.types import NodeType
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import GenericTestNode, ModelNode, SingularTestNode, SnapshotNode, SourceDefinition

from include import raw
from include.dbt_project import follows
from include.dbt_project.manifest import read
from include.settings import PROJECT_ROOT
from include.unusual import observe
from tests.dbt.conftest import PROJECT, Dbt

# By name, how a column is marked: true, or the key that it holds.
PERSONAL = {
    "first_name": True,
    "last_name": True,
    "email": True,
    "phone_number": True,
    "address": True,
    "zipcode": True,
    "shipping_address": True,
    "shipping_zipcode": True,
    "tracking_id": True,
    "page_url": True,
    "user_id": "user_id",
    "user_product_id": "user_id",
    "address_id": "address_id",
    "shipping_address_id": "address_id",
}


def models(manifest: Manifest) -> list[ModelNode]:
    return [node for node in manifest.nodes.values() if node.resource_type == NodeType.Model]


def marts(manifest: Manifest) -> list[ModelNode]:
    return [model for model in models(manifest) if model.fqn[1] == "marts"]


def history(manifest: Manifest) -> set[str]:
    """The names of the marts that descend from a snapshot, and so are built after it."""
    left, found = [snapshot.unique_id for snapshot in snapshots(manifest)], set()
    while left:
        children = {child for child in manifest.child_map[left.pop()] if child in manifest.nodes}
        found |= {child for child in children if manifest.nodes[child].resource_type == NodeType.Model}
        left += children
    return {manifest.nodes[unique_id].name for unique_id in found}


def snapshots(manifest: Manifest) -> list[SnapshotNode]:
    return [node for node in manifest.nodes.values() if node.resource_type == NodeType.Snapshot]


def raw_sources(manifest: Manifest) -> list[SourceDefinition]:
    return [source for source in manifest.sources.values() if source.source_name == "greenery"]


def generic_tests(manifest: Manifest, unique_id: str) -> dict[str, set[str]]:
    """The generic tests that a node has by itself: by kind, the columns they are on."""
    found: dict[str, set[str]] = {}
    for node in manifest.nodes.values():
        if isinstance(node, GenericTestNode) and node.depends_on.nodes == [unique_id]:
            found.setdefault(node.test_metadata.name, set()).add(node.column_name or "")
    return found


def test_parses_without_a_warning(project: Dbt):
    assert project.warnings == ()


def test_asks_nothing_of_the_package_hub():
    assert not list(PROJECT.glob("*packages.yml")) + list(PROJECT.glob("dependencies.yml"))


def test_every_description_begins_with_the_grain(manifest: Manifest):
    described = {
        node.name: node.description for node in (*models(manifest), *snapshots(manifest), *manifest.sources.values())
    }
    assert {name for name, description in described.items() if not description.startswith("One row per ")} == set()


def test_every_declared_column_is_described(manifest: Manifest):
    nodes = (*models(manifest), *snapshots(manifest), *raw_sources(manifest))
    assert all(node.columns for node in nodes)
    assert [
        (node.name, name) for node in nodes for name, column in node.columns.items() if not column.description
    ] == []


def test_every_model_and_snapshot_has_its_key_tested(manifest: Manifest):
    for node in (*models(manifest), *snapshots(manifest)):
        found = generic_tests(manifest, node.unique_id)
        assert found.get("unique", set()) & found.get("not_null", set()), f"{node.name} has no key"


def test_every_source_has_its_key_tested(manifest: Manifest):
    for source in raw_sources(manifest):
        found, key = generic_tests(manifest, source.unique_id), set(raw.TABLES[source.name].key)
        assert key <= found["not_null"], source.name
        assert key <= found["unique"] if len(key) == 1 else "unique_combination" in found, source.name


def test_sources_declare_the_raw_tables_with_their_types(manifest: Manifest):
    declared = {s.name: {column.name: column.data_type for column in s.columns.values()} for s in raw_sources(manifest)}
    assert declared == {table.name: table.columns | {"_loaded_at": "timestamptz"} for table in raw.TABLES.values()}


def test_every_raw_table_has_a_freshness(manifest: Manifest):
    for source in raw_sources(manifest):
        assert source.freshness.warn_after.count, source.name
        assert source.freshness.error_after.count, source.name


def test_mart_is_a_table_with_a_contract_in_the_folder_of_those_who_ask_for_it(manifest: Manifest):
    for mart in marts(manifest):
        assert mart.fqn == ["greenery", "marts", mart.group, mart.name]
        assert mart.config.materialized in ("table", "incremental"), mart.name
        assert (mart.config.contract.enforced, mart.schema) == (True, "analytics_next"), mart.name


def test_raw_tables_say_what_dates_their_rows(project: Dbt):
    tables = {one.name: one for one in observe.tables(read(project.work / "target" / "manifest.json"), "raw")}
    assert {name: one.dated_by for name, one in tables.items()} == {
        "users": "created_at",
        "orders": "created_at",
        "events": "created_at",
        **dict.fromkeys(("addresses", "products", "promos", "order_items"), ""),
    }
    assert {"event_id", "user_id", "product_id", "page_url"} <= tables["events"].counted_only
    assert "event_type" not in tables["events"].counted_only


def test_every_incremental_mart_follows_what_it_reads(project: Dbt):
    facts = read(project.work / "target" / "manifest.json")
    assert [problem for one in facts.models for problem in follows.problems(facts, one, "raw")] == []


def test_every_column_of_a_mart_has_a_type(manifest: Manifest):
    columns = [(mart.name, column) for mart in marts(manifest) for column in mart.columns.values()]
    assert [(mart, column.name) for mart, column in columns if not column.data_type] == []


def test_every_model_has_a_unit_test(manifest: Manifest):
    tested = {unit_test.model for unit_test in manifest.unit_tests.values()}
    assert {model.name for model in models(manifest)} - tested == set()


def test_what_a_model_takes_of_changes_has_a_unit_test(manifest: Manifest):
    """A filter that is lost shows in days only on an old key that nobody touched."""
    asked = {
        unit_test.model
        for unit_test in manifest.unit_tests.values()
        if unit_test.overrides and "only_changed" in unit_test.overrides.macros
    }
    assert {model.name for model in models(manifest) if "only_changed" in model.raw_code} - asked == set()


def test_staging_is_one_view_a_raw_table(manifest: Manifest):
    staging = {model.name: model for model in models(manifest) if model.fqn[1] == "staging"}
    assert set(staging) == {f"stg_greenery__{table}" for table in raw.TABLES}
    assert {(model.config.materialized, model.schema) for model in staging.values()} == {("view", "staging")}


def test_personal_data_is_marked(manifest: Manifest):
    for node in (*models(manifest), *snapshots(manifest), *raw_sources(manifest)):
        for name, column in node.columns.items():
            assert column.config.meta.get("personal") == PERSONAL.get(name), f"{node.name}.{name}"


def test_a_snapshot_holds_whose_an_order_is_and_its_parcel_and_nothing_else_that_is_personal(manifest: Manifest):
    held = {name for snapshot in snapshots(manifest) for name in snapshot.columns if name in PERSONAL}
    assert held == {"user_id", "tracking_id"}


def test_what_an_erasure_empties_in_raw_is_what_is_marked(manifest: Manifest):
    marked = {
        source.name: {name for name, column in source.columns.items() if column.config.meta.get("personal") is True}
        for source in raw_sources(manifest)
    }
    assert {name: marks for name, marks in marked.items() if marks} == {
        table.name: set(table.personal) for table in raw.TABLES.values() if table.personal
    }


def test_everything_has_an_owner_with_a_slack_handle(manifest: Manifest):
    handles = {group.name: group.config.meta["slack"] for group in manifest.groups.values() if group.owner.name}
    owned = {node.name: node.config.group for node in (*models(manifest), *snapshots(manifest))}
    owned |= {
        thing.name: thing.config.group for thing in (*manifest.semantic_models.values(), *manifest.metrics.values())
    }
    owned |= {source.name: source.config.meta["group"] for source in manifest.sources.values()}
    assert {name: group for name, group in owned.items() if group not in handles} == {}


def test_the_page_of_models_names_each(manifest: Manifest):
    page = (PROJECT_ROOT / "docs" / "models.md").read_text()
    named = {name.replace("…", "stg_greenery__") for name in re.findall(r"`([\w…]+)`", page)}
    assert {node.name for node in (*models(manifest), *snapshots(manifest))} <= named


def test_every_mart_is_read_by_an_exposure(manifest: Manifest):
    read = {node for exposure in manifest.exposures.values() for node in exposure.depends_on.nodes}
    assert {mart.unique_id for mart in marts(manifest)} <= read


def daily_metrics(manifest: Manifest) -> list[str]:
    """The names in `daily_metrics`, as its own test accepts them."""
    [accepted] = [
        node.test_metadata.kwargs["values"]
        for node in manifest.nodes.values()
        if isinstance(node, GenericTestNode)
        and node.test_metadata.name == "accepted_values"
        and node.attached_node == "model.greenery.daily_metrics"
    ]
    return accepted


def test_every_daily_metric_is_defined(manifest: Manifest):
    assert set(daily_metrics(manifest)) <= {metric.name for metric in manifest.metrics.values()}


def test_every_metric_and_all_it_is_made_of_is_described(manifest: Manifest):
    models = manifest.semantic_models.values()
    described = [*manifest.metrics.values(), *models, *(measure for model in models for measure in model.measures)]
    assert [thing.name for thing in described if not thing.description] == []


def test_every_test_has_a_parent_and_none_spans_transform_and_history(project: Dbt, manifest: Manifest):
    descendants = project.names("--select", "path:snapshots+")
    history = {node.unique_id for node in (*snapshots(manifest), *models(manifest)) if node.name in descendants}
    for node in manifest.nodes.values():
        if node.resource_type == NodeType.Test:
            parents = set(node.depends_on.nodes)
            assert parents, node.name
            assert parents <= history or not parents & history, node.name


def test_transform_is_every_model_that_descends_from_no_snapshot(project: Dbt, manifest: Manifest):
    kinds = ("--resource-type", "model", "--resource-type", "snapshot")
    descendants = project.names("--select", "path:snapshots+", *kinds)
    everything = {node.name for node in (*models(manifest), *snapshots(manifest))}
    assert project.names("--selector", "transform", *kinds) == everything - descendants
    assert history(manifest) <= descendants


def test_snapshot_takes_the_snapshots_with_the_key_tests_of_their_sources(project: Dbt):
    selected = project.names("--selector", "snapshot")
    assert {"orders_snapshot", "products_snapshot", "order_items_snapshot"} <= selected
    assert {name for name in selected if name.startswith("source_")} == {
        "source_not_null_greenery_orders_order_id",
        "source_unique_greenery_orders_order_id",
        "source_not_null_greenery_products_product_id",
        "source_unique_greenery_products_product_id",
        "source_not_null_greenery_order_items_order_id",
        "source_not_null_greenery_order_items_product_id",
        "source_unique_combination_greenery_order_items_order_id__product_id",
    }


def test_sources_are_the_tests_of_the_raw_tables(project: Dbt, manifest: Manifest):
    of_sources = {
        node.name
        for node in manifest.nodes.values()
        if node.resource_type == NodeType.Test and all(parent.startswith("source.") for parent in node.depends_on.nodes)
    }
    assert project.names("--selector", "sources", "--resource-type", "test") == of_sources


def test_what_people_type_can_not_hold_the_publish(manifest: Manifest) -> None:
    of_text = {"well_formed", "is_zip_code", "unique_but_for_case"}
    tests = [
        node
        for node in manifest.nodes.values()
        if isinstance(node, GenericTestNode) and node.test_metadata.name in of_text
    ]
    assert {node.test_metadata.name for node in tests} == of_text
    assert [node.name for node in tests if node.config.severity.lower() != "warn"] == []


# What warns although every row may have it, and why people may still have what is made of them.
WARN_OF_ANY = {
    "well_formed": "no figure is made of text, and who types it must not hold the publish",
    "is_zip_code": "as well_formed",
    "unique_but_for_case": "no figure counts keys by how they are written",
    "raw_has_undeclared_columns": "no model reads them",
    "products_changed_under_an_old_stamp": "the history has the change, by the time of the run",
    "stamps_from_the_future": "the rows are built anew each day, and right",
}


def test_what_warns_of_a_row_that_figures_are_made_of_holds_the_publish_where_most_are_so(manifest: Manifest) -> None:
    """A new warning either has a test beside it for most rows, or says here why it needs none."""

    def kind(test: GenericTestNode | SingularTestNode) -> str:
        return test.test_metadata.name if isinstance(test, GenericTestNode) else test.name

    tests = [node for node in manifest.nodes.values() if node.resource_type == NodeType.Test]
    guarded = {node.depends_on.nodes[0] for node in tests if kind(node) == "holds_for_most"}
    warning = [node for node in tests if node.config.severity.lower() == "warn"]
    assert {kind(node) for node in warning if node.depends_on.nodes[0] not in guarded} == WARN_OF_ANY.keys()
