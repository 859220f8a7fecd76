"""The next release: what the next run builds otherwise than the last one did, and what a preview of it found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection

from include import settings
from include.dbt_project import archive, release
from include.preview import kept, report
from include.preview.report import (
    Became,
    Example,
    FigureDay,
    FigureMove,
    Kind,
    Plan,
    Report,
    RowsDiff,
    Versus,
)
from include.results import runs
from include.words import Unit
from plugins.data_health import lineage, pages
from plugins.data_health.access import may_see
from plugins.data_health.app import app
from plugins.data_health.views import next_release, now
from tests.releases import make_release

pytestmark = pytest.mark.db

LAST, NEXT = "1a2b3c4d5e6f7a8b", "8b7a6f5e4d3c2b1a"


def model(name: str, code: str, *parents: str, materialized: str = "table") -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "config": {"materialized": materialized},
        "checksum": {"checksum": code},
        "raw_code": code,
        "columns": {},
        "depends_on": {"nodes": [f"model.p.{one}" for one in parents], "macros": []},
    }


def project(*models: dict[str, Any]) -> str:
    """A manifest.json with these models; a dashboard stands on the last of them."""
    nodes = {f"model.p.{one['name']}": one for one in models}
    sales = {
        "name": "sales",
        "label": "Sales <b>",
        "owner": {"name": "Ana"},
        "depends_on": {"nodes": [list(nodes)[-1]]},
    }
    return json.dumps(
        {
            "metadata": {"adapter_type": "postgres", "dbt_version": "1.12.0"},
            "macros": {},
            "nodes": nodes,
            "sources": {},
            "exposures": {"exposure.p.sales": sales},
        }
    )


ORDERS, DAYS = model("int_orders", "select 1"), model("days", "select 2", "int_orders")
REPORT = Report(
    versus=Versus("main", "abc1234", datetime(2026, 11, 29, 6, 4, tzinfo=UTC)),
    made_at=datetime(2026, 11, 29, 9, tzinfo=UTC),
    plan=Plan(),
    rows=(RowsDiff("days", ("day",), 7, 9, 2, 0, 0, examples=(Example("1", None, {"day": "x"}),)),),
    figures=(
        FigureMove(
            "revenue",
            "Revenue",
            Unit.DOLLARS,
            True,
            28,
            3,
            (FigureDay(date(2026, 11, 28), Decimal("100"), Decimal("250")),),
        ),
    ),
    tests=(report.TestChange("test.p.one", "adds_up", "days", Became.FAILS, rows=3),),
    message="🔴 Greenery data was not published <script>",
    seconds=12.0,
)


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))


@pytest.fixture
def client(ops: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The page without a login."""
    monkeypatch.setitem(app.dependency_overrides, may_see.dependency, lambda: None)
    with TestClient(app) as opened:
        yield opened


def make_current(stamp: str, manifest: str) -> None:
    """A release that the next run uses."""
    made = make_release(stamp, manifest)
    (release.releases().home / "current").symlink_to(made.path)


@pytest.fixture
def changed(ops: Connection) -> Connection:
    """A run with a release, and a next one in which a helper has other SQL."""
    make_release(LAST, project(ORDERS, DAYS))
    make_current(NEXT, project({**ORDERS, "raw_code": "select 3"}, DAYS))
    runs.begin(ops, "run", LAST)
    return ops


def test_what_changed_is_told_beside_what_stands_on_it(changed: Connection, client: TestClient) -> None:
    page, said = client.get("/next").text, client.get("/api/next").json()
    assert (said["release"], said["run"]["release"]) == (NEXT, LAST)
    assert {one["name"]: (one["kind"], one["reasons"]) for one in said["plan"]["models"]} == {
        "int_orders": ("changed", ["SQL"]),
        "days": ("downstream", []),
    }
    assert "The next run uses another release of the project" in page
    assert "Sales &lt;b&gt;</b> · Ana" in page
    assert '<svg class="lineage touched"' in page
    assert page.index(f'href="{pages.path("models", "days")}"') < page.index(f'{pages.path("models", "int_orders")}"')


