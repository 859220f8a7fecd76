"""What a change is compared with: what is published where that is the base's work on the raw of now, else the base."""

from __future__ import annotations

import re

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from include.local.progress import silent
from include.preview import before
from include.preview.before import Moment
from include.preview.build import Built
from include.preview.report import Versus
from include.warehouse.relation import Relation
from tests.include.preview import shop
from tests.include.preview.shop import Previewed

pytestmark = pytest.mark.db

BUYERS, RICHEST, ORDERS, SEEN = (f"model.small.{name}" for name in ("buyers", "richest", "orders", "stg_orders"))
NEW_ORDER = (
    "insert into raw.orders (order_id, user_id, order_total, _loaded_at) values ('o4', 'cid', 3, clock_timestamp())"
)
NEW_PROMO = "insert into raw.promos (promo_id, _loaded_at) values ('summer', clock_timestamp())"


def found(previewed: Previewed, *changed: str) -> tuple[Built, Versus]:
    old, new = previewed.versions()
    plan = shop.plan(old.facts, *changed)
    made = before.find(previewed.connection, old, new, plan, previewed.there, silent())
    # dbt builds for longer than the developer's session may be idle in a transaction.
    assert previewed.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
    return made


def test_what_is_published_is_the_base_where_raw_has_not_moved(previewed: Previewed) -> None:
    was, versus = found(previewed, "buyers")
    assert {was.relations[one] for one in (BUYERS, RICHEST, ORDERS)} == {
        Relation("analytics", name) for name in ("buyers", "richest", "orders")
    }
    assert versus.published_at is not None
    assert versus.why == ""
    assert was.results["test.small.more_buyers_than_promotions"].status == "pass"
    assert (was.costs[BUYERS].rows, was.costs[BUYERS].seconds is None) == (2, False)


def test_where_raw_has_moved_the_base_is_built_from_it(previewed: Previewed) -> None:
    previewed.run(NEW_ORDER)
    was, versus = found(previewed, "buyers")
    assert was.relations[BUYERS] == Relation(previewed.there.marts, "buyers")
    assert previewed.rows(was.relations[BUYERS]) == [("ann", 15), ("bob", 7), ("cid", 3)]
    assert was.results["test.small.more_buyers_than_promotions"].status == "pass"
    assert versus.published_at is None
    assert versus.why.startswith("Raw has moved since the run that published (orders), so main was built")


def test_a_raw_table_that_nothing_compared_reads_may_move(previewed: Previewed) -> None:
    previewed.run(NEW_PROMO)
    assert found(previewed, "richest")[1].published_at is not None
    # A test of the buyers reads promotions.
    assert found(previewed, "buyers")[1].published_at is None


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("update ops.publications set schema_oid = 1", "Nothing is published yet"),
        ("update ops.publications set data_as_of = data_as_of - interval '1 day'", "was put there by hand"),
        ("update ops.publications set macros = 'others'", "other macros or variables"),
        (f"update ops.publication_models set checksum = '' where unique_id = '{ORDERS}'", r"another SQL.*\(orders\)"),
        ("drop table analytics.buyers", "Not published: buyers"),
        (
            "insert into raw.deletions (table_name, key, deleted_at) values ('orders', 'o1', clock_timestamp())",
            r"moved.*\(deletions\)",
        ),
    ],
)
def test_what_the_base_did_not_publish_is_not_compared_with(previewed: Previewed, statement: str, why: str) -> None:
    previewed.run(statement)
    was, versus = found(previewed, "buyers")
    assert was.relations[BUYERS] == Relation(previewed.there.marts, "buyers")
    assert re.search(why, versus.why), versus.why


def test_a_view_is_never_read_where_a_run_makes_it_anew(previewed: Previewed) -> None:
    was, versus = found(previewed, "stg_orders")
    assert was.relations[SEEN] == Relation(previewed.there.staging, "stg_orders")
    assert was.relations[BUYERS] == Relation("analytics", "buyers")
    assert versus.published_at is not None


def test_what_moves_meanwhile_is_noted(previewed: Previewed) -> None:
    at = before.moment(previewed.connection)
    assert before.moved(previewed.connection, at) is None
    previewed.run(NEW_PROMO)
    assert "Raw was loaded while this was built (promos)" in (before.moved(previewed.connection, at) or "")
    published_since = Moment(before.moment(previewed.connection).stamps, -1)
    assert "A run published" in (before.moved(previewed.connection, published_since) or "")
