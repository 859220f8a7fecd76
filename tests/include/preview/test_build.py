"""A version of the project, built in a sandbox: what is asked for, with the rest from where it is, and no more."""

from __future__ import annotations

import pytest

from include import settings
from include.local.progress import silent
from include.preview import before, build
from include.warehouse.relation import Relation
from include.warehouse.sandbox import Sandbox
from tests.include.preview import shop
from tests.include.preview.shop import Previewed

pytestmark = pytest.mark.db

BUYERS, RICHEST, ORDERS, PROMOTIONS, SEEN = (
    f"model.small.{name}" for name in ("buyers", "richest", "orders", "promotions", "stg_orders")
)
LIVE = {one: Relation("analytics", one.rpartition(".")[2]) for one in (BUYERS, RICHEST, ORDERS, PROMOTIONS)}


def test_the_rest_is_read_from_where_it_is(previewed: Previewed) -> None:
    _, new = previewed.versions()
    built = build.build(new, previewed.here, [BUYERS, RICHEST], LIVE, silent())
    assert built.relations == LIVE | {one: Relation("preview_ana", LIVE[one].name) for one in (BUYERS, RICHEST)}
    assert previewed.rows(built.relations[BUYERS]) == [("ann", 30), ("bob", 14)]
    assert built.costs.keys() == {BUYERS, RICHEST}
    assert built.costs[BUYERS].rows == 2
    statuses = {one.name: one.status for one in built.results.values()}
    assert statuses == {
        "buyers": "success",
        "richest": "success",
        "unique_buyers_user_id": "pass",
        "more_buyers_than_promotions": "pass",
        "what_a_buyer_paid_adds_up": "fail",
    }


def test_what_is_nowhere_else_is_built_too(previewed: Previewed) -> None:
    _, new = previewed.versions()
    built = build.build(new, previewed.here, [BUYERS], {}, silent())
    assert {built.relations[one].schema for one in (BUYERS, ORDERS, PROMOTIONS)} == {"preview_ana"}
    assert RICHEST not in built.relations


def test_nothing_is_built_where_nothing_is_asked_for(previewed: Previewed) -> None:
    _, new = previewed.versions()
    assert build.build(new, previewed.here, [], LIVE, silent()) == build.Built(LIVE, {}, {})


def test_a_model_that_fails_keeps_what_is_behind_it_from_being_built_and_tested(previewed: Previewed) -> None:
    (previewed.folder / "models/marts/buyers.sql").write_text(
        "select cast(user_id as integer) as user_id, paid from {{ ref('orders') }}"
    )
    _, new = previewed.versions()
    built = build.build(new, previewed.here, [BUYERS, RICHEST, PROMOTIONS], LIVE, silent())
    assert BUYERS not in built.relations
    assert RICHEST not in built.relations
    assert built.relations[PROMOTIONS].schema == "preview_ana"
    statuses = {one.name: one.status for one in built.results.values()}
    assert statuses["richest"] == statuses["unique_buyers_user_id"] == "skipped"
    # Who the buyers are is no result.
    assert built.results[BUYERS].message == 'invalid input syntax for type integer: "…"'


def test_a_snapshot_goes_on_from_a_copy(previewed: Previewed) -> None:
    _, new = previewed.versions()
    previewed.run("update raw.orders set order_total = 99 where order_id = 'o1'")
    kept, snapshot = Relation("snapshots", "orders_kept"), "snapshot.small.orders_kept"
    before_it = previewed.rows(kept, "order_id, order_total, dbt_valid_to is null")
    built = build.build(new, previewed.here, [snapshot], {snapshot: kept}, silent())
    assert built.relations[snapshot] == Relation("preview_ana_snapshots", "orders_kept")
    assert previewed.rows(built.relations[snapshot], "order_id, order_total, dbt_valid_to is null") == [
        ("o1", 10, False),
        ("o1", 99, True),
        ("o2", 5, True),
        ("o3", 7, True),
    ]
    assert previewed.rows(kept, "order_id, order_total, dbt_valid_to is null") == before_it


def test_a_version_of_another_sandbox_is_not_built(previewed: Previewed) -> None:
    _, new = previewed.versions()
    with pytest.raises(ValueError, match="parsed for preview_ana and not for preview_bob"):
        build.build(new, Sandbox("preview_bob"), [RICHEST], LIVE, silent())


def test_nothing_of_production_is_written(previewed: Previewed) -> None:
    previewed.run("insert into raw.orders (order_id, user_id, _loaded_at) values ('o4', 'cid', clock_timestamp())")
    old, new = previewed.versions()
    held = fingerprint(previewed)
    was, versus = before.find(previewed.connection, old, new, shop.plan(old.facts, "orders"), previewed.there, silent())
    assert versus.published_at is None
    build.build(new, previewed.here, [ORDERS, BUYERS, RICHEST, "snapshot.small.orders_kept"], was.relations, silent())
    assert fingerprint(previewed) == held


def fingerprint(previewed: Previewed) -> dict[str, object]:
    """What is in production's schemas: each relation, whose it is and who may what, its file, and all of its rows."""
    with previewed.admin.cursor() as cursor:
        cursor.execute(
            "select oid::regclass::text, relkind::text, pg_get_userbyid(relowner)::text, relacl::text, relfilenode"
            " from pg_class where relnamespace = any(%s::regnamespace[]) order by 1",
            ([settings.raw_schema(), *settings.OUR_SCHEMAS],),
        )
        relations = {name: rest for name, *rest in cursor.fetchall()}
        found: dict[str, object] = dict(relations)
        for name, (kind, *_) in relations.items():
            if kind == "r":
                cursor.execute(
                    f"select count(*), md5(string_agg(ctid::text || xmin || xmax, '' order by ctid)) from {name}"
                )
                found[f"rows of {name}"] = cursor.fetchone()
        return found
