"""A backup is there whole or not at all, and whatever ends it, those from before are as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import backup
from include.local import postgres
from include.results.backups import newest
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import backups, client, migrate, roles
from include.warehouse.client import BackupError

pytestmark = pytest.mark.db

FORMER = "0014"
NOW = datetime(2026, 11, 24, 7, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's programs of the server's version."""
    folder = Path(postgres.binary("psql")).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def names(folder: Path) -> list[str]:
    """All that is in a folder but for the lock, drafts included."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_only_its_owner_can_read_a_backup(warehouse: Warehouse, tmp_path: Path) -> None:
    saved = backup.save(tmp_path, now=NOW)
    assert saved.name == f"{warehouse.database}-20261124T073000Z"
    assert saved.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in saved.iterdir()} == {
        "backup.json": 0o600,
        "warehouse.dump": 0o600,
    }


def test_the_newest_are_kept_and_what_is_not_a_backup_as_well(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_BACKUP_KEEP", "2")
    to_come = f"{warehouse.database}-20270101T000000Z"  # by a clock that was ahead
    others = {"notes", "before-0015-20250101T000000Z", f"{warehouse.database}-trial-20250101T000000Z", to_come}
    for other in others:
        (tmp_path / other).mkdir()
    for day in range(4):
        backup.save(tmp_path, now=NOW + timedelta(days=day))
    days = [path.name[-16:-8] for path in backups.paths(tmp_path, of=warehouse.database)]
    assert days == ["20270101", "20261127", "20261126"]
    assert others <= set(names(tmp_path))


def test_backups_of_a_lost_history_push_out_none_that_has_it(
    warehouse: Warehouse, db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("GREENERY_BACKUP_KEEP", "1")
    with db.cursor() as cursor:
        cursor.execute("create table snapshots.orders_snapshot as select generate_series(1, 9) as order_id")
        good = backup.save(tmp_path, now=NOW)
        cursor.execute("truncate snapshots.orders_snapshot")
        for day in (1, 2):  # also the second one, beside which the first is no shorter
            cursor.execute("insert into snapshots.orders_snapshot values (%s)", (day,))
            with pytest.raises(BackupError, match=rf"is saved, but {good} has a longer history"):
                backup.save(tmp_path, now=NOW + timedelta(days=day))
        assert len(names(tmp_path)) == 3
        assert newest(db, NOW + timedelta(days=9)).name == good.name, "it counts as late, so somebody hears of it"
        assert backup.main(["save", str(tmp_path)]) == 1
        assert "counts as late" in capsys.readouterr().err
        cursor.execute("insert into snapshots.orders_snapshot select generate_series(3, 9)")
    saved = backup.save(tmp_path, now=datetime.now(UTC) + timedelta(minutes=1))
    assert names(tmp_path) == [saved.name], "it is as long again"


def test_ops_remembers_what_was_made(warehouse: Warehouse, db: Connection, tmp_path: Path) -> None:
    assert newest(db, NOW) is None
    saved = backup.save(tmp_path, now=NOW)
    made = newest(db, NOW)
    assert (made.name, made.made_at, made.databases) == (saved.name, NOW, ("warehouse",))
    assert made.size == backups.read(saved).size


def test_who_builds_can_save_and_needs_no_administrator(
    warehouse: Warehouse, db: Connection, server: postgres.LocalPostgres, tmp_path: Path
) -> None:
    with db:
        roles.ensure(db, login=True)
    saved = backup.save(tmp_path, server.database(warehouse.database, roles.TRANSFORMER))
    assert newest(db, datetime.now(UTC)).name == saved.name
    assert "ops.decisions" in backups.check(saved).databases["warehouse"].rows


def test_what_was_left_by_a_save_that_was_killed_is_removed(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / ".draft-warehouse-20261123T073000Z").mkdir()
    saved = backup.save(tmp_path)
    assert names(tmp_path) == [saved.name]


def stand_in(folder: Path, program: str, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does something else than the real one, whose version it tells."""
    folder.mkdir()
    real = postgres.binary(program)
    (folder / program).write_text(f'#!/bin/sh\ncase "$*" in *--version*) exec {real} "$@";; esac\n{does}\n')
    (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("echo 'server closed the connection' >&2; exit 1", "pg_dump could not save .*server closed the connection"),
        ("kill -9 $$", "pg_dump could not save .*it was ended by SIGKILL"),
        ("exit 0", "warehouse.dump can't be read as a backup"),
        (
            '{real} "$@" --exclude-table-data=ops.watch',
            r"did not save .* as it is: ops.watch has 1 rows, and none were",
        ),
    ],
    ids=["fails", "is killed", "writes nothing", "leaves out rows"],
)
def test_a_dump_that_is_not_whole_is_no_backup(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, why: str
) -> None:
    former = backup.save(tmp_path / "backups", now=NOW)
    stand_in(tmp_path / "bin", "pg_dump", does.format(real=postgres.binary("pg_dump")), monkeypatch)
    monkeypatch.setenv("GREENERY_BACKUP_KEEP", "1")
    with pytest.raises(BackupError, match=why):
        backup.save(tmp_path / "backups")
    assert names(tmp_path / "backups") == [former.name]
    backups.check(former)


