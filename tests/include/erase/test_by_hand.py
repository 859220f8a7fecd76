"""An erasure by a shell and in the UI: by whose rights, what is said of it, and what its certificate is good for."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from airflow.sdk.exceptions import AirflowFailException
from psycopg2.extensions import connection as Connection

from include import settings
from include.erase import __main__ as command
from include.erase import erasure
from include.erase.by_hand import erase_in_airflow
from include.erase.places import EraseError
from include.settings import Warehouse
from include.warehouse import connect, roles, sandbox
from include.warehouse.roles import LOADER, TRANSFORMER
from tests.include.erase.conftest import ANN, SHOP, ask, everything, loaded

pytestmark = pytest.mark.db


def test_the_command_says_what_it_did_and_names_nobody(shop: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--user", "ann-0001", "--reason", "  "]) == 1
    assert "takes a reason" in capsys.readouterr().err
    assert command.main(["--user", "ann-0001", "--reason", "asked for it"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["changed"]["raw.orders"] == 2
    assert json.loads(said.out)["erased_by"].startswith("postgres (")
    assert "2 in raw.orders" in said.err
    assert command.main(["--user", "nobody", "--reason", "asked for it"]) == 1
    assert "No user has this id" in capsys.readouterr().err


def test_by_hand_in_the_ui_it_is_of_who_triggered_it_and_the_log_names_nobody(
    shop: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    erase_in_airflow("grace", " ann-0001 ", "Ann May asked")
    assert ask(shop, "select erased_by, reason from ops.erasures") == [("grace", "[erased] asked")]
    assert '"erased_by": "grace"' in caplog.text
    assert [value for value in ANN if value in caplog.text] == []


@pytest.mark.parametrize(("user_id", "said"), [(None, "takes the id of a user"), ("nobody", "No user has this id")])
def test_what_the_form_lacks_fails_the_task_for_good(shop: Connection, user_id: str | None, said: str) -> None:
    with pytest.raises(AirflowFailException, match=said):
        erase_in_airflow("grace", user_id, "why")


def test_who_builds_may_erase_and_do_nothing_else_to_raw(shop: Connection, warehouse: Warehouse) -> None:
    """An erasure in Airflow is a task's, which works as `greenery_transformer`."""
    roles.ensure(shop, login=True)
    builder = Warehouse(warehouse.host, warehouse.port, warehouse.database, TRANSFORMER, "")
    erasure.erase("ann-0001", "asked for it", lambda _: "ada", builder)
    left = "\n".join(row for row in everything(shop).splitlines() if not row.startswith("pg_catalog."))  # raw's
    assert [value for value in ANN if value in left] == []
    for statement in (
        "update raw.orders set order_total = 0",
        "delete from raw.orders",
        "update raw.events set event_type = ''",
        "insert into raw.orders (order_id) values ('o9')",
        "update raw.products set price = 0",
        "delete from raw.users",
        "update raw.users set created_at = now()",
        "truncate raw.users",
    ):
        with (
            connect("test", builder) as connection,
            connection.cursor() as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
        ):
            cursor.execute(statement)
    # The loader knows of the stand-ins, by hash alone.
    loader = Warehouse(warehouse.host, warehouse.port, warehouse.database, LOADER, "")
    with connect("test", loader) as connection:
        assert loaded(connection, SHOP).changed == 0


def test_without_the_rights_it_says_who_has_them(shop: Connection, warehouse: Warehouse) -> None:
    roles.ensure(shop, login=True)
    with shop.cursor() as cursor:
        cursor.execute(f"revoke all on raw.users from {TRANSFORMER}; grant select on raw.users to {TRANSFORMER}")
    builder = Warehouse(warehouse.host, warehouse.port, warehouse.database, TRANSFORMER, "")
    with pytest.raises(EraseError, match=r"permission denied for table users, so nothing was erased. Let the admin"):
        erasure.erase("ann-0001", "asked for it", lambda _: "ada", builder)


