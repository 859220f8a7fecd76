"""Days pass and the schedule changes, on a real scheduler: of thirty missed runs one comes, and nobody is misled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.daily import DAG_ID
from include.local.demo import Outcome
from include.warehouse import connect
from tests.clock import let_pass
from tests.deployment import Day, Deployment
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

MISSED = 30
HOUR = timedelta(hours=1)
LIMIT_SECONDS = 600


def dag(deployment: Deployment) -> dict[str, Any]:
    """What Airflow says of the daily DAG."""
    return deployment.api.client.get(f"/api/v2/dags/{DAG_ID}").raise_for_status().json()


def pause(deployment: Deployment, *, paused: bool) -> None:
    deployment.api.client.patch(f"/api/v2/dags/{DAG_ID}", json={"is_paused": paused}).raise_for_status()


def runs_of(deployment: Deployment, run_type: str) -> dict[datetime, str]:
    """Its runs of a type, by the tick that they are of."""
    page = deployment.api.client.get(f"/api/v2/dags/{DAG_ID}/dagRuns", params={"limit": 100}).raise_for_status().json()
    return {
        datetime.fromisoformat(run["run_after"]): run["dag_run_id"]
        for run in page["dag_runs"]
        if run["run_type"] == run_type
    }


def cron(tick: datetime) -> str:
    """The cron expression of a run a day, at the time of a tick."""
    return f"{tick.minute} {tick.hour} * * *"


def restart(deployment: Deployment, **environment: str) -> None:
    """The scheduler and who reads DAG files, with other settings, as somebody does who has changed .env."""
    since = datetime.now(UTC)
    deployment.kill("scheduler", "dag-processor")
    deployment.start("scheduler", "dag-processor", **environment)
    wait_for(
        lambda: datetime.fromisoformat(dag(deployment)["last_parsed_time"]) > since, "the DAG is read", LIMIT_SECONDS, 1
    )


@contextmanager
def switched_off(deployment: Deployment) -> Iterator[None]:
    """For the time of the block the daily DAG is paused; afterwards it has no schedule, as other tests want it."""
    pause(deployment, paused=True)
    try:
        yield
    finally:
        pause(deployment, paused=True)
        restart(deployment)
        pause(deployment, paused=False)


def make_it_long_ago(deployment: Deployment, run_id: str, tick: datetime) -> None:
    """Make a run by hand one that the scheduler had begun, at a tick."""
    with connect("test", deployment.server.database("airflow")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "update dag_run set run_type = 'scheduled', logical_date = %(at)s, run_after = %(at)s, queued_at = %(at)s,"
            " data_interval_start = %(at)s, data_interval_end = %(at)s, start_date = %(at)s, end_date = %(at)s"
            " where dag_id = %(dag)s and run_id = %(run)s",
            {"at": tick, "dag": DAG_ID, "run": run_id},
        )


def said(deployment: Deployment) -> list[str]:
    return [message["text"] for message in deployment.slack.accepted]


def test_after_thirty_days_one_run_comes_and_a_changed_schedule_makes_nothing_late(
    deployment: Deployment, first_day: Day
) -> None:
    deployment.come_to("first_day")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    tick, later = now - 2 * HOUR, now - HOUR / 2
    if later.date() != now.date() or tick.date() != now.date():
        pytest.skip("too short after midnight: the ticks of this test lie on one day")
    [first] = first_day.runs
    let_pass(deployment.query, MISSED)
    with switched_off(deployment):
        make_it_long_ago(deployment, first.run_id, tick - timedelta(days=MISSED))
        deployment.query(
            "delete from ops.schedules; insert into ops.schedules (schedule, since)"
            f" values ('{cron(tick)}', now() - interval '{MISSED + 1} days')"
        )
        restart(deployment, GREENERY_SCHEDULE=cron(tick))
        deployment.watch()
        late = f"🔴 Greenery data is late: nothing was published by {tick + HOUR:%d %b %Y %H:%M} UTC"
        assert said(deployment) == [late]
        assert set(runs_of(deployment, "scheduled")) == {tick - timedelta(days=MISSED)}, "nothing runs while paused"

        # One run, of the last tick, and not thirty.
        deployment.play_day()
        pause(deployment, paused=False)
        wait_for(lambda: tick in runs_of(deployment, "scheduled"), "a run of the last tick", LIMIT_SECONDS, 1)
        caught_up = deployment.outcome(runs_of(deployment, "scheduled")[tick])
        check_published(deployment, caught_up)
        assert set(runs_of(deployment, "scheduled")) == {tick - timedelta(days=MISSED), tick}
        deployment.watch()
        assert said(deployment)[0] == late
        assert said(deployment)[-1] == "✅ Greenery data is published again"
        assert len(said(deployment)) == 3

        # Another schedule, whose last tick nobody had promised; and two runs at once, of which one waits.
        deployment.slack.accepted.clear()
        deployment.play_day()
        restart(deployment, GREENERY_SCHEDULE=cron(later))
        by_hand = deployment.api.trigger(DAG_ID)
        wait_for(lambda: later in runs_of(deployment, "scheduled"), "a run of the new schedule", LIMIT_SECONDS, 1)
        deployment.watch()
        both = [deployment.outcome(run) for run in (by_hand, runs_of(deployment, "scheduled")[later])]
        for outcome in both:
            check_published(deployment, outcome, is_last=False)
        deployment.watch()
        assert not [text for text in said(deployment) if "is late" in text]
        assert deployment.query("select schedule from ops.schedules order by schedule_id") == [
            (cron(tick),),
            (cron(later),),
        ]
        next_run = datetime.fromisoformat(dag(deployment)["next_dagrun_run_after"])
        assert next_run == later + timedelta(days=1)


def check_published(deployment: Deployment, outcome: Outcome, *, is_last: bool = True) -> None:
    """A run was published, says so once, holds nothing any more, and people query raw as it is."""
    assert outcome.state == "success"
    [message] = outcome.messages
    assert message.startswith("✅ Greenery data is up to date")
    if is_last:
        assert deployment.query("select run_id from ops.publications order by publication_id desc limit 1") == [
            (outcome.run_id,)
        ]
    same = "select count(*), round(sum(order_total)::numeric, 2)"
    assert deployment.query(f"{same} from analytics.fact_orders") == deployment.query(f"{same} from raw.orders")
    assert deployment.query("select count(*) from ops.leases where released_at is null and holder like 'run %'") == [
        (0,)
    ]