def test_a_password_is_in_no_list_of_processes(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "of-this-test-alone"
    real = postgres.binary("pg_dump")
    told = tmp_path / "told"
    stand_in(tmp_path / "bin", "pg_dump", f'echo "$* $PGPASSWORD" > {told}; exec {real} "$@"', monkeypatch)
    backup.save(tmp_path / "backups", replace(warehouse, password=secret))
    arguments, _, password = told.read_text().strip().rpartition(" ")
    assert password == secret
    assert secret not in arguments


def test_a_full_disk_leaves_the_backups_from_before(warehouse: Warehouse, tmp_path: Path) -> None:
    """On a file system with room for one and a half, in a mount namespace of the command's own."""
    # Root needs no user namespace, in which it could not reach the server's socket.
    apart = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    former = backup.save(tmp_path / "former", now=NOW)
    size = backups.read(former).size * 3 // 2
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        [*apart, "sh", "-euc", _ON_A_FULL_DISK, sys.executable, str(disk), str(size), str(former)],
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
    )
    assert "No space left on device" in done.stderr
    assert "Whole: " in done.stderr
    assert done.stdout.splitlines() == ["code 1", ".lock", former.name]


_ON_A_FULL_DISK = """
mount -t tmpfs -o size=$2 tmpfs $1
cp -r $3 $1
code=0
$0 -m include.backup save $1 || code=$?
echo code $code
ls -A $1
$0 -m include.backup check $1/*Z
"""


def test_one_save_at_a_time(warehouse: Warehouse, tmp_path: Path) -> None:
    with backups._alone_in(tmp_path), pytest.raises(BackupError, match="Another backup is being saved"):
        backup.save(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("last", "due"),
    [(None, True), ("23 07:29", True), ("23 07:31", True), ("24 07:30", False), ("24 07:31", False)],
)
def test_a_backup_is_due_once_a_tick(warehouse: Warehouse, tmp_path: Path, last: str | None, due: bool) -> None:
    if last:
        at = datetime.strptime(f"2026-11-{last}+0000", "%Y-%m-%d %H:%M%z")
        backup.save(tmp_path, now=at)
    (tmp_path / f"{warehouse.database}-20270101T000000Z").mkdir()  # by a clock that was ahead
    assert backup.is_due(tmp_path, warehouse.database, "30 7 * * *", NOW + timedelta(hours=1)) is due


