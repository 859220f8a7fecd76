"""How long a session of each role may keep others waiting, and that who does so is named."""

from __future__ import annotations

import re
from dataclasses import replace

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.publish import exchange as exchanges
from include.raw import lease
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect, roles
from include.warehouse.roles import DEVELOPER, HEALTH, LOADER, READER, TRANSFORMER
from tests.include.warehouse.conftest import May

pytestmark = pytest.mark.db


def test_a_load_that_does_not_end_is_named_by_the_run_that_waits_for_it(
    may: May, db: Connection, warehouse: Warehouse
) -> None:
    with db.cursor() as cursor:
        cursor.execute(f'alter role {TRANSFORMER} in database "{warehouse.database}" set lock_timeout = 200')
    with connect("a load", replace(warehouse, user=LOADER)) as load, load.cursor() as cursor:
        lease.lock_raw(cursor)
        with pytest.raises(lease.LeaseHeldError) as refused, connect() as run:
            lease.take(run, "run 2")
        assert f"greenery_loader (a load, pid {load.info.backend_pid}, since 2" in str(refused.value)
        assert "`python -m include.under_way end PID`" in str(refused.value)


def test_readers_are_held_to_less_than_a_publish_waits(may: May, db: Connection, warehouse: Warehouse) -> None:
    """A setting of a role's is no setting of its members', so each login has its own."""
    settings = ("idle_in_transaction_session_timeout", "statement_timeout")
    with db.cursor() as cursor:
        cursor.execute("create role ann login in role greenery_reader; create role bob login in role greenery_reader")
        cursor.execute("alter role bob set statement_timeout = 0")
        try:
            roles.ensure(db, login=True)
            held = {
                role: [show(replace(warehouse, user=role), setting) for setting in settings]
                for role in (READER, HEALTH, DEVELOPER, "ann", "bob", TRANSFORMER)
            }
            assert held == {
                READER: ["1min", "5min"],
                HEALTH: ["1min", "5min"],
                DEVELOPER: ["1min", "5min"],
                "ann": ["1min", "5min"],
                "bob": ["1min", "0"],  # as the administrator wants it
                TRANSFORMER: ["10min", "0"],
            }
            assert show(replace(warehouse, user=TRANSFORMER), "lock_timeout") == "10min"
            for role in (TRANSFORMER, DEVELOPER):
                assert show(replace(warehouse, user=role), "temp_file_limit") == "20GB"
        finally:
            cursor.execute("drop role ann, bob")
    assert sum(map(exchanges.pause, range(1, exchanges.ATTEMPTS))) > 5 * 60


def test_a_limit_of_who_builds_counts_where_it_is_set_in_this_very_database_and_all_else_wherever_it_is(
    db: Connection, warehouse: Warehouse
) -> None:
    """A session of ours has no limit that is set for its role in all databases, so it gets that of ours."""
    roles.ensure(db, login=True)
    with db.cursor() as cursor:
        cursor.execute(f'alter role {TRANSFORMER} in database "{warehouse.database}" reset all')
        cursor.execute(
            f"alter role {TRANSFORMER} set lock_timeout = '20ms'; alter role {TRANSFORMER} set temp_file_limit = '1GB';"
            f'alter role {TRANSFORMER} in database "{warehouse.database}"'
            " set idle_in_transaction_session_timeout = '3min'"
        )
        try:
            roles.ensure(db, login=True)
            builder = replace(warehouse, user=TRANSFORMER)
            names = ("lock_timeout", "idle_in_transaction_session_timeout", "temp_file_limit")
            assert [show(builder, name) for name in names] == ["10min", "3min", "1GB"]
        finally:
            cursor.execute(f"alter role {TRANSFORMER} reset all")


def test_the_line_that_lets_a_bi_tool_in_holds_it_to_what_the_page_says(
    may: May, db: Connection, warehouse: Warehouse
) -> None:
    page = (PROJECT_ROOT / "docs" / "publishing.md").read_text().partition("## Connect a BI tool")[2]
    [line] = re.findall(r"^create role dashboards .+;$", page, re.MULTILINE)
    tool = replace(warehouse, user="dashboards")
    with db.cursor() as cursor:
        cursor.execute(line)
        try:
            roles.ensure(db, login=True)
            assert may("dashboards", "select * from analytics.fact_orders")
            assert [show(tool, name) for name in ("statement_timeout", "idle_in_transaction_session_timeout")] == [
                "5min",
                "1min",
            ]
            assert show(tool, "default_transaction_isolation") in page
            for said, statement in (
                ("relation … does not exist", "select * from fact_orders"),
                ("canceling statement due to statement timeout", "set statement_timeout = 1; select pg_sleep(60)"),
            ):
                with pytest.raises(psycopg2.Error, match=said.replace("…", ".+")):
                    may("dashboards", statement)
                assert f"| *{said}* |" in page
        finally:
            cursor.execute("drop role dashboards")


def test_of_a_machine_that_is_gone_the_server_lets_go_soon_and_not_of_who_reads_slowly(
    may: May, db: Connection
) -> None:
    """Over a socket of this machine nothing is shown of it; tests/test_server_faults.py takes a network away.

    Postgres' server ends a session by `tcp_user_timeout` as well where its client takes no rows for so long.
    """
    with db.cursor() as cursor:
        cursor.execute(
            "select setrole::regrole::text, setconfig from pg_db_role_setting"
            " where setdatabase = (select oid from pg_database where datname = current_database()) and setrole <> 0"
        )
        held_to = {role: dict(one.split("=", 1) for one in settings) for role, settings in cursor.fetchall()}
    assert {held_to[role]["tcp_keepalives_idle"] for role in roles.LOGINS} == {"10s"}
    assert {held_to[role]["tcp_user_timeout"] for role in (roles.LOADER, roles.TRANSFORMER)} == {"30s"}
    for role in (roles.READER, roles.HEALTH, roles.DEVELOPER):
        assert held_to[role]["tcp_user_timeout"] == held_to[role]["statement_timeout"]


def show(where: Warehouse, setting: str) -> str:
    """A setting of a session."""
    with connect("test", where) as connection, connection.cursor() as cursor:
        cursor.execute(f"show {setting}")
        return cursor.fetchone()[0]
