"""A person is forgotten: nowhere to be found, with every figure as it was, on this day and on those to come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from psycopg2 import sql

from include.daily import snapshots
from include.dbt_project import manifest as manifests
from include.erase import erasure
from include.results import node_results, publications
from include.results.nodes import NodeResult
from include.slack import outbox
from include.slack.message import Message
from include.warehouse import connect, personal
from tests.dbt.conftest import KeptShop
from tests.dbt.days import SCHEMAS, Days, Project
from tests.dbt.edits import deliver, replica

pytestmark = pytest.mark.db


@pytest.fixture(scope="module", autouse=True)
def _tidy(shop: KeptShop) -> Iterator[None]:
    yield
    for schema in SCHEMAS:
        shop.query(f"drop schema if exists {schema} cascade")


@pytest.fixture
def days(told_in_full: Project, shop: KeptShop) -> Days:
    """Two days that were published, and a third that is in raw."""
    played = Days(shop, told_in_full, seed=7)
    played.overlap = timedelta(0)
    played.two_full_runs()
    with connect("test") as connection, connection.cursor() as cursor:
        personal.note(cursor, facts(played).personal)
    return played


def facts(days: Days) -> manifests.Manifest:
    return manifests.read(days.project.work / "target" / "manifest.json")


def somebody(days: Days, orders: str) -> dict[str, str]:
    """A user of the first day with so many orders by now, and what is known of them; nobody else lives there."""
    [found] = days.shop.query(
        f"""
        select to_jsonb(users) || jsonb_build_object('address', addresses.address)
        from raw.users
        join raw.addresses on addresses.address_id = users.address_id
        where (select count(*) from raw.orders where orders.user_id = users.user_id) {orders}
            and exists (select from analytics_next.dim_users as built where built.user_id = users.user_id)
            and 1 = (select count(*) from raw.addresses as others where strpos(others.address, addresses.address) > 0)
            and not exists (
                select from raw.orders as others
                where others.address_id = users.address_id and others.user_id <> users.user_id
            )
        order by users.user_id
        limit 1
        """
    )
    return found[0]


def forget(user_id: str, reason: str = "asked for it") -> erasure.Certificate:
    return erasure.erase(user_id, reason, lambda _: "ada")


def found_of(days: Days, *values: str) -> list[str]:
    """Every table and column of the database that holds one of the values, what the planner sampled included."""
    columns = days.shop.query(
        """
        select nspname, relname, attname
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        where relkind in ('r', 'm', 'v') and nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
        """
    )
    found = []
    for schema, table, column in [
        *columns,
        ("pg_catalog", "pg_stats", "histogram_bounds"),
        ("pg_catalog", "pg_stats", "most_common_vals"),
    ]:
        query = sql.SQL("select exists (select from {} where {}::text like any(%s))").format(
            sql.Identifier(schema, table), sql.Identifier(column)
        )
        [[there]] = days.shop.query(query.as_string(days.shop.connection), [f"%{value}%" for value in values])
        if there:
            found.append(f"{schema}.{table}.{column}")
    return found


def figures(days: Days, schema: str = "analytics") -> dict[str, list[tuple]]:
    """What people sum up: every day's figures, and users, buyers, orders and sessions by state."""
    return {
        name: days.shop.query(query.format(schema))
        for name, query in {
            "metrics": "select * from {}.daily_metrics order by metric_day_id",
            "products": "select * from {}.fact_product order by product_id",
            "repeat": "select * from {}.repeat_purchase_indicators order by indicator_id",
            "users": "select state, country, count(*), count(distinct user_id), sum(orders), sum(lifetime_value),"
            " count(*) filter (where is_repeat_buyer), min(created_at) from {}.dim_users group by 1, 2 order by 1, 2",
            "orders": "select shipping_state, count(*), count(distinct user_id), sum(order_total)"
            " from {}.fact_orders group by 1 order by 1",
            "sessions": "select count(*), count(distinct user_id), sum(session_minutes) from {}.int_user_sessions",
            "buyers": "select product_id, count(distinct user_id) from {}.fact_order_items group by 1 order by 1",
        }.items()
    }


def versions(days: Days) -> list[tuple]:
    """The history of orders, but for whose they are."""
    return days.shop.query(
        "select order_id, status, dbt_scd_id, dbt_valid_from, dbt_valid_to from snapshots.orders_snapshot order by 3"
    )


def test_a_buyer_is_nowhere_to_be_found_and_no_figure_moves_on_this_day_or_later(days: Days) -> None:
    ada = somebody(days, "> 1")
    said = f"{ada['first_name']} {ada['last_name']} of {ada['address']}"
    text = f"{said} & {ada['phone_number']}"
    rows = [{"id": ada["user_id"]}, {"name": ada["last_name"]}, {"id": "somebody else"}]
    with connect("test") as connection:
        found = NodeResult("test.a", "test", "a", "fail", "error", 3, f"{ada['email']} is odd", 0.5, None, None, rows)
        node_results.record(connection, "run 2", "check_sources", 1, [found])
        blocks = [{"text": text.replace("&", "&amp;")}]
        outbox.keep(connection, "run 2", "engineers", Message("failed", said, text, blocks), waiting=False)
        publications.decide(connection, publications.HOLD, None, "ada", f"{said} complained")
        publications.decide(connection, publications.RELEASE, None, "ada", "done")
    snapshots.remember(facts(days), "run 2")
    parcels = [
        one
        for (one,) in days.shop.query(
            "select tracking_id from raw.orders where user_id = %s and tracking_id > ''", ada["user_id"]
        )
    ]
    values = [ada["user_id"], ada["email"], ada["phone_number"], ada["address"], said.split(" of ")[0], *parcels]
    assert {one.split(".")[0] for one in found_of(days, *values)} >= {*SCHEMAS} - {"reference"}
    before, built, history = figures(days), figures(days, "analytics_next"), versions(days)
    delivered = replica(days.shop.connection)
    days.differences()  # which builds in `reference` what the next run is to publish
    to_come = figures(days, "reference")
    days.shop.query("drop schema reference cascade")

    certificate = forget(ada["user_id"], f"{said} asked for it")

    assert found_of(days, *values) == []
    assert ada["user_id"] not in certificate.as_json()
    assert figures(days) == before
    assert figures(days, "analytics_next") == built
    assert versions(days) == history
    assert snapshots.problem(facts(days)) is None
    assert days.shop.value("select failing_rows from ops.node_results where name = 'a'") == [{"id": "somebody else"}]
    assert certificate.changed["snapshots.orders_snapshot"] >= 2

    # The shop has not deleted the person, and delivers everything again.
    deliver(days.shop.connection, delivered)
    days.begin()
    days.build()
    tested = days.project("test", "--select", "test_name:relationships", "test_type:singular")
    assert {name for name, status in tested.items() if status not in ("pass", "warn")} == set()
    days.publish()
    assert days.rebuilt() == set()
    assert figures(days) == to_come
    assert days.unseen() == []
    assert days.run(full_refresh=True) == days.project.incremental
    assert figures(days) == to_come
    assert found_of(days, *values) == []

    # A loader that is not ours brings the person back past the stand-ins.
    [row] = [row for row in delivered["users"] if row["user_id"] == ada["user_id"]]
    days.shop.insert("users", row)
    assert days.project("test", "--select", "erased_people_are_back") == {"erased_people_are_back": "fail"}
