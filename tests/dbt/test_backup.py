"""A backup, brought into another warehouse: every row is there, what belongs to the old one is not, and days go on."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include import backup
from include.backup import BackupError
from include.daily import snapshots
from include.dbt_project import manifest
from include.local import postgres
from include.publish import by_hand
from include.publish.gate import NotPublishedError
from include.raw import lease
from include.results import backups, figures, node_results, orders, publications
from include.results.backups import Made
from include.results.figures import Figure, Figures
from include.results.nodes import NodeResult
from include.settings import Warehouse
from include.slack import outbox
from include.slack.message import Message
from include.warehouse import client, connect, migrate
from include.words import Unit
from tests.dbt.conftest import WAREHOUSE, KeptShop
from tests.dbt.days import SCHEMAS, Days, Project

pytestmark = pytest.mark.db

# What is about the warehouse of which the backup was made, and is not so in another one.
OF_THE_OTHER = {
    "ops.publications": {"schema_oid"},
    "ops.messages": {"waiting", "problem"},
    "ops.leases": {"released_at"},
}


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's programs of the server's version."""
    folder = Path(postgres.binary("psql")).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="module")
def days(told_in_full: Project, shop: KeptShop) -> Iterator[Days]:
    """A warehouse after two days, with a row in every table of `ops`, a run under way and a message that waits."""
    played = Days(shop, told_in_full, seed=1)
    played.two_full_runs()
    with connect("test") as connection:
        rows = [{"id": "é\\ \t"}]
        result = NodeResult("test.a", "test", "a", "fail", "error", 1, None, 0.5, None, "select 1 -- é\n", rows)
        node_results.record(connection, "run 2", "check_sources", 1, [result])
        node_results.keep_compiled(connection, "run 2", [result])
        stated = [Figure("orders", "Orders", Unit.NUMBER, 12.0), Figure("conversion", "C", Unit.PERCENT, float("nan"))]
        figures.keep(connection, "run 2", Figures(daily=tuple(stated)))
        orders.note_told(connection, "run 2")
        with connection.cursor() as cursor:
            cursor.execute("insert into ops.releases (stamp, packed) values ('a release', '\\x00')")
            cursor.execute(
                "insert into ops.personal_columns values ('email');"
                " insert into ops.erasures (erased_by, reason, changed) values ('ada', 'asked', '{}');"
                " insert into ops.stand_ins values ('users', 'a hash', 'erased-1', 'erased-1', false, '{}', 1);"
                " insert into ops.observations (unique_id, measure, item, day, value, run_id)"
                " values ('source.a', 'share', 'é\\ \t', '2026-11-23', 'NaN', 'run 2');"
                " insert into ops.unusual (run_id, unique_id, measure, day, value, expected, least, most, score, since,"
                " because, learned_from)"
                " values ('run 2', 'source.a', 'rows', '2026-11-23', 1, 2, 1.5, 3, 'Infinity', '2026-11-23', '{}', 28);"
                " insert into ops.answers (answered_by, kind, unique_id, reason) values ('ada', 'mine', 'test.a', 's');"
                " insert into ops.answers (answered_by, kind, unique_id, reason, ends)"
                " values ('ada', 'end', 'test.a', 'well', 1);"
                " insert into ops.proofs (result) values ('{\"days\": 90}');"
                " insert into ops.schedules (schedule, since) values ('0 6 * * *', now());"
                " insert into ops.explanations values (2, 'users', '2026-11-23', '{}');"
                " insert into ops.code values ('a hash', 'select é');"
                " insert into ops.publication_models values (2, 'model.a', 'c0ffee', 'a hash');"
                " insert into ops.publication_marts values (2, 'a', now(), 1, 0, 0, null);"
                " with moved as (insert into ops.moves (publication_id, metric, period, starts, told, value, usual,"
                " adds_up, parts, causes) values (2, 'users', 'day', '2026-11-23', 1, 2.5, false, true, '[1]', '[]')"
                " returning move_id)"
                " insert into ops.moved_rows (move_id, side, unique_id, key_column, key, what, changed)"
                " select move_id, 'numerator', 'model.a', 'id', 'é', 'late', '{a}' from moved;"
                " insert into ops.risks values (now(), now(), now(), 'why', '{raw.orders}', now(), false)"
            )
        publications.decide(connection, publications.HOLD, None, "ada", "the auditors\nare here")
        outbox.keep(connection, "run 1", "engineers", Message("published", "well", "so\n", [{}]), waiting=False)
        outbox.keep(connection, "run 2", "engineers", Message("failed", "bad", "oh", [{"a": '"'}]), waiting=True)
        lease.take(connection, "run 3")
        backups.note(
            connection, Made("warehouse-20261124T073000Z", datetime(2026, 11, 24, tzinfo=UTC), ("warehouse",), 9)
        )
    snapshots.remember(manifest.read(told_in_full.work / "target" / "manifest.json"), "run 2")
    yield played
    for schema in (*SCHEMAS, "ops_replaced", "snapshots_replaced"):
        shop.query(f"drop schema if exists {schema} cascade")


