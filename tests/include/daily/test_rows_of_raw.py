"""What is counted of raw as a run begins, and what of it a publish keeps; what the tests say of it is dbt's."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers, rows_of_raw
from include.receipts import basis
from include.results import publications, runs
from include.settings import BUILT

pytestmark = pytest.mark.db

FILLED = "select filled from ops.rows_of_raw where table_name = 'orders' and publication_id is {}"


def do(db: Connection, statement: str) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def load(db: Connection, status: str | None, rows: int, loaded_at: str = "2021-02-12", tracking: str = "null") -> None:
    with db.cursor() as cursor:
        cursor.execute(
            "insert into raw.orders (order_id, status, tracking_id, _loaded_at)"
            f" select gen_random_uuid(), %s, {tracking}, %s from generate_series(1, %s)",
            (status, loaded_at, rows),
        )


def begin(db: Connection, *, full_refresh: bool = False) -> None:
    runs.begin(db, "run 1", "release")
    buffers.begin(db, "run 1", full_refresh=full_refresh)


def publish(db: Connection) -> int:
    with db.cursor() as cursor:
        publication_id, _ = publications.note(cursor, "run 1", BUILT, as_of=None, decision=None, notes=[])
        buffers.published(cursor, BUILT, proven=True)
        rows_of_raw.keep(cursor, publication_id)
    return publication_id


@pytest.fixture
def shop(db: Connection) -> Connection:
    """A shop with a hundred orders shipped, and 99 of another status."""
    with db.cursor() as cursor:
        raw.create(cursor)
    load(db, "shipped", 100, tracking="'t'")
    load(db, "delivered", 99, tracking="'t'")
    return db


def test_all_rows_are_counted_and_the_new_ones_by_kind_where_they_are_enough(shop: Connection) -> None:
    begin(shop)
    [(rows, filled)] = do(shop, "select rows, filled from ops.rows_of_raw where table_name = 'orders'")
    assert rows == 199
    assert {kind: (counts[""], counts["tracking_id"], counts["promo_id"]) for kind, counts in filled.items()} == {
        "shipped": (100, 100, 0)
    }
    assert do(shop, "select rows, filled from ops.rows_of_raw where table_name = 'users'") == [(0, {})]


def test_a_table_without_a_kind_and_rows_of_none_are_one_kind(shop: Connection) -> None:
    load(shop, None, 100)
    do(shop, "insert into raw.products select n, n, n, null, now() from generate_series(1, 100) as n")
    begin(shop)
    assert do(shop, "select filled -> '' ->> 'inventory' from ops.rows_of_raw where table_name = 'products'") == [
        ("0",)
    ]
    assert do(shop, "select filled -> '' ->> '' from ops.rows_of_raw where table_name = 'orders'") == [("100",)]


@pytest.mark.parametrize("full_refresh", [False, True])
def test_old_rows_are_not_looked_at_and_what_was_known_of_them_stays(shop: Connection, full_refresh: bool) -> None:
    begin(shop)
    publish(shop)
    load(shop, "preparing", 100, "now()")
    begin(shop, full_refresh=full_refresh)
    [(filled,)] = do(shop, FILLED.format("null"))
    assert filled.keys() == {"preparing"}
    last = publish(shop)
    [(filled,)] = do(shop, FILLED.format(f"not null and publication_id = {last}"))
    assert {kind: counts["tracking_id"] for kind, counts in filled.items()} == {"shipped": 100, "preparing": 0}


def test_a_run_that_was_not_published_leaves_nothing(shop: Connection) -> None:
    begin(shop)
    do(shop, "delete from raw.orders where status = 'shipped'")
    begin(shop)
    assert do(shop, "select rows, publication_id from ops.rows_of_raw where table_name = 'orders'") == [(99, None)]


def test_a_table_that_is_gone_or_lacks_columns_is_counted_as_far_as_it_is_there(shop: Connection) -> None:
    do(shop, "alter table raw.orders drop column status, drop column promo_id; drop table raw.events")
    begin(shop)
    [(filled,)] = do(shop, FILLED.format("null"))
    assert filled[""]["tracking_id"] == 199
    assert "promo_id" not in filled[""]
    assert do(shop, "select from ops.rows_of_raw where table_name = 'events'") == []


def test_what_comes_back_is_compared_with_what_it_was_built_from(shop: Connection) -> None:
    begin(shop)
    first = publish(shop)
    do(
        shop,
        "delete from raw.orders where status = 'shipped'; insert into ops.runs (run_id, release) values ('run 2', '')",
    )
    begin(shop)
    do(shop, f"update ops.publications set run_id = 'run 2' where publication_id = {publish(shop)}")
    with shop.cursor() as cursor:
        made = publications.of_run(shop, "run 1")
        assert made
        assert made.publication_id == first
        back, _ = publications.note(cursor, "run 1", BUILT, as_of=made.data_as_of, decision=None, notes=[])
        basis.note(cursor, back, None, None)
    assert do(shop, f"select rows from ops.rows_of_raw where table_name = 'orders' and publication_id = {back}") == [
        (199,)
    ]


def test_a_view_with_a_value_that_is_none_of_its_type_is_left_to_the_tests_of_the_table(shop: Connection) -> None:
    do(shop, "alter table raw.promos rename to codes")
    do(
        shop,
        "create view raw.promos as select promo_id, cast(promo_id as numeric) as discount, status, _loaded_at"
        " from raw.codes; insert into raw.codes values ('spring', 1, 'active', now())",
    )
    begin(shop)
    counted = {table for (table,) in do(shop, "select table_name from ops.rows_of_raw")}
    assert counted == raw.TABLES.keys() - {"promos"}
