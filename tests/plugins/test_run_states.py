"""What became of a run, told from what it left in `ops`."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily.admission import holder_of
from include.raw import lease
from include.results import node_results, publications, runs
from include.slack import outbox
from include.slack.message import Message
from plugins.data_health.reading import reading
from plugins.data_health.runs import State, named

pytestmark = pytest.mark.db


@pytest.fixture
def begun(ops: Connection) -> Connection:
    """A run that began, and has left a result."""
    runs.begin(ops, "run", "release")
    node_results.record_task(ops, "run", "check_sources", 1, "a result")
    return ops


def state() -> State:
    with reading() as found:
        return named(found, "run").state


def publish(ops: Connection) -> None:
    with ops.cursor() as cursor:
        publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])


def fail(ops: Connection) -> None:
    outbox.keep(ops, "run", "engineers", Message("failed", "bad", "bad", []), waiting=False)


def test_one_that_says_nothing(begun: Connection) -> None:
    assert state() is State.UNKNOWN


def test_one_that_has_begun_and_waits_for_another_or_loads_the_shop(ops: Connection) -> None:
    runs.begin(ops, "run", "release")
    assert state() is State.RUNNING
    ops.cursor().execute("update ops.runs set started_at = now() - interval '2 hours'")
    assert state() is State.UNKNOWN


def test_one_that_reads_raw_until_it_is_silent_for_too_long(begun: Connection) -> None:
    lease.take(begun, holder_of("run"))
    assert state() is State.RUNNING
    begun.cursor().execute("update ops.leases set renewed_at = now() - %s", (lease.EXPIRES_AFTER,))
    assert state() is State.UNKNOWN


def test_one_that_failed(begun: Connection) -> None:
    fail(begun)
    assert state() is State.FAILED


def test_one_that_published(begun: Connection) -> None:
    publish(begun)
    assert state() is State.PUBLISHED


def test_one_that_published_and_failed_when_it_was_cleared(begun: Connection) -> None:
    publish(begun)
    fail(begun)
    assert state() is State.FAILED


def test_one_that_failed_and_was_published_by_hand(begun: Connection) -> None:
    fail(begun)
    publish(begun)
    assert state() is State.PUBLISHED


def test_links_to_the_page_have_the_slash_without_which_airflow_knows_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow")
    assert settings.health_url() == "https://example.com/airflow/data-health/"
    assert settings.health_url("runs", "a+b", anchor="t") == "https://example.com/airflow/data-health/runs/a%2Bb#t"