@pytest.fixture
def saved(days: Days, server: postgres.LocalPostgres, tmp_path: Path) -> Path:
    """Its backup."""
    return backup.save(tmp_path / "backups", server.database(WAREHOUSE))


@pytest.fixture
def elsewhere(server: postgres.LocalPostgres) -> Iterator[Warehouse]:
    """An empty database."""
    name = f"elsewhere_{uuid.uuid4().hex[:12]}"
    postgres.ensure_database(server, name)
    yield server.database(name)
    with postgres.admin(server) as cursor:
        cursor.execute(f'drop database "{name}" with (force)')


def ask(where: Warehouse, statement: str) -> list[tuple]:
    with connect("test", where) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def content(where: Warehouse) -> dict[str, list[dict]]:
    """Every row of every table of the two schemas."""
    tables = ask(
        where, "select format('%s.%s', schemaname, tablename) from pg_tables where schemaname in ('ops', 'snapshots')"
    )
    rows = {table: ask(where, f"select to_jsonb(whole) from {table} as whole") for (table,) in tables}
    return {table: sorted((row for (row,) in found), key=str_of) for table, found in rows.items()}


@pytest.mark.parametrize("prepared", [False, True], ids=["empty database", "migrated warehouse"])
def test_every_row_is_restored(days: Days, saved: Path, server, elsewhere: Warehouse, prepared: bool) -> None:
    if prepared:
        migrate.upgrade(elsewhere)
    before = content(server.database(WAREHOUSE))
    assert [table for table, rows in before.items() if not rows] == []
    backup.restore(saved, elsewhere)
    restored = content(elsewhere)
    assert restored.keys() == before.keys()
    for table, rows in before.items():
        kept = [] if table in backup.OF_THE_BUFFERS else rows
        assert without(restored[table], OF_THE_OTHER.get(table)) == without(kept, OF_THE_OTHER.get(table)), table
    assert {row["schema_oid"] for row in restored["ops.publications"]} == {"0"}
    assert [row["waiting"] for row in restored["ops.messages"]] == [False, False]
    assert all(row["released_at"] for row in restored["ops.leases"])


def without(rows: list[dict], columns: set[str] | None) -> list[dict]:
    """Rows but for some columns, in an order that depends on nothing but them."""
    return sorted(({key: row[key] for key in row.keys() - (columns or set())} for row in rows), key=str_of)


def str_of(row: dict) -> str:
    return repr(sorted(row.items()))


def test_indexes_keys_and_numbers_go_on(days: Days, saved: Path, server, elsewhere: Warehouse) -> None:
    indexes = "select indexdef from pg_indexes where schemaname in ('ops', 'snapshots') order by 1"
    keys = (
        "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace in ('ops'::regnamespace, 'snapshots'::regnamespace) order by 1, 2"
    )
    backup.restore(saved, elsewhere)
    for query in (indexes, keys):
        assert ask(elsewhere, query) == ask(server.database(WAREHOUSE), query)
    with connect("test", elsewhere) as connection:
        decision = publications.decide(connection, publications.RELEASE, None, "ada", "they are gone")
        lease.take(connection, "the next run")
        kept = outbox.keep(connection, "run 4", "engineers", Message("late", "late", "late", [{}]), waiting=False)
    assert (decision.decision_id, kept.message_id) == (2, 3)


def test_the_roles_own_what_was_restored(saved: Path, elsewhere: Warehouse) -> None:
    backup.restore(saved, elsewhere)
    owners = ask(
        elsewhere,
        "select distinct tableowner from pg_tables where schemaname in ('ops', 'snapshots')"
        " union select pg_get_userbyid(nspowner) from pg_namespace where nspname in ('ops', 'snapshots')",
    )
    assert owners == [("greenery_transformer",)]
    assert ask(elsewhere, "select has_table_privilege('greenery_health', 'ops.messages', 'select')") == [(True,)]


