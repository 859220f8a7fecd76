"""What a monitor can watch, sent by tasks through Airflow's own metrics: docs/operations.md lists it.

Where Airflow sends no metrics (`AIRFLOW__METRICS__OTEL_ON`), and outside of a task, nothing is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from airflow.sdk.observability import stats
from psycopg2.extensions import connection as Connection

from include.results import publications
from include.results.backups import Made
from include.results.summary import Summary
from include.slack import outbox

log = logging.getLogger(__name__)


def of_run(summary: Summary) -> None:
    """What became of a run."""
    _send(
        {
            "run.published": summary.published,
            "run.seconds": summary.took.total_seconds() if summary.took else None,
            "run.tests_passed": summary.passed,
            "run.tests_warned": summary.warned,
            "run.tests_failed": summary.failed,
            "run.tests_skipped": summary.skipped,
            "run.unusual_figures": len(summary.unusual),
        }
    )


def of_now(connection: Connection, now: datetime, *, late: bool, backup: Made | None, backup_late: bool) -> None:
    """How old what people query is and the last backup, whether either is late, and what Slack has not taken."""
    live = publications.live(connection)
    _send(
        {
            "published.age_seconds": (now - live.data_as_of).total_seconds() if live else None,
            "published.late": late,
            "backup.age_seconds": (now - backup.made_at).total_seconds() if backup else None,
            "backup.late": backup_late,
            "messages.waiting": outbox.count_waiting(connection),
        }
    )


def _send(gauges: Mapping[str, float | None]) -> None:
    """Set gauges, except those of which nothing is known. Never raises: a monitor must not cost a message."""
    try:
        for name, value in gauges.items():
            if value is not None:
                stats.gauge(f"greenery.{name}", float(value))
    except Exception:
        log.exception("Airflow did not take the metrics.")
