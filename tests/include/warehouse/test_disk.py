"""Before everything is built anew it is looked whether there is room for it, where the server can be asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from types import SimpleNamespace

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.settings import Warehouse
from include.warehouse import disk, roles

pytestmark = pytest.mark.db

MB = 1024 * 1024


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the disk says is free, in bytes, and of which folder it was asked."""
    said = SimpleNamespace(free=0, asked=[])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: said.asked.append(folder) or said)
    return said


@pytest.fixture
def marts(db: Connection, warehouse: Warehouse) -> Iterator[Connection]:
    """Who builds, where marts take some three MB, of which two are in the buffer already, and a table of somebody's."""
    roles.ensure(db, login=True)
    builder = psycopg2.connect(
        host=warehouse.host, port=warehouse.port, dbname=warehouse.database, user=roles.TRANSFORMER
    )
    builder.autocommit = True
    with builder.cursor() as cursor:
        for schema, table, rows in (
            ("analytics", "m", 20_000),
            ("analytics", "n", 10_000),
            ("analytics", "somebodys", 90_000),
            ("analytics_next", "m", 20_000),
        ):
            cursor.execute(
                f"create table {schema}.{table} as select repeat('x', 60) as content from generate_series(1, {rows})"
            )
            if table != "somebodys":
                cursor.execute(
                    "insert into ops.buffers (schema_oid, run_id, since, rebuild, scan)"
                    f" values ('{schema}'::regnamespace, 'run', now(), false, false) on conflict do nothing"
                )
                cursor.execute(
                    "insert into ops.buffer_models (schema_oid, unique_id, rebuilt)"
                    f" values ('{schema}'::regnamespace, 'model.greenery.{table}', true)"
                )
    with db.cursor() as cursor:
        cursor.execute("grant pg_read_all_settings to greenery_transformer")
    yield builder
    builder.close()
    with db.cursor() as cursor:
        cursor.execute("revoke pg_read_all_settings from greenery_transformer")


def test_where_there_is_room_nothing_is_said(marts: Connection, free: SimpleNamespace) -> None:
    free.free = 4 * MB
    assert disk.problem(marts, "analytics", "analytics_next") is None


def test_where_there_is_none_it_is_said_with_what_is_needed(marts: Connection, free: SimpleNamespace) -> None:
    """`n`, which is not there yet, and `m` twice for a moment."""
    free.free = 2 * MB
    said = disk.problem(marts, "analytics", "analytics_next")
    assert said.startswith("Everything is to be built anew, which takes about 3")
    assert "more on the warehouse's disk, and 2048 kB are free there; nothing was changed" in said
    with marts.cursor() as cursor:
        cursor.execute("show data_directory")
        assert free.asked == [cursor.fetchone()[0]]


def test_the_first_build_asks_for_nothing(db: Connection, free: SimpleNamespace) -> None:
    assert disk.problem(db, "analytics", "analytics_next") is None


def test_a_server_that_does_not_tell_where_its_data_are_is_not_judged(
    marts: Connection, db: Connection, free: SimpleNamespace
) -> None:
    with db.cursor() as cursor:
        cursor.execute("revoke pg_read_all_settings from greenery_transformer")
    assert disk.problem(marts, "analytics", "analytics_next") is None
    assert free.asked == []


def test_a_folder_that_only_the_server_may_look_at_is_not_judged(
    marts: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_usage(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert disk.problem(marts, "analytics", "analytics_next") is None
