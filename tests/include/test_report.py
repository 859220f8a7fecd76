"""The last word of a run: gathered from its own release's manifest, said, and kept for the next one to compare with."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include import report
from include.results import publications, store
from include.warehouse import migrate
from tests.include.results.project import FACTS
from tests.include.results.test_report import BUILT, DOUBLED, PASSED

pytestmark = pytest.mark.db


@pytest.fixture
def ops(db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A warehouse in which a run of a kept release began."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    target = tmp_path / "dbt" / "releases" / "release" / "target"
    target.mkdir(parents=True)
    (target / "manifest.json").write_text(json.dumps(asdict(FACTS)))
    migrate.upgrade()
    store.begin(db, "run", "release")
    return db


def told(ops: Connection) -> list[tuple[str, str]]:
    """Kind and body of each message that was kept."""
    with ops.cursor() as cursor:
        cursor.execute("select kind, body from ops.messages order by message_id")
        return cursor.fetchall()


def test_a_failed_run_tells_where_it_broke_with_links_that_work(ops: Connection) -> None:
    store.record(ops, "run", "check_sources", 1, [DOUBLED])
    report._tell("greenery_daily", "run", {"check_sources": "failed", "report": None}, run_failed=True)
    [(kind, body)] = told(ops)
    assert kind == "failed"
    assert "raw table raw.orders · Data platform" in body
    assert "http://localhost:8080/dags/greenery_daily/runs/run/tasks/check_sources" in body


def test_a_report_that_is_repeated_says_the_same(ops: Connection) -> None:
    store.record(ops, "run", "task", 1, [*BUILT, PASSED])
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
        cursor.execute("create table analytics.dim_users as select unnest(array[1, 2]) as orders")
    for _ in range(2):
        report._tell("greenery_daily", "run", {"task": "success"}, run_failed=False)
    [(kind, body)] = told(ops)
    assert kind == "published"
    assert "Repeat rate: 50.0 % (1 of 2 buyers" in body
    with ops.cursor() as cursor:
        cursor.execute("select metric, value from ops.metrics")
        assert cursor.fetchall() == [("repeat_rate", 0.5)]