def test_who_restores_is_told_to_forget_people_again(
    warehouse: Warehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = backup.save(tmp_path)
    assert backup.main(["restore", str(saved)]) == 0
    assert "`python -m include.erase --again`" in capsys.readouterr().err


def test_without_a_schedule_none_is_ever_due(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GREENERY_BACKUP_SCHEDULE", raising=False)
    assert backup.main(["save", str(tmp_path), "--due"]) == 0
    assert "GREENERY_BACKUP_SCHEDULE is not set" in capsys.readouterr().err
    assert names(tmp_path) == []


# Before a migration ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the environment names."""
    monkeypatch.setenv("GREENERY_BACKUP_DIR", str(tmp_path / "backups"))
    return tmp_path / "backups"


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the command; those here are pytest's."""
    monkeypatch.setattr(sys, "argv", ["migrate"])


def test_what_a_migration_changes_is_saved_before(warehouse: Warehouse, db: Connection, folder: Path) -> None:
    newest_one = migrate.known()[0]
    migrate.downgrade(FORMER, warehouse)
    with db.cursor() as cursor:
        cursor.execute("insert into ops.runs (run_id, release, started_at) values ('kept', 'x', now())")
    assert migrate.main() == 0
    [saved] = backups.paths(folder)
    assert saved.name.startswith(f"before-{newest_one}-")
    assert (backups.check(saved).revision, backups.revision(warehouse)) == (FORMER, newest_one)
    assert backups.read(saved).databases["warehouse"].rows["ops.runs"] == 1
    assert migrate.main() == 0, "nothing to migrate, and nothing to save"
    assert backups.paths(folder) == [saved]


def test_those_from_before_migrations_are_kept_as_one_kind(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_BACKUP_KEEP", "2")
    for number in ("0011", "0012"):
        (folder / f"before-{number}-20260101T000000Z").mkdir(parents=True)
    assert "Saved before migration" in migrate.save_before(FORMER, warehouse, folder)
    assert [path.name[:12] for path in backups.paths(folder, of="before")] == [f"before-{FORMER}-", "before-0012-"]


def test_what_is_taken_back_is_saved_before(
    warehouse: Warehouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["migrate", FORMER])
    assert migrate.main() == 0
    [saved] = backups.paths(folder)
    assert saved.name.startswith(f"before-{FORMER}-")
    assert (backups.check(saved).revision, backups.revision(warehouse)) == (migrate.known()[0], FORMER)


def test_a_new_warehouse_has_nothing_to_save(empty_warehouse: Warehouse, folder: Path) -> None:
    assert migrate.main() == 0
    assert not folder.exists()


def test_without_a_backup_nothing_is_migrated(
    warehouse: Warehouse, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    migrate.downgrade(FORMER, warehouse)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(client, "DEBIAN", tmp_path)
    assert migrate.main() == 1
    assert "Nothing was migrated, as no backup could be saved before" in capsys.readouterr().err
    assert backups.revision(warehouse) == FORMER


def test_where_no_folder_is_named_it_is_said_that_nothing_was_saved(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GREENERY_BACKUP_DIR", raising=False)
    migrate.downgrade(FORMER, warehouse)
    assert migrate.main() == 0
    assert "No backup was saved before migration" in capsys.readouterr().err
    assert backups.revision(warehouse) == migrate.known()[0]


# Airflow's own database ------------------------------------------------------------------------------------------

AIRFLOW = """
create table alembic_version (version_num text);
insert into alembic_version values ('1');
create table dag_run (run_id text, state text, end_date timestamptz);
create table task_instance (task_id text, state text, end_date timestamptz);
create table connection (conn_id text);
create table variable (key text);
create table ab_user (username text);
insert into ab_user values ('admin');
"""


@pytest.fixture
def airflow(server: postgres.LocalPostgres, warehouse: Warehouse) -> Warehouse:
    """A database with a few tables that are called like Airflow's; tests/test_operations.py has the real ones."""
    name = f"airflow_{warehouse.database}"
    postgres.ensure_database(server, name)
    ask(server.database(name), AIRFLOW)
    yield server.database(name)
    with postgres.admin(server) as cursor:
        cursor.execute(f'drop database "{name}" with (force)')


def ask(where: Warehouse, statement: str) -> list[tuple]:
    connection = psycopg2.connect(**where.libpq())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_a_refusal_of_one_database_leaves_both_as_they_were(
    warehouse: Warehouse, airflow: Warehouse, tmp_path: Path
) -> None:
    ask(airflow, "insert into variable values ('before')")
    saved = backup.save(tmp_path, airflow=airflow)
    ask(airflow, "update variable set key = 'since'")
    ask(warehouse, "insert into ops.runs (run_id, release, started_at) values ('since', 'x', now())")
    ask(warehouse, f'alter database "{warehouse.database}" set default_transaction_read_only to on')
    with pytest.raises(BackupError, match=r"Nothing was restored from .*warehouse.dump: .*read-only transaction"):
        backup.restore(saved, airflow=airflow, replace=True)
    ask(warehouse, f'set transaction read write; alter database "{warehouse.database}" reset all')
    assert ask(airflow, "table variable") == [("since",)]
    assert ask(warehouse, "select run_id from ops.runs") == [("since",)]
    backup.restore(saved, airflow=airflow, replace=True)
    assert ask(airflow, "table variable") == [("before",)]
    assert ask(airflow, "table public_replaced.variable") == [("since",)]
    assert ask(warehouse, "select run_id from ops.runs") == []


@pytest.mark.parametrize("table", ["dag_run", "connection", "variable", "ab_user"])
def test_an_airflow_that_holds_something_is_left_as_it_is(
    warehouse: Warehouse, airflow: Warehouse, tmp_path: Path, table: str
) -> None:
    saved = backup.save(tmp_path, airflow=airflow)
    backup.restore(saved, airflow=airflow)  # a login and empty tables are nothing
    ask(airflow, f"insert into {table} values ('mine')")
    with pytest.raises(BackupError, match=rf"has a history of its own \(in public.{table}\).* --replace"):
        backup.restore(saved, airflow=airflow)
    assert ("mine",) in [row[:1] for row in ask(airflow, f"table {table}")]


def test_an_airflow_that_is_up_is_not_disturbed(warehouse: Warehouse, airflow: Warehouse, tmp_path: Path) -> None:
    saved = backup.save(tmp_path, airflow=airflow)
    up = psycopg2.connect(**airflow.libpq())
    with pytest.raises(BackupError, match=r"is in use by 1 sessions; nothing was restored. Stop Airflow"):
        backup.restore(saved, airflow=airflow, replace=True)
    up.close()


def test_runs_that_were_under_way_are_not_gone_on_with(warehouse: Warehouse, airflow: Warehouse, tmp_path) -> None:
    ask(airflow, "insert into dag_run values ('a', 'running'), ('b', 'success')")
    ask(airflow, "insert into task_instance values ('x', 'deferred'), ('y', 'success'), ('z', 'running')")
    saved = backup.save(tmp_path, airflow=airflow)
    backup.restore(saved, airflow=airflow, replace=True)
    assert ask(airflow, "select run_id, state from dag_run order by 1") == [("a", "failed"), ("b", "success")]
    states = ask(airflow, "select task_id, state from task_instance order by 1")
    assert states == [("x", "failed"), ("y", "success"), ("z", "failed")]
