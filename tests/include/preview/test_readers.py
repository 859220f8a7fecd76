"""Whose views and functions would break once a change is published."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.preview import readers
from include.preview.report import BrokenReader, Kind, ModelChange, Plan
from include.warehouse import roles
from include.warehouse.relation import Relation

pytestmark = pytest.mark.db

MARTS = ("orders", "users")


@pytest.fixture
def shop(db: Connection) -> Connection:
    """Two marts that are published, and somebody's schema."""
    do(db, "create schema if not exists analytics; create schema preview; create schema mine; create role somebody")
    do(db, "create table analytics.orders as select 1 as order_id, 2.50::numeric(9, 2) as amount, 'new' as status")
    do(db, "create table analytics.users as select 1 as user_id, 'x' as name")
    do(db, "grant usage on schema analytics to somebody; grant select on all tables in schema analytics to somebody")
    yield db
    do(db, "drop owned by somebody; drop role somebody")


def do(db: Connection, statement: str) -> None:
    with db.cursor() as cursor:
        cursor.execute(statement)


def make(db: Connection, kind: str, name: str, definition: str) -> None:
    do(db, f"create {kind} {name} {definition}; alter {kind} {name} owner to somebody")


def broken(db: Connection, orders: str | None, *, kind: Kind = Kind.CHANGED) -> list[tuple[str, str]]:
    """Name and why of what would break if the mart of orders were this from now on."""
    return [(one.name, one.why) for one in found(db, orders, kind=kind)]


def found(db: Connection, orders: str | None, *, kind: Kind = Kind.CHANGED) -> tuple[BrokenReader, ...]:
    if orders:
        do(db, orders)
    plan = Plan(models=(ModelChange("model.p.orders", "orders", kind),))
    before = {f"model.p.{name}": Relation("analytics", name) for name in MARTS}
    after = {"model.p.orders": Relation("preview", "orders")} if orders else {}
    return readers.broken(db, plan, before, after)


GONE = "create table preview.orders as select order_id, status from analytics.orders"
RETYPED = "create table preview.orders as select order_id, amount::text as amount, status from analytics.orders"


def test_a_view_of_a_column_that_goes_is_named_with_its_owner(shop: Connection) -> None:
    make(shop, "view", "mine.of_amounts", "as select amount from analytics.orders")
    make(shop, "view", "mine.of_status", "as select status from analytics.orders")
    assert found(shop, GONE) == (
        BrokenReader(
            name="mine.of_amounts",
            kind="view",
            owner="somebody",
            mart="analytics.orders",
            why="It reads amount, which would be gone.",
        ),
    )


def test_a_view_that_reads_a_column_in_a_condition_alone_is_named(shop: Connection) -> None:
    make(shop, "view", "mine.large", "as select order_id from analytics.orders where amount > 1")
    assert broken(shop, GONE) == [("mine.large", "It reads amount, which would be gone.")]


def test_a_view_of_all_columns_stands_on_each_and_on_no_new_one(shop: Connection) -> None:
    make(shop, "view", "mine.everything", "as select * from analytics.orders")
    assert broken(shop, GONE) == [("mine.everything", "It reads amount, which would be gone.")]
    do(shop, "drop table preview.orders")
    assert broken(shop, "create table preview.orders as select *, 1 as more from analytics.orders") == []


def test_a_column_of_another_type_breaks_who_reads_it(shop: Connection) -> None:
    make(shop, "view", "mine.of_amounts", "as select amount, status from analytics.orders")
    make(shop, "view", "mine.of_status", "as select status from analytics.orders")
    why = "It reads amount, which would be text and is numeric(9,2)."
    assert broken(shop, RETYPED) == [("mine.of_amounts", why)]


def test_a_renamed_column_is_gone_and_several_are_one_sentence(shop: Connection) -> None:
    make(shop, "view", "mine.everything", "as select * from analytics.orders")
    query = "select order_id::bigint, amount as total, status as state from analytics.orders"
    why = "It reads amount, status, which would be gone; order_id, which would be bigint and is integer."
    assert broken(shop, f"create table preview.orders as {query}") == [("mine.everything", why)]


