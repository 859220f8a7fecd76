"""`ops.runs`: when a run began, and with which release."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.results import runs

pytestmark = pytest.mark.db


def test_a_run_that_is_cleared_keeps_its_start_and_its_release(ops: Connection) -> None:
    before = runs.find(ops, "run")
    assert runs.begin(ops, "run", "newer") == "release"
    assert runs.find(ops, "run") == before


def test_when_a_run_was_cleared_is_believed_up_to_now_and_from_the_last_who_says_so(ops: Connection) -> None:
    def begun_at() -> datetime | None:
        with ops.cursor() as cursor:
            cursor.execute("select begun_at from ops.runs")
            return cursor.fetchone()[0]

    now = datetime.now(UTC)
    runs.note_begun(ops, "run", None)
    assert begun_at() is None
    runs.note_begun(ops, "run", now)
    runs.note_begun(ops, "run", now - timedelta(hours=1))  # a task that was frozen
    assert begun_at() == now
    runs.note_begun(ops, "run", now + timedelta(hours=1))
    assert now < begun_at() < now + timedelta(minutes=1)