def test_after_a_restore_certificates_are_carried_out_again(
    shop: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--user", "ann-0001", "--reason", "asked for it"]) == 0
    out = capsys.readouterr().out
    assert [value for value in ANN if value in out] == []
    (tmp_path / "certificate.json").write_text(out)
    [(stand_in,)] = ask(shop, "select stand_in from ops.stand_ins where table_name = 'users'")
    with shop.cursor() as cursor:  # as the backup and the shop have it
        cursor.execute("delete from ops.stand_ins; delete from ops.erasures")
    loaded(shop, SHOP)
    assert "ann@example.com" in everything(shop)
    for _ in range(2):
        assert command.main(["--again", str(tmp_path / "certificate.json")]) == 0
    assert [value for value in ANN if value in everything(shop)] == []
    assert ask(shop, "select distinct user_id from raw.orders where order_id in ('o1', 'o2')") == [(stand_in,)]
    assert capsys.readouterr().err.splitlines()[-2:] == ["Erased again: 1.", "Erased again: 0."]
    assert loaded(shop, SHOP).changed == 0


def erased_again(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """What the command ended with, and what it said."""
    capsys.readouterr()
    return command.main(["--again"]), capsys.readouterr().err


def test_a_sandbox_that_another_session_works_in_stays_and_is_named(
    shop: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect("test of work") as at_work:
        sandbox.create(at_work, "preview_ana", "a test")
        with at_work.cursor() as cursor:
            cursor.execute("create table preview_ana_staging.people as select * from raw.users")
        at_work.commit()
        code, said = erased_again(capsys)
    assert code == 1
    assert "Sandbox preview_ana is in use by" in said
    assert "test of work" in said
    assert "Nothing was changed" not in said
    assert "Not looked at" not in said, "it is named once"
    assert erased_again(capsys)[0] == 0


def test_a_branch_that_somebody_reads_stays_and_is_named_and_others_go(
    shop: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(erasure, "_PATIENCE", "100ms")
    for name in ("branch_ana", "branch_bob"):
        with connect("test") as connection:
            sandbox.create(connection, name, "a test")
            with connection.cursor() as cursor:
                cursor.execute(f"create table {name}.people as select * from raw.users")
    with connect("test") as reader, reader.cursor() as cursor:
        cursor.execute("select count(*) from branch_ana.people")  # in a transaction that stays open
        code, said = erased_again(capsys)
    assert code == 1
    assert "Dropped, as they may have held who was erased: branch_bob." in said
    assert "Sandbox branch_ana could not be dropped: canceling statement due to lock timeout." in said


def test_a_sandbox_of_another_role_stays_and_is_named(
    shop: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    roles.ensure(shop, login=True)
    with shop.cursor() as cursor:
        cursor.execute("create role stranger; create schema branch_of_a_stranger authorization stranger")
        cursor.execute("create table branch_of_a_stranger.people as select * from raw.users")
        cursor.execute("create schema etl authorization stranger; create table etl.leads (email text)")
    monkeypatch.setattr(settings, "warehouse_admin", lambda: replace(warehouse, user=TRANSFORMER))
    code, said = erased_again(capsys)
    assert code == 1
    assert "Schema branch_of_a_stranger is another role's: ask who made it to drop it." in said
    assert "Not looked at, as they are not ours: schema etl." in said


def test_a_backup_from_before_an_erasure_is_named_until_it_is_deleted(
    shop: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GREENERY_BACKUP_DIR", str(tmp_path))
    before, after = tmp_path / "warehouse-20260301T073000Z", tmp_path / "warehouse-29990101T073000Z"
    before.mkdir()
    after.mkdir()
    assert erased_again(capsys)[0] == 0, "nobody was erased so far"
    assert command.main(["--user", "ann-0001", "--reason", "asked for it"]) == 0
    code, said = erased_again(capsys)
    assert code == 1
    assert f"Backups from before the last erasure, in {tmp_path}: {before.name}. Save a new one" in said
    before.rmdir()
    assert erased_again(capsys)[0] == 0


def test_where_nobody_can_ask_for_sandboxes_it_is_said(
    shop: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")

    def lost(_: Connection) -> list[sandbox.Use]:
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(sandbox, "all_of", lost)
    code, said = erased_again(capsys)
    assert code == 1
    assert "Sandboxes could not be asked for" in said


def test_a_certificate_of_another_warehouse_is_refused(
    shop: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--user", "ann-0001", "--reason", "asked for it"]) == 0
    told = json.loads(capsys.readouterr().out) | {"key": "another"}
    (tmp_path / "certificate.json").write_text(json.dumps(told))
    assert command.main(["--again", str(tmp_path / "certificate.json")]) == 1
    assert "made with another key" in capsys.readouterr().err