def test_a_function_with_a_body_of_sql_is_a_reader(shop: Connection) -> None:
    make(
        shop,
        "function",
        "mine.total(above numeric)",
        "returns numeric language sql begin atomic select sum(amount) from analytics.orders where amount > $1; end",
    )
    assert found(shop, GONE) == (
        BrokenReader(
            "mine.total(above numeric)",
            "function",
            "somebody",
            "analytics.orders",
            "It reads amount, which would be gone.",
        ),
    )


def test_a_materialized_view_is_a_reader(shop: Connection) -> None:
    make(shop, "materialized view", "mine.kept", "as select amount from analytics.orders")
    [one] = found(shop, GONE)
    assert (one.name, one.kind) == ("mine.kept", "materialized view")


def test_what_reads_a_broken_view_breaks_with_it(shop: Connection) -> None:
    make(shop, "view", "mine.first", "as select order_id, amount from analytics.orders")
    make(shop, "view", "mine.second", "as select order_id from mine.first")
    make(shop, "materialized view", "mine.third", "as select order_id from mine.second")
    make(shop, "view", "mine.beside", "as select order_id from analytics.orders")
    assert broken(shop, GONE) == [
        ("mine.first", "It reads amount, which would be gone."),
        ("mine.second", "It reads view mine.first, which would break."),
        ("mine.third", "It reads view mine.second, which would break."),
    ]


def test_what_reads_a_broken_function_breaks_with_it(shop: Connection) -> None:
    body = "returns numeric language sql begin atomic select sum(amount) from analytics.orders; end"
    make(shop, "function", "mine.total()", body)
    make(shop, "view", "mine.of_total", "as select mine.total() as total")
    assert ("mine.of_total", "It reads function mine.total(), which would break.") in broken(shop, GONE)


def test_a_mart_that_goes_breaks_all_that_reads_it(shop: Connection) -> None:
    make(shop, "view", "mine.counted", "as select count(*) as orders from analytics.orders")
    make(shop, "view", "mine.of_users", "as select * from analytics.users")
    assert broken(shop, None, kind=Kind.GONE) == [
        ("mine.counted", "It reads analytics.orders, which no model would make any more.")
    ]


def test_a_mart_that_was_not_built_breaks_nobodys_view(shop: Connection) -> None:
    make(shop, "view", "mine.everything", "as select * from analytics.orders")
    assert broken(shop, None) == []


def test_what_a_view_lacks_breaks_who_read_it_of_the_table(shop: Connection) -> None:
    make(shop, "view", "mine.places", "as select order_id, ctid as place from analytics.orders")
    make(shop, "view", "mine.numbers", "as select order_id from analytics.orders")
    assert broken(shop, "create view preview.orders as select * from analytics.orders") == [
        ("mine.places", "It reads ctid, which would be gone.")
    ]


def test_a_mart_with_row_security_can_be_no_view(shop: Connection) -> None:
    do(shop, "alter table analytics.orders enable row level security")
    assert broken(shop, "create table preview.orders as select * from analytics.orders") == []
    do(shop, "drop table preview.orders")
    why = "It would be a view, which can have no row security: the publish would be refused."
    assert broken(shop, "create view preview.orders as select * from analytics.orders") == [("analytics.orders", why)]


def test_a_mart_that_is_a_view_is_nobodys_reader(shop: Connection) -> None:
    do(shop, "drop table analytics.users; create view analytics.users as select amount from analytics.orders")
    assert broken(shop, GONE) == []


def test_a_view_in_a_sandbox_is_nobodys_reader(shop: Connection) -> None:
    roles.ensure(shop, login=True)
    do(shop, "set role greenery_developer")
    do(shop, "create schema branch_ana; create view branch_ana.orders as select * from analytics.orders; reset role")
    assert broken(shop, GONE) == []
