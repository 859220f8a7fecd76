"""A task that is done already ends in the worker, by Airflow's own calls and in their order; any other runs as ever."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import structlog
from airflow.sdk.execution_time.coordinator import BaseCoordinator, get_coordinator_manager
from airflow.sdk.log import mask_secret

from include.fast_cosmos.ahead import Done, succeed
from include.fast_cosmos.warm_up import WarmCoordinator, WarmUp

BEGAN, ENDED = datetime(2026, 11, 30, 6, tzinfo=UTC), datetime(2026, 11, 30, 7, tzinfo=UTC)
DONE = Done(BEGAN, ENDED, ("one: success",), {"compiled_sql": "select 1"})
TASK = SimpleNamespace(id=uuid4(), task_id="one")
warm_up = WarmUp(current=lambda: None, libraries=())


class Instances:
    """Airflow's API as a worker calls it: remembers what it was asked."""

    def __init__(self, refuses: bool = False) -> None:
        self.asked: list[tuple] = []
        self.refuses = refuses

    def start(self, *said: Any) -> None:
        self.asked.append(("start", *said))
        if self.refuses:
            raise RuntimeError("409")

    def set_rtif(self, *said: Any) -> None:
        self.asked.append(("set_rtif", *said))

    def succeed(self, task: Any, when: datetime, **_: Any) -> None:
        self.asked.append(("succeed", task, when))


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tasks that run as ever."""
    tasks: list[Any] = []

    def run(**task: Any) -> BaseCoordinator.ExecutionResult:
        tasks.append(task["what"])
        return BaseCoordinator.ExecutionResult(0, "success")

    monkeypatch.setattr(get_coordinator_manager().for_queue(""), "execute_task", run, raising=False)
    return tasks


def execute(instances: Instances, done: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(warm_up, "done", done)
    coordinator = WarmCoordinator(f"{__name__}:warm_up")
    client = SimpleNamespace(task_instances=instances)
    return coordinator.execute_task(what=TASK, client=client, logger=logging.getLogger("a task")).final_state


def test_a_task_that_is_done_begins_is_logged_and_succeeds_without_a_process(
    forked: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    instances = Instances()
    with caplog.at_level(logging.INFO, "a task"):
        assert execute(instances, lambda _: DONE, monkeypatch) == "success"
    assert instances.asked == [
        ("start", TASK.id, os.getpid(), BEGAN),
        ("set_rtif", TASK.id, {"compiled_sql": "select 1"}),
        ("succeed", TASK.id, ENDED),
    ]
    assert "one: success" in caplog.messages
    assert forked == []


def test_its_log_goes_where_airflow_keeps_logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its supervisor would bring it there, and it has none."""
    uploaded = []
    handler = SimpleNamespace(upload=lambda path, ti: uploaded.append((path, ti)))
    monkeypatch.setattr("airflow.sdk.log.load_remote_log_handler", lambda: handler)
    monkeypatch.setattr("airflow.sdk.log.load_remote_conn_id", lambda: None)
    monkeypatch.setattr("airflow.sdk.log.relative_path_from_logger", lambda _: Path("run/one.log"))
    with (tmp_path / "one.log").open("w") as file:
        logger = structlog.wrap_logger(structlog.WriteLogger(file))
        succeed(TASK, SimpleNamespace(task_instances=Instances()), logger, DONE)
    assert uploaded == [("run/one.log", TASK)]


def test_its_sql_is_shown_as_a_task_would_show_it() -> None:
    """Without what Airflow knows as a secret, and cut where it is long."""
    secret = "hunter2hunter2"
    mask_secret(secret)
    instances = Instances()
    rendered = {"compiled_sql": f"select '{secret}'", "long": "x" * 100_000}
    succeed(TASK, SimpleNamespace(task_instances=instances), None, Done(BEGAN, ENDED, rendered=rendered))
    [shown] = [said[-1] for call, *said in instances.asked if call == "set_rtif"]
    assert shown["compiled_sql"] == "select '***'"
    assert "Truncated" in shown["long"]
    assert len(shown["long"]) < 5_000


@pytest.mark.parametrize("done", [lambda _: None, lambda _: 1 / 0])
def test_a_task_of_which_nobody_knows_that_it_is_done_runs_as_ever(
    done: Any, forked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fallback that is reached: Cosmos' WATCHER had one that was not (its issue 2947)."""
    instances = Instances()
    execute(instances, done, monkeypatch)
    assert forked == [TASK]
    assert instances.asked == []


def test_a_task_that_may_not_begin_neither_ends_nor_runs(forked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody marked it, or cleared it, while it waited."""
    instances = Instances(refuses=True)
    with pytest.raises(RuntimeError, match="409"):
        execute(instances, lambda _: DONE, monkeypatch)
    assert [call for call, *_ in instances.asked] == ["start"]
    assert forked == []
