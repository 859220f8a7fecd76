"""What a monitor sees: gauges that arrive at an OpenTelemetry collector, from a process set up as a task's is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from psycopg2.extensions import connection as Connection

from include.daily.buffers import current
from include.publish.exchange import exchange
from include.results import backups, runs
from include.results.backups import Made
from include.slack import outbox
from include.slack.message import Message
from include.slack.samples import summaries
from tests import http_server
from tests.forks import Forks

pytestmark = pytest.mark.slow

# As airflow.sdk.execution_time.task_runner does, before it runs a task.
LIKE_A_TASK = """
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
from include.daily import metrics, watchdog
from include.slack import samples
stats.initialize(factory=get_stats_factory(), export_legacy_names=True)
"""


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, float]]]:
    """An OpenTelemetry collector on localhost: its address, and the last value of each gauge that it was sent."""
    gauges: dict[str, float] = {}

    class Collector(http_server.Handler):
        def do_POST(self) -> None:  # noqa: N802 - as http.server calls it
            sent = ExportMetricsServiceRequest()
            sent.ParseFromString(self.body())
            for resource in sent.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        for point in metric.gauge.data_points:
                            gauges[metric.name] = point.as_double
            self.answer(200)

    with http_server.served(Collector) as address:
        yield address, gauges


def sent(forks: Forks, code: str, **environment: str) -> dict[str, float]:
    """The gauges of ours that a task's process sends which runs some code."""
    with collector() as (url, gauges):
        metrics = {"AIRFLOW__METRICS__OTEL_ON": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": url, "NO_PROXY": "127.0.0.1"}
        ended = forks.run(LIKE_A_TASK + code, **metrics | environment)
    assert ended.code == 0, ended.stderr
    ours = "airflow.greenery."
    return {name.removeprefix(ours): value for name, value in gauges.items() if name.startswith(ours)}


@pytest.mark.db
def test_the_watchdog_sends_the_age_of_the_data_whether_it_is_late_and_what_waits(db: Connection, forks: Forks) -> None:
    assert sent(forks, "watchdog.check()", GREENERY_SCHEDULE="") == {
        "published.late": 0,
        "backup.late": 0,
        "messages.waiting": 0,
    }
    backups.note(db, Made("a backup", datetime.now(UTC) - timedelta(days=3), ("warehouse",), 1))
    runs.begin(db, "run", "release")
    exchange("run", current(db))
    with db.cursor() as cursor:
        cursor.execute(
            "update ops.watch set since = now() - interval '9 days', backups_since = now() - interval '9 days'"
        )
        cursor.execute("update ops.publications set published_at = now() - interval '2 days'")
        cursor.execute("update ops.publications set data_as_of = published_at")
    outbox.keep(db, "run", "engineers", Message("failed", "bad", "bad", [{}]), waiting=True)
    found = sent(forks, "watchdog.check()", AIRFLOW_CONN_SLACK_DEFAULT="", GREENERY_BACKUP_SCHEDULE="30 7 * * *")
    assert timedelta(days=3) < timedelta(seconds=found.pop("backup.age_seconds")) < timedelta(days=3, minutes=5)
    assert timedelta(days=2) < timedelta(seconds=found.pop("published.age_seconds")) < timedelta(days=2, minutes=5)
    # What is late is kept as well: it waits behind the other, or there is no Slack that it could wait for.
    assert found.pop("messages.waiting") >= 1
    assert found == {"published.late": 1, "backup.late": 1}


def test_the_report_sends_what_became_of_the_run(forks: Forks) -> None:
    of_run = "metrics.of_run(samples.summaries()['{}'])"
    assert sent(forks, of_run.format("failed_tests")) == {
        "run.published": 0,
        "run.seconds": summaries()["failed_tests"].took.total_seconds(),
        "run.tests_passed": 190,
        "run.tests_warned": 0,
        "run.tests_failed": 3,
        "run.tests_skipped": 81,
        "run.unusual_figures": 0,
    }
    assert "run.seconds" not in sent(forks, of_run.format("failed_before_anything"))


def test_nothing_is_sent_and_nothing_fails_without_a_monitor(forks: Forks) -> None:
    code = "metrics.of_run(samples.summaries()['published'])"
    assert sent(forks, code, AIRFLOW__METRICS__OTEL_ON="False") == {}
    assert sent(forks, code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="1") == {}
