"""The runs, and one run: its tasks with what each of them left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection

from include import settings
from include.results import node_results, publications, runs
from include.results.nodes import NodeResult
from include.slack import samples
from plugins.data_health import pages
from plugins.data_health.access import may_see
from plugins.data_health.app import app
from plugins.data_health.runs import State
from plugins.data_health.views import run, run_list
from tests.include.results.project import FACTS

pytestmark = pytest.mark.db

RUN = "manual__2026-11-24T18:00:51.325443+00:00"
PASSED = NodeResult("test.p.fact_unique", "test", "fact_unique", "pass", "error", 0, "", 0.1, None)
FAILED = replace(PASSED, unique_id="test.p.fact_status", name="fact_status", status="fail", failures=3, message="Got 3")
BUILT = NodeResult("model.p.fact_orders", "model", "fact_orders", "success", None, None, "SELECT 7", 2.5, 7)
BUILD = "transform.marts.fact_orders_model_build"


@pytest.fixture
def begun(ops: Connection) -> Connection:
    """A run that built a model, and found one of its tests failing."""
    runs.begin(ops, RUN, "release")
    node_results.record(ops, RUN, "check_sources", 1, [replace(PASSED, unique_id="freshness.source.p.shop.orders")])
    node_results.record(ops, RUN, BUILD, 1, [BUILT, PASSED, FAILED])
    return ops


@pytest.fixture
def client(ops: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TestClient]:
    """The page without a login, where no dbt project was ever parsed."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    monkeypatch.setitem(app.dependency_overrides, may_see.dependency, lambda: None)
    with TestClient(app) as opened:
        yield opened


def test_a_task_is_told_with_what_it_left_the_worst_first(begun: Connection, ask: Callable[..., Any]) -> None:
    checked, built = ask(run.read, RUN, facts=FACTS).tasks
    assert (checked.task_id, checked.state, built.task_id, built.state) == ("check_sources", "success", BUILD, "failed")
    assert [(node.name, node.status) for node in built.nodes] == [
        ("fact_status", "fail"),
        ("fact_orders", "success"),
        ("fact_unique", "pass"),
    ]
    assert (built.nodes[1].rows, built.nodes[0].failures, built.seconds) == (7, 3, pytest.approx(2.7))
    assert built.log_url == f"{settings.run_url('greenery_daily', RUN)}/tasks/{BUILD}"


def test_a_retry_replaces_what_its_task_said_not_what_another_did(begun: Connection, ask: Callable[..., Any]) -> None:
    node_results.record(begun, RUN, BUILD, 2, [replace(FAILED, status="pass")])
    node_results.record(begun, RUN, "snapshot", 1, [replace(FAILED, status="fail")])
    states = {task.task_id: task.state for task in ask(run.read, RUN, facts=FACTS).tasks}
    assert states == {"check_sources": "success", BUILD: "success", "snapshot": "failed"}


def test_a_message_is_without_the_values_that_a_database_quotes(begun: Connection, ask: Callable[..., Any]) -> None:
    said = 'Database Error in model\n  invalid input syntax for type integer: "ada@example.com"'
    node_results.record(begun, RUN, BUILD, 2, [replace(BUILT, status="error", message=said)])
    found = ask(run.read, RUN, facts=FACTS)
    [broken] = [node for node in found.tasks[1].nodes if node.status == "error"]
    assert broken.message == 'invalid input syntax for type integer: "…"'
    assert "ada@example.com" not in pages.render("run.html", answer=found)


def test_what_a_task_said_is_escaped_and_anchored(begun: Connection, ask: Callable[..., Any]) -> None:
    node_results.record_task(begun, RUN, "publish", 1, "<script>alert(1)</script>")
    page = pages.render("run.html", answer=ask(run.read, RUN, facts=FACTS))
    assert [page.count(f'id="{task}"') for task in (BUILD, "publish", "report")] == [1, 1, 1]
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_tasks_that_built_helpers_are_folded_unless_something_failed(
    begun: Connection, ask: Callable[..., Any]
) -> None:
    helper = "transform.staging.stg_orders_model_build"
    node_results.record(begun, RUN, helper, 1, [replace(BUILT, unique_id="model.p.stg_orders", name="stg_orders")])
    found = ask(run.read, RUN, facts=FACTS)
    assert [task.task_id for task in found.named] == ["check_sources", BUILD]
    shown, _, folded = pages.render("run.html", answer=found).partition("1 task built helpers")
    assert (helper in shown, f'id="{helper}"' in folded) == (False, True)
    node_results.record(begun, RUN, helper, 2, [replace(BUILT, unique_id="model.p.stg_orders", status="error")])
    assert ask(run.read, RUN, facts=FACTS).helpers == ()


def test_helpers_that_were_not_built_are_counted_and_named_on_a_click(
    begun: Connection, ask: Callable[..., Any]
) -> None:
    found = ask(run.read, RUN, facts=FACTS)
    root = replace(samples.BROKEN_SOURCE, not_built=("stg_orders", "fact_orders", "int_orders"))
    report = replace(samples.FAILED, roots=(root,), not_built=("stg_users",))
    page = pages.render("run.html", answer=replace(found, run=replace(found.run, state=State.FAILED), report=report))
    links = {name: f'<a href="{pages.path("models", name)}">{name}</a>' for name in (*root.not_built, "stg_users")}
    assert f"<p>Not built because of it: {links['fact_orders']}</p>" in page
    assert f"<summary>and 2 helpers</summary><p>{links['stg_orders']}, {links['int_orders']}</p></details>" in page
    assert f"<summary>Not built either: 1 helper</summary><p>{links['stg_users']}</p></details>" in page


def test_a_run_says_when_it_was_published(begun: Connection, ask: Callable[..., Any]) -> None:
    assert ask(run.read, RUN, facts=FACTS).published_at is None
    with begun.cursor() as cursor:
        _, at = publications.note(cursor, RUN, "analytics", as_of=None, decision=None, notes=[])
    assert ask(run.read, RUN, facts=FACTS).published_at == at


def test_a_run_that_there_is_not_is_said(ops: Connection, ask: Callable[..., Any]) -> None:
    with pytest.raises(LookupError, match="no run none"):
        ask(run.read, "none", facts=FACTS)


@pytest.mark.parametrize("asked", [RUN, quote(RUN, safe="")], ids=["as Airflow makes it", "quoted"])
def test_a_run_is_found_by_its_id_in_the_address(begun: Connection, client: TestClient, asked: str) -> None:
    assert RUN in client.get(f"/runs/{asked}").text
    assert client.get(f"/api/runs/{asked}").json()["run"]["run_id"] == RUN


def test_the_newest_run_is_first_with_the_last_word_on_its_tests(begun: Connection, ask: Callable[..., Any]) -> None:
    node_results.record(begun, RUN, BUILD, 2, [replace(FAILED, status="warn")])
    runs.begin(begun, "next", "release")
    first, second = ask(run_list.read, 30, facts=FACTS).runs
    assert (first.run.run_id, second.run.run_id) == ("next", RUN)
    assert (second.passed, second.warned, second.failed) == (2, 1, 0)
    assert quote(RUN, safe="") in pages.render("run_list.html", answer=ask(run_list.read, 30, facts=FACTS))


@pytest.mark.parametrize(("asked", "status"), [("30", 200), ("365", 200), ("31", 422), ("30;drop", 422)])
def test_it_is_asked_for_so_many_days_or_refused(client: TestClient, asked: str, status: int) -> None:
    for view in ("runs", "history"):
        assert client.get(f"/{view}", params={"days": asked}).status_code == status
