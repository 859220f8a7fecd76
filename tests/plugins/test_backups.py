"""The page says how old the last backup is, and that one is late."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from psycopg2.extensions import connection as Connection

from include.results import backups
from include.results.backups import Made
from plugins.data_health import pages
from plugins.data_health.views import now
from tests.plugins.conftest import Ask

pytestmark = pytest.mark.db

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("made_at", "schedule", "says"),
    [
        (None, "", "none that this warehouse knows of"),
        (None, "30 7 * * *", "No backup was made since 24 Nov 2026 07:30 UTC, when one was due."),
        (datetime(2026, 11, 23, 7, 31, tzinfo=UTC), "30 7 * * *", "No backup was made since 24 Nov 2026 07:30 UTC"),
        (datetime(2026, 11, 23, 7, 31, tzinfo=UTC), "", "23 Nov 2026 07:31 UTC, warehouse and airflow"),
        (datetime(2026, 11, 24, 7, 31, tzinfo=UTC), "30 7 * * *", "24 Nov 2026 07:31 UTC, warehouse and airflow"),
    ],
)
def test_the_page_tells_of_the_last_backup(
    ops: Connection, ask: Ask, monkeypatch: pytest.MonkeyPatch, made_at: datetime | None, schedule: str, says: str
) -> None:
    monkeypatch.setenv("GREENERY_BACKUP_SCHEDULE", schedule)
    with ops.cursor() as cursor:
        cursor.execute("update ops.watch set backups_since = '2026-01-01'")
    if made_at:
        backups.note(ops, Made("a backup", made_at, ("warehouse", "airflow"), 1))
    page = re.sub("<[^>]*>", "", pages.render("now.html", answer=ask(now.read, at=NOON)))
    assert says in page
    assert ("No backup was made since" in page) is ("No backup" in says)
