"""A scheduler that is killed after Slack took a message and before that is noted: the message stands there once."""

from __future__ import annotations

import pytest

from include.local import demo
from include.local.demo import DAG_ID, Outcome
from tests.deployment import Deployment
from tests.slack_server import TAKE_AND_HANG

pytestmark = [pytest.mark.db, pytest.mark.stack]

LIMIT_SECONDS = 120


def posts_and_dies(deployment: Deployment) -> None:
    """Let Slack take the next post and not answer, and kill the scheduler with all of its tasks right then."""
    deployment.slack.taken.clear()
    deployment.slack.answers_to["chat.postMessage"] = TAKE_AND_HANG
    assert deployment.slack.taken.wait(LIMIT_SECONDS), "nothing was posted"
    deployment.kill_scheduler()


def ends(deployment: Deployment, run_id: str) -> Outcome:
    """How the run ends under the next scheduler."""
    deployment.start_scheduler()
    deployment.api.wait_for_run(DAG_ID, run_id, limit_seconds=LIMIT_SECONDS)
    return demo.outcome(deployment.api, deployment.server, run_id)


def tries(deployment: Deployment, run_id: str, task_id: str) -> int:
    """How often a task of a run was begun."""
    folder = deployment.stack.home / "airflow" / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
    return len(list(folder.glob(f"task_id={task_id}/attempt=*.log")))


def kept(deployment: Deployment) -> list[tuple]:
    """Of each message in the outbox: its kind, whether it waits, whether it was tried and whether it was sent."""
    return deployment.query(
        "select kind, waiting, tried_at is not null, sent_at is not null from ops.messages order by message_id"
    )


def test_as_it_posts_the_first_message_of_a_run(deployment: Deployment) -> None:
    deployment.play_day()
    with deployment.bot():
        run_id = deployment.api.trigger(DAG_ID)
        posts_and_dies(deployment)
        assert kept(deployment) == [("progress", False, True, False)]
        assert deployment.query("select ts from ops.messages") == [(None,)], "it was noted where the message stands"
        outcome = ends(deployment, run_id)

    assert (outcome.state, set(outcome.task_states.values())) == ("success", {"success"})
    assert tries(deployment, run_id, "check_sources") == 2
    assert deployment.slack.said() == ["✅ Greenery data is up to date"]
    assert deployment.slack.replied() == []
    assert deployment.slack.refused == []
    assert kept(deployment) == [("published", False, True, True)]


def test_as_it_posts_the_last_word_of_a_run_that_failed(deployment: Deployment) -> None:
    deployment.play_day()
    deployment.query("update raw.orders set status = 'lost' where order_id = (select min(order_id) from raw.orders)")
    with deployment.bot():
        run_id = deployment.api.trigger(DAG_ID)
        assert deployment.slack.taken.wait(LIMIT_SECONDS), "no message shows how far the run is"
        posts_and_dies(deployment)  # the last word replaces that message, and is heard from its thread
        assert kept(deployment) == [("failed", True, True, False)]
        outcome = ends(deployment, run_id)

    assert (outcome.state, outcome.task_states["report"]) == ("failed", "success")
    assert tries(deployment, run_id, "report") == 2
    [headline] = deployment.slack.said()
    assert headline == outcome.messages[0].splitlines()[0]
    assert deployment.slack.replied() == [headline]
    assert deployment.slack.refused == []
    assert kept(deployment) == [("failed", False, True, True)]
