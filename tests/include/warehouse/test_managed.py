"""A managed Postgres: no superuser, only somebody who may make roles and databases. All that we do there works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include import raw
from include.daily import buffers
from include.demo_shop import demo
from include.publish.exchange import exchange
from include.results import runs
from include.settings import Warehouse
from include.warehouse import connect, migrate, pooler, roles

pytestmark = pytest.mark.db


def test_an_administrator_who_is_no_superuser_sets_it_up_and_each_role_does_its_work(
    managed: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert pooler.problem(managed) is None
    for _ in range(2):  # an upgrade does the same again
        migrate.upgrade()
        with connect("test", managed) as connection, connection.cursor() as cursor:
            raw.create(cursor)
            roles.ensure(connection, login=True)
            cursor.execute("select distinct tableowner from pg_tables where schemaname in ('raw', 'ops') order by 1")
            assert cursor.fetchall() == [(roles.RAW,), (roles.TRANSFORMER,)]
    assert "Not granted to greenery_transformer: pg_read_all_stats" in caplog.text

    with connect("test", replace(managed, user=roles.LOADER)) as connection:
        demo.play_day(connection, 1, orders_per_day=3)
    builder = replace(managed, user=roles.TRANSFORMER)
    monkeypatch.setenv("WAREHOUSE_USER", roles.TRANSFORMER)
    for number in range(1, 3):
        with connect("test", builder) as connection, connection.cursor() as cursor:
            cursor.execute("drop table if exists analytics_next.fact_orders")
            cursor.execute("create table analytics_next.fact_orders as select order_id from raw.orders")
            runs.begin(connection, f"run {number}", "release")
            buffers.begin(connection, f"run {number}")
            buffer = buffers.current(connection)
        exchange(f"run {number}", buffer)
        for reader in (roles.READER, roles.HEALTH, roles.DEVELOPER):
            with connect("test", replace(managed, user=reader)) as connection, connection.cursor() as cursor:
                cursor.execute("select count(*) > 0 from analytics.fact_orders")
                assert cursor.fetchall() == [(True,)]
    with connect("test", replace(managed, user=roles.HEALTH)) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from ops.publications")
        assert cursor.fetchall() == [(2,)]
