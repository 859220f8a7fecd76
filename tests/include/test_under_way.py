"""What the command shows that the runbook once asked in SQL, and how it ends a session."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from threading import Thread

import pytest
from psycopg2.extensions import connection as Connection

from include import raw, under_way
from include.raw import lease
from include.results import publications
from include.results.publications import ROLL_BACK
from include.settings import Warehouse
from include.slack import outbox
from include.slack.message import Message
from include.warehouse import open_connection
from tests.waiting import wait_for

pytestmark = pytest.mark.db


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    """The lines below each heading."""
    assert under_way.main(list(arguments)) == 0
    found: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  "):
            list(found.values())[-1].append(line.strip())
        else:
            found[line] = []
    return found


def test_a_quiet_warehouse(db: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys)
    assert (told["Raw tables"][0], told["Messages"], told["Decisions"]) == ("nobody reads them", [], [])


def test_it_shows_who_reads_raw_what_was_loaded_said_and_decided(
    db: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    lease.take(db, "run 7")
    with db.cursor() as cursor:
        raw.create(cursor)
        for day, rows in ((1, 10), (2, 20)):
            at = datetime(2026, 11, day, 5, tzinfo=UTC)
            cursor.execute("insert into raw.loads values ('orders', %s, %s)", (at, rows))
    outbox.keep(db, "run", "engineers", Message("failed", "it\n\x1b[2Jbroke", "", [{}]), waiting=True)
    publications.decide(db, ROLL_BACK, None, "ada", "revenue is wrong")
    db.commit()
    told = shown(capsys)
    assert re.fullmatch(r"run 7 reads them since .* UTC", told["Raw tables"][0])
    assert told["Raw tables"][1:] == ["orders: 20 rows were loaded at 02 Nov 2026 05:00 UTC"]
    assert told["Messages"][0].endswith("UTC, for engineers: it ?[2Jbroke, waits: not tried yet")
    assert told["Decisions"][0].endswith("UTC, roll back by ada: revenue is wrong, without effect")


def test_who_is_in_somebodys_way_is_shown_and_can_be_ended(
    db: Connection, warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = (open_connection(name, warehouse) for name in ("a reader", "a writer"))
    with reader.cursor() as cursor:
        cursor.execute("select count(*) from ops.runs")
    waits = Thread(target=_lock, args=(writer,))
    waits.start()
    pid = reader.info.backend_pid

    def waiting() -> list[str]:
        return [one for one in shown(capsys)["Sessions"] if f"waits for {pid}:" in one]

    wait_for(waiting, "the writer waits for the reader")
    assert "a writer" in waiting()[0]
    [of_reader] = [one for one in shown(capsys)["Sessions"] if "a reader" in one]
    assert re.match(rf"{pid}: \S+, a reader, from \S+, idle in transaction since .* UTC: select count", of_reader)
    assert under_way.main(["end", str(pid)]) == 0
    assert re.fullmatch(rf"Ended: session {pid} of \S+ \(a reader\)\.\n", capsys.readouterr().out)
    waits.join(30)
    assert not waits.is_alive(), "who waited has what it waited for"
    reader.close()
    writer.close()


def _lock(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("lock table ops.runs in access exclusive mode")
    connection.rollback()


@pytest.mark.parametrize("pid", [0, 999_999_999])
def test_a_session_that_is_not_there_is_not_ended(db: Connection, capsys: pytest.CaptureFixture[str], pid: int) -> None:
    assert under_way.main(["end", str(pid)]) == 1
    assert f"There is no session {pid} in database" in capsys.readouterr().err
