"""A scheduler that is killed after Slack took a message and before that is noted: the message stands there once."""

from __future__ import annotations

import pytest

from include.daily import DAG_ID
from tests.deployment import Day, Deployment
from tests.slack_server import TAKE_AND_HANG

pytestmark = [pytest.mark.db, pytest.mark.stack]

LIMIT_SECONDS = 120


def tries(deployment: Deployment, run_id: str, task_id: str) -> int:
    """How often a task of a run was begun."""
    folder = deployment.stack.home / "airflow" / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
    return len(list(folder.glob(f"task_id={task_id}/attempt=*.log")))


def kept(deployment: Deployment) -> list[tuple]:
    """Of each message in the outbox: its kind, and whether it waits, was tried, was sent and is known by its place."""
    return deployment.query(
        "select kind, waiting, tried_at is not null, sent_at is not null, ts is not null"
        " from ops.messages order by message_id"
    )


def test_as_it_posts_the_first_and_again_the_last_word_of_a_run(deployment: Deployment, first_day: Day) -> None:
    deployment.come_to("first_day")
    deployment.play_day()
    deployment.query("update raw.orders set status = 'lost' where order_id = (select min(order_id) from raw.orders)")
    before = len(kept(deployment))
    with deployment.bot():
        deployment.slack.answers_to["chat.postMessage"] = TAKE_AND_HANG
        run_id = deployment.api.trigger(DAG_ID)
        assert deployment.slack.taken.wait(LIMIT_SECONDS), "no message shows how far the run is"
        deployment.kill("scheduler")
        assert kept(deployment)[before:] == [("progress", False, True, False, False)]

        # What was posted is found again; the last word replaces it, and is heard from its thread.
        deployment.slack.taken.clear()
        deployment.slack.answers_to["chat.postMessage"] = TAKE_AND_HANG
        deployment.start("scheduler")
        assert deployment.slack.taken.wait(LIMIT_SECONDS), "nothing was posted at the end"
        deployment.kill("scheduler")
        assert kept(deployment)[before:] == [("failed", True, True, False, True)]

        deployment.start("scheduler")
        outcome = deployment.outcome(run_id)

    assert (outcome.state, outcome.task_states["report"]) == ("failed", "success")
    assert outcome.task_states["snapshot"] == "success"
    assert deployment.query("select count(*) from snapshots.orders_snapshot where status = 'lost'") == [(1,)]
    assert (tries(deployment, run_id, "check_sources"), tries(deployment, run_id, "report")) == (2, 2)
    [headline] = deployment.slack.said()
    assert headline == outcome.messages[0].splitlines()[0]
    assert deployment.slack.replied() == [headline]
    assert deployment.slack.refused == []
    assert kept(deployment)[before:] == [("failed", False, True, True, True)]