def test_nobody_is_told_of_marts_that_are_not_there(saved: Path, elsewhere: Warehouse, monkeypatch) -> None:
    backup.restore(saved, elsewhere)
    for key, value in elsewhere.environment().items():
        monkeypatch.setenv(key, value)
    with connect("test") as connection:
        assert publications.live(connection) is None
        assert publications.hold(connection).reason == "the auditors\nare here"
        assert outbox.next_waiting(connection) is None
        with connection.cursor() as cursor:
            assert lease.held(cursor) is None
    with pytest.raises(NotPublishedError, match="Nothing was published before"):
        by_hand.roll_back("ada", "to see it refused")


def test_a_warehouse_with_history_is_left_as_it_is(days: Days, saved: Path, server) -> None:
    where = server.database(WAREHOUSE)
    days.shop.query("update ops.leases set released_at = now()")
    before = content(where)
    with pytest.raises(BackupError, match=r"has a history of its own \(in ops.answers, .* --replace"):
        backup.restore(saved, where)
    assert content(where) == before


def test_a_run_that_is_under_way_is_not_disturbed(saved: Path, elsewhere: Warehouse) -> None:
    migrate.upgrade(elsewhere)
    with connect("test", elsewhere) as connection:
        lease.take(connection, "run 9")
    with pytest.raises(BackupError, match="run 9 is under way"):
        backup.restore(saved, elsewhere, replace=True)


def nothing_is_there(where: Warehouse) -> bool:
    return ask(where, "select nspname from pg_namespace where nspname in ('ops', 'snapshots', 'raw')") == []


@pytest.mark.parametrize("kept", [0.5, 0.95], ids=["half of the file", "most of the file"])
def test_a_file_that_was_cut_off_restores_nothing(saved: Path, elsewhere: Warehouse, kept: float) -> None:
    dump = saved / "warehouse.dump"
    dump.write_bytes(dump.read_bytes()[: int(dump.stat().st_size * kept)])
    with pytest.raises(BackupError, match="can't be read as a backup: it is cut off, or was changed"):
        backup.restore(saved, elsewhere)
    assert nothing_is_there(elsewhere)


