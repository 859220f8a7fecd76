"""A version of the project, built in a sandbox: what is asked for, with the rest from where it is, and no more."""

from __future__ import annotations

import pytest

from include.local.progress import silent
from include.preview import build
from include.warehouse.relation import Relation
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
