"""Causes that are ours, by comparing with the last publication: of a model, of raw as a whole, of history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers
from include.dbt_project.counted import counted
from include.dbt_project.manifest import Manifest
from include.publish.exchange import exchange
from include.receipts import basis, ours
from include.results import node_results, publications, runs
from include.results.nodes import NodeResult

pytestmark = pytest.mark.db


def model(name: str, *parents: str, checksum: str = "1") -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "schema": "analytics_next",
        "config": {"materialized": "table"},
        "depends_on": {"nodes": [f"model.p.{parent}" for parent in parents]},
        "checksum": {"checksum": checksum},
    }


# Revenue is counted by orders, which come by way of figures; users by users; nobody says how the rest is counted.
NODES = {
    f"model.p.{node['name']}": node
    for node in (
        model("stg_orders"),
        model("orders", "stg_orders"),
        model("users"),
        model("figures", "orders", "users"),
        model("daily_metrics", "figures"),
        model("products", "orders"),
    )
}
METRICS = {"revenue": "orders", "new_users": "users"}
MANIFEST = Manifest(
    NODES,
    {"source.p.shop.orders": {"schema": "raw", "name": "orders"}},
    metrics={name: {"name": name, "type": "simple", "type_params": {"measure": {"name": name}}} for name in METRICS},
    semantic_models={
        name: {
            "node_relation": {"alias": of},
            "depends_on": {"nodes": [f"model.p.{of}"]},
            "defaults": {"agg_time_dimension": "day"},
            "entities": [{"name": of, "type": "primary"}],
            "dimensions": [{"name": "day", "type": "time"}],
            "measures": [{"name": name, "agg": "sum"}],
        }
        for name, of in METRICS.items()
    },
)


def do(db: Connection, statement: str) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def begin(db: Connection, number: int, *, full_refresh: bool = False) -> None:
    """A run begins and builds; users takes changes alone, if it may."""
    runs.begin(db, f"run {number}", "release")
    rebuilt = buffers.begin(db, f"run {number}", full_refresh=full_refresh)
    do(
        db,
        "create table if not exists analytics_next.users ();"
        " insert into ops.buffer_models (schema_oid, unique_id, identifier, checksum, rebuilt, written)"
        f" values ('analytics_next'::regnamespace, 'model.p.users', 'users', 'c0ffee', {rebuilt}, true)"
        f" on conflict (schema_oid, unique_id) do update set rebuilt = {rebuilt}",
    )


@pytest.fixture
def published(db: Connection) -> Connection:
    """A shop after three publishes, of which two built everything; the fourth run has begun."""
    with db.cursor() as cursor:
        raw.create(cursor)
    for number in (1, 2, 3, 4):
        begin(db, number)
        assert told(db) == {}
        if number < 4:
            exchange(f"run {number}", buffers.current(db), manifest=MANIFEST)
    return db


def told(db: Connection, manifest: Manifest = MANIFEST) -> dict[str, list[str]]:
    """What is said of a metric, if anything is."""
    found = ours.causes(db, manifest, counted(manifest))
    said = {name: [cause.says for cause in found.of(name)] for name in (*METRICS, "other")}
    return {name: causes for name, causes in said.items() if causes}


def everywhere(says: str) -> dict[str, list[str]]:
    return {name: [says] for name in (*METRICS, "other")}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("stg_orders",), {"revenue": "model stg_orders changed", "other": "model stg_orders changed"}),
        (("users",), {"new_users": "model users changed", "other": "model users changed"}),
        (("daily_metrics",), dict.fromkeys((*METRICS, "other"), "model daily_metrics changed")),
        (("products",), {}),
        (
            ("stg_orders", "orders", "users", "figures", "daily_metrics"),
            {
                "revenue": "models daily_metrics, figures, orders and 1 more changed",
                "new_users": "models daily_metrics, figures and users changed",
                "other": "models daily_metrics, figures, orders and 2 more changed",
            },
        ),
    ],
    ids=" ".join,
)
def test_a_changed_model_is_a_cause_of_what_comes_by_way_of_it(
    published: Connection, changed: tuple[str, ...], said: dict[str, str]
) -> None:
    nodes = NODES | {f"model.p.{name}": NODES[f"model.p.{name}"] | {"checksum": {"checksum": "2"}} for name in changed}
    assert told(published, replace(MANIFEST, nodes=nodes)) == {name: [says] for name, says in said.items()}


def test_a_new_model_and_another_macro_are_causes(published: Connection) -> None:
    nodes = NODES | {
        "model.p.promos": model("promos"),
        "model.p.figures": model("figures", "orders", "users", "promos"),
    }
    assert told(published, replace(MANIFEST, nodes=nodes)) == {"other": ["model promos changed"]}
    assert told(published, replace(MANIFEST, macros_hash="another")) == everywhere(
        "a macro or a variable of the models changed"
    )


def test_a_full_build_that_somebody_asked_for_is_a_cause(published: Connection) -> None:
    begin(published, 4, full_refresh=True)
    assert told(published) == everywhere("everything was built anew")


def test_raw_made_anew_is_a_cause_and_the_full_build_that_it_takes_is_none(published: Connection) -> None:
    do(published, "truncate raw.orders")
    begin(published, 4)
    assert told(published) == everywhere("raw.orders was emptied or made anew")
    exchange("run 4", buffers.current(published), manifest=MANIFEST)
    begin(published, 5)
    assert do(published, "select rebuild from ops.buffers order by since") == [(False,), (True,)]
    assert told(published) == {}, "it was told"


def test_history_that_was_accepted_or_restored_is_a_cause_once(published: Connection) -> None:
    publications.decide(published, publications.ACCEPT_HISTORY, None, "ada", "a new shop")
    assert told(published) == everywhere("the snapshots were restored or changed, and accepted")
    exchange("run 4", buffers.current(published), manifest=MANIFEST)
    begin(published, 5)
    assert told(published) == {}
    do(published, "update ops.publications set schema_oid = 0; delete from ops.watermarks; delete from ops.buffers")
    begin(published, 5)
    assert told(published) == everywhere("the warehouse was restored from a backup")


def test_a_publication_stands_on_the_loads_before_it_and_each_text_of_sql_is_kept_once(published: Connection) -> None:
    """Be that a view of a shop's own table, as on the second day. And a rollback stands on the same."""
    since = "cast('2026-11-2{} 06:00:00.123456+00' as timestamp with time zone)"
    for number, rows in ((4, 10), (5, 20)):
        if number == 5:
            do(published, "alter table raw.loads set schema staging; create view raw.loads as table staging.loads")
        do(published, f"insert into raw.loads values ('orders', clock_timestamp(), {rows})")
        begin(published, number)
        do(published, f"insert into raw.loads values ('orders', clock_timestamp() + interval '1 s', {rows + 1})")
        ran = NodeResult("model.p.orders", "model", "orders", "success", None, None, "", 0.1, 1)
        code = f"select * from stg_orders where _loaded_at > {since.format(number)} and day > '2026-01-01'"
        node_results.keep_compiled(published, f"run {number}", [replace(ran, compiled_sql=code)])
        exchange(f"run {number}", buffers.current(published), manifest=MANIFEST)
        live = publications.live(published)
        assert [(one.table, one.rows) for one in basis.loads(published, live.publication_id)] == [("orders", rows)]
        [sql] = [one.sql for one in basis.models(published, live.publication_id) if one.sql]
        assert sql == code.replace(f"2026-11-2{number} 06:00:00.123456+00", "…")
    assert do(published, "select count(*) from ops.code") == [(1,)]
    former = publications.former(published, "analytics_next")
    exchange(former.run_id, buffers.current(published), as_of=former.data_as_of)
    back = publications.live(published)
    assert basis.loads(published, back.publication_id) == basis.loads(published, former.publication_id)
    assert basis.models(published, back.publication_id) == basis.models(published, former.publication_id)
    assert len(basis.models(published, back.publication_id)) == len(NODES)
    as_of = "select count(distinct (raw_as_of, macros)) from ops.publications where run_id = 'run 4'"
    assert do(published, as_of) == [(1,)]
