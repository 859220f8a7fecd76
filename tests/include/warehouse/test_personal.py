"""No role gets a personal column of what is published that is not for it, through every publish."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.warehouse import personal, roles
from include.warehouse.roles import HEALTH, PERSONAL, READER, TRANSFORMER
from tests.include.warehouse.conftest import PEOPLE, May, publish

pytestmark = pytest.mark.db


def test_readers_get_no_personal_column_through_each_publish(may: May, db: Connection) -> None:
    with db.cursor() as cursor:
        personal.note(cursor, {"email": None, "user_id": "user_id"})
        cursor.execute(f"create role carer login in role {PERSONAL}")
    for number in range(2, 5):
        may(TRANSFORMER, "drop table if exists analytics_next.dim_users")
        assert may(TRANSFORMER, f"create table analytics_next.dim_users as {PEOPLE}")
        publish(f"run {number}")
        for role in (READER, HEALTH):
            assert may(role, "select user_id, state, count(*) from analytics.dim_users group by 1, 2")
            for query in ("*", "email", "max(email)", "dim_users::text", "to_jsonb(dim_users)"):
                assert not may(role, f"select {query} from analytics.dim_users"), query
            assert not may(role, "select user_id from analytics.dim_users where email > ''")
        assert may("carer", "select * from analytics.dim_users")
        assert not may("carer", "select user_id from analytics_next.dim_users")
    roles.ensure(db, login=True)
    assert not may(READER, "select email from analytics.dim_users")
    with db.cursor() as cursor:
        cursor.execute("drop role carer")


def test_the_health_page_gets_no_personal_column_of_a_snapshot(may: May, db: Connection) -> None:
    assert may(TRANSFORMER, "create table snapshots.orders_snapshot as select 'o1' as order_id, 't1' as tracking_id")
    with db.cursor() as cursor:
        personal.note(cursor, {"tracking_id": None})
    for open_again in (lambda: publish("run 2"), lambda: roles.ensure(db, login=True)):
        open_again()
        assert may(HEALTH, "select order_id, count(*) from snapshots.orders_snapshot group by 1")
        assert not may(HEALTH, "select tracking_id from snapshots.orders_snapshot")
        assert not may(READER, "select order_id from snapshots.orders_snapshot")


def test_a_reader_who_had_the_whole_table_keeps_what_is_not_personal(may: May, db: Connection) -> None:
    assert may(READER, "select * from analytics.fact_orders")
    assert may(TRANSFORMER, f"create table analytics.dim_users as {PEOPLE}")
    roles.ensure(db, login=True)
    assert may(READER, "select email from analytics.dim_users")
    with db.cursor() as cursor:
        personal.note(cursor, {"email": None})
    roles.ensure(db, login=True)
    assert not may(READER, "select email from analytics.dim_users")
    assert may(READER, "select user_id, state from analytics.dim_users")
    with db.cursor() as cursor:
        personal.note(cursor, {})
    roles.ensure(db, login=True)
    assert may(READER, "select * from analytics.dim_users")