def test_rows_that_do_not_arrive_are_counted_before_anybody_sees_the_others(
    saved: Path, elsewhere: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy(tmp_path / "bin", """sed '/^COPY ops.metrics /,/^\\\\\\.$/ {/^run 2/d}'; exit 0""", monkeypatch)
    with pytest.raises(BackupError, match=r"Nothing was restored from .*/warehouse.dump: .*has 2 rows of ops.metrics"):
        backup.restore(saved, elsewhere)
    assert nothing_is_there(elsewhere)


def test_a_pg_restore_that_is_killed_near_its_end_restores_nothing(
    saved: Path, elsewhere: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows are there by then, and keys and indexes are not."""
    lossy(tmp_path / "bin", "head -n -40; kill -9 $$", monkeypatch)
    with pytest.raises(BackupError, match=r"Nothing was restored from .*: it was ended by SIGKILL"):
        backup.restore(saved, elsewhere)
    assert nothing_is_there(elsewhere)


def lossy(folder: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pg_restore that does something to what it restores, and nothing to what is only read."""
    program = folder / "pg_restore"
    folder.mkdir()
    program.write_text(
        f"""#!/bin/sh
        case "$*" in *--version*|*--data-only*) exec {postgres.binary("pg_restore")} "$@";; esac
        {postgres.binary("pg_restore")} "$@" | {does}
        """
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_what_the_database_refuses_restores_nothing(saved: Path, elsewhere: Warehouse) -> None:
    migrate.upgrade(elsewhere)
    ask(elsewhere, "alter database " + elsewhere.database + " set default_transaction_read_only to on")
    with pytest.raises(BackupError, match=r"Nothing was restored .*read-only transaction"):
        backup.restore(saved, elsewhere)
    assert ask(elsewhere, "select count(*) from ops.runs") == [(0,)]


def test_what_is_no_backup_is_refused(elsewhere: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Ada")
    for path in (tmp_path, tmp_path / "letter.txt", tmp_path / "not there"):
        with pytest.raises(BackupError, match="can't be read as a backup"):
            backup.restore(path, elsewhere)


def test_a_backup_of_a_newer_version_is_refused(elsewhere: Warehouse, tmp_path: Path) -> None:
    migrate.upgrade(elsewhere)
    ask(elsewhere, "update ops.alembic_version set version_num = '9999'")
    file = backup.save(tmp_path, elsewhere)
    with pytest.raises(BackupError, match="at migration 9999"):
        backup.restore(file, elsewhere)


def test_no_client_or_one_of_another_version_is_said(saved: Path, elsewhere: Warehouse, tmp_path, monkeypatch) -> None:
    migrate.upgrade(elsewhere)
    monkeypatch.setattr(client, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackupError, match=r"there is no pg_dump on the PATH. .*postgresql-client-18"):
        backup.save(tmp_path, elsewhere)
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BackupError, match=r"is PostgreSQL 18, and .*/pg_dump is version 15"):
        backup.restore(saved, elsewhere)


def test_a_client_where_debian_has_it_is_found_behind_another_one(
    saved: Path, elsewhere: Warehouse, tmp_path, monkeypatch
) -> None:
    old, own = tmp_path / "path", tmp_path / "18" / "bin"
    for folder in (old, own):
        folder.mkdir(parents=True)
    for name in client.PROGRAMS:
        (old / name).write_text("#!/bin/sh\necho 'psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)'\n")
        (old / name).chmod(0o755)
        (own / name).symlink_to(postgres.binary(name))
    monkeypatch.setattr(client, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", f"{old}:/usr/bin:/bin")
    backup.restore(saved, elsewhere)
    assert ask(elsewhere, "select count(*) > 0 from ops.runs") == [(True,)]


def test_the_commands_save_restore_and_say_what_they_did(
    saved, elsewhere: Warehouse, tmp_path, monkeypatch, capsys
) -> None:
    for key, value in elsewhere.environment().items():
        monkeypatch.setenv(key, value)
    assert backup.main(["restore", str(saved)]) == 0
    assert backup.main(["restore", str(saved)]) == 1
    assert "--replace" in capsys.readouterr().err
    assert backup.main(["restore", str(saved), "--replace"]) == 0
    assert ask(elsewhere, "table ops.runs except table ops_replaced.runs") == []
    assert ask(elsewhere, "select count(*) from ops.runs") == ask(elsewhere, "select count(*) from ops_replaced.runs")
    assert backup.main(["restore", str(saved), "--replace"]) == 1
    assert "of a former restore is still there" in capsys.readouterr().err
    assert backup.main(["save", str(tmp_path / "again")]) == 0
    [again] = (tmp_path / "again").glob("*Z")
    assert capsys.readouterr().out == f"{again}\n"
    assert backup.main(["list", str(tmp_path / "again")]) == 0
    assert capsys.readouterr().out.startswith(f"{again}  ")
    assert backup.main(["check", str(again)]) == 0
    assert "Whole: " in capsys.readouterr().err
    (again / "warehouse.dump").unlink()
    assert backup.main(["check", str(again)]) == 1
    assert "warehouse.dump is missing" in capsys.readouterr().err


def test_what_is_known_of_the_schemas_is_forgotten_where_a_database_moved(
    days: Days, elsewhere: Warehouse, monkeypatch
) -> None:
    where = replace(elsewhere, database=WAREHOUSE)
    whole = subprocess.run(
        [*("pg_dump", "-h", where.host, "-p", str(where.port), "-U", where.user), WAREHOUSE],
        capture_output=True,
        check=True,
    )
    subprocess.run(
        [*("psql", "-q", "-h", where.host, "-p", str(where.port), "-U", where.user), elsewhere.database],
        input=whole.stdout,
        capture_output=True,
        check=True,
    )
    for key, value in elsewhere.environment().items():
        monkeypatch.setenv(key, value)
    assert backup.main(["moved"]) == 0
    assert [ask(elsewhere, f"table {table}") for table in backup.OF_THE_BUFFERS] == [[], [], []]
    assert ask(elsewhere, "select distinct schema_oid from ops.publications") == [(0,)]


def test_the_next_days_run_on_what_was_restored(days: Days, saved: Path, server: postgres.LocalPostgres) -> None:
    """Last, since it changes the warehouse that the tests above look at. The loader has brought raw again."""
    days.shop.query("update ops.leases set released_at = now()")
    versions = days.shop.value("select count(*) from snapshots.orders_snapshot")
    for schema in set(SCHEMAS) - {"raw"}:
        days.shop.query(f"drop schema if exists {schema} cascade")
    backup.restore(saved, server.database(WAREHOUSE))
    facts = manifest.read(days.project.work / "target" / "manifest.json")
    assert snapshots.problem(facts) is None
    publications.decide(days.shop.connection, publications.RELEASE, None, "ada", "the auditors are gone")
    for _ in range(2):
        assert days.run() == days.project.incremental
        days.load_a_day()
    assert days.run() == set()
    assert days.shop.value("select count(*) from snapshots.orders_snapshot") > versions
    assert days.shop.value("select count(*) from ops.publications") == 5
