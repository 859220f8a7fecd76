"""Poolers: one that shares sessions is refused, one that keeps them is not."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from include.local.postgres import LocalPostgres
from include.raw import shop_database
from include.settings import Warehouse
from include.warehouse import migrate, pooler
from tests.pooler import Take, newest, oldest, pooled

pytestmark = pytest.mark.db


@pytest.fixture
def empty(server: LocalPostgres) -> Warehouse:
    """A database to be pooled."""
    return server.database("postgres")


@pytest.mark.parametrize("take", [newest, oldest])
@pytest.mark.parametrize("sessions", [1, 2, 3])
def test_a_pooler_of_transactions_is_refused(empty: Warehouse, take: Take, sessions: int) -> None:
    with pooled(empty, sessions, take) as where:
        assert "(transaction pooling)" in (pooler.problem(where) or "")


def test_one_that_keeps_sessions_is_refused_only_where_it_drops_what_we_ask_for(empty: Warehouse) -> None:
    with pooled(empty, 2, keeps=True) as where:
        assert pooler.problem(where) is None
    # What such a server's own time zone may be.
    with pooled(empty, 2, keeps=True, options={"options": "-c timezone=Asia/Tokyo"}) as where:
        assert "the time zone is Asia/Tokyo, and UTC was asked for" in (pooler.problem(where) or "")


def test_the_server_itself_is_fine(empty: Warehouse) -> None:
    assert pooler.problem(empty) is None


def test_one_that_drops_what_dbt_begins_with_is_refused_where_an_administrator_set_it_otherwise(
    empty: Warehouse,
) -> None:
    with closing(psycopg2.connect(**empty.libpq())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"alter database {empty.database} set statement_timeout = '1h'")
        try:
            assert pooler.problem(empty) is None
            with pooled(empty, 3, keeps=True) as where:
                assert "`-c statement_timeout=0`: a pooler drops them" in (pooler.problem(where) or "")
        finally:
            cursor.execute(f"alter database {empty.database} reset statement_timeout")


def test_no_migration_starts_through_one(
    empty: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pooled(empty, 1) as where:
        for name, value in where.environment().items():
            monkeypatch.setenv(name, value)
        assert migrate.main() == 1
    assert "(transaction pooling)" in capsys.readouterr().err
    with psycopg2.connect(**empty.libpq()) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regnamespace('ops')")
        assert cursor.fetchall() == [(None,)]
    connection.close()


def test_a_shop_may_be_behind_one(empty: Warehouse) -> None:
    with pooled(empty, 2, oldest, options={"options": "-c timezone=Asia/Tokyo -c intervalstyle=iso_8601"}) as where:
        url = f"postgresql://{where.user}@{where.host}:{where.port}/{where.database}"
        with closing(shop_database.connect(url)) as connection, connection.cursor() as cursor:
            for _ in range(2):
                cursor.execute("select '2026-11-29 12:00Z'::timestamptz::text, interval '1 day'::text")
                assert cursor.fetchall() == [("2026-11-29 12:00:00+00", "1 day")]