def test_the_same_project_is_said_to_be_the_same(ops: Connection, client: TestClient) -> None:
    make_current(NEXT, project(ORDERS, DAYS))
    runs.begin(ops, "run", NEXT)
    page = client.get("/next").text
    assert "The next run uses the same project as the last one" in page
    assert "Models that it touches" not in page


def test_another_release_that_touches_nothing_says_so(ops: Connection, client: TestClient) -> None:
    make_release(LAST, project(ORDERS))
    make_current(NEXT, project(ORDERS))
    runs.begin(ops, "run", LAST)
    assert "It touches no model and no test" in client.get("/next").text


def test_the_last_runs_release_may_be_one_of_another_machine(ops: Connection, ask: Callable[..., Any]) -> None:
    elsewhere = make_release(LAST, project(ORDERS))
    archive.keep(ops, elsewhere)
    make_current(NEXT, project(ORDERS, DAYS))
    runs.begin(ops, "run", LAST)
    for file in sorted(elsewhere.path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    elsewhere.path.rmdir()
    assert ask(next_release.read).marks == {"days": Kind.NEW}


def test_where_the_last_runs_release_is_gone_nothing_is_compared(ops: Connection, client: TestClient) -> None:
    make_current(NEXT, project(ORDERS))
    runs.begin(ops, "run", LAST)
    assert client.get("/api/next").json()["plan"] is None
    assert "is not kept any more" in client.get("/next").text


def test_before_the_first_parse_and_the_first_run(ops: Connection, client: TestClient, ask: Callable[..., Any]) -> None:
    assert "No dbt project has been parsed yet" in client.get("/next").text
    make_current(NEXT, project(ORDERS))
    assert "The first run is still to come" in pages.render("next.html", answer=ask(next_release.read))


def test_a_project_that_does_not_parse_is_said_with_the_reason(changed: Connection, client: TestClient) -> None:
    problem = {"stamp": "x", "message": "Compilation Error\n  <one.sql> depends on a node named nowhere"}
    (release.releases().home / "problem.json").write_text(json.dumps(problem))
    page = client.get("/next").text
    assert "The project as it is now can’t be used" in page
    assert "&lt;one.sql&gt; depends on a node named nowhere" in page


def test_a_preview_of_the_same_project_is_shown(changed: Connection, ask: Callable[..., Any]) -> None:
    kept.keep(REPORT, LAST)
    assert ask(next_release.read).preview is None
    kept.keep(REPORT, NEXT)
    found = ask(next_release.read)
    assert found.preview == REPORT
    page = pages.render("next.html", answer=found)
    for said in ("🔴 Merging this breaks test adds_up", "<code>days</code>", "$250", "&lt;script&gt;"):
        assert said in page


def test_a_preview_of_another_version_is_left_out(changed: Connection, ask: Callable[..., Any]) -> None:
    previews = settings.state_dir() / "previews"
    previews.mkdir()
    (previews / f"{NEXT}.json").write_text('{"of": "old"}')
    assert ask(next_release.read).preview is None


def test_the_first_page_says_whether_the_next_run_uses_another_release(
    changed: Connection, ask: Callable[..., Any]
) -> None:
    found = ask(now.read)
    assert f'<a href="{pages.path("next")}">another release of the project</a>' in pages.render(
        "now.html", answer=found
    )
    same = replace(found, next_release=LAST)
    assert "the same project as the last one" in pages.render("now.html", answer=same)


def test_a_picture_has_what_is_read_left_of_what_reads_it_and_no_page_for_what_is_gone() -> None:
    drawn = lineage.touched([("a", "b"), ("b", "<c>"), ("<c>", "a")], {"b": "changed", "<c>": "gone"})
    assert drawn.count("<path") == 3  # two states together may read in a circle
    assert '<g class="changed"><a href="/data-health/models/b">' in drawn
    assert '<g class="gone"><rect' in drawn
    assert "<c>" not in drawn
    drawn = lineage.touched([("b", "a")], {"a": "new"})
    places = {name: drawn.index(f">{name}<") for name in "ab"}
    assert places["b"] < places["a"]
