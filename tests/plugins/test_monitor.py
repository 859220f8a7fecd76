"""What a monitor is told, and that its token opens nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from airflow.api_fastapi.app import init_auth_manager
from fastapi import FastAPI
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily.admission import holder_of
from include.results import backups, node_results, publications, runs
from include.results.backups import Made
from include.unusual.series import Observation
from plugins.data_health import monitor
from plugins.data_health.app import app
from plugins.data_health.views import health
from plugins.data_health.views.health import Status
from tests.plugins.conftest import Ask
from tests.plugins.shop import FACTS
from tests.plugins.unusual import LAST, NULLS, ROWS, far_off, observe
from tests.releases import make_release

pytestmark = pytest.mark.db

TOKEN = "a-token-of-a-monitor-of-some-length"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ASKED = ("/health", "/metrics", "/badge.svg", "/badge/sales.svg")
OTHERS = sorted({route.path for route in app.routes} - {*ASKED, "/badge/{exposure}.svg"})


@pytest.fixture
def client(ops: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of the app as Airflow mounts it, without a login; nothing is due in its warehouse.

    Its dbt project has an exposure that reads `fact_orders`.
    """
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    facts = {"nodes": FACTS.nodes, "sources": FACTS.sources, "exposures": FACTS.exposures}
    make_release("release", json.dumps(facts))
    (tmp_path / "dbt" / "current").symlink_to("releases/release")
    monkeypatch.setenv("GREENERY_HEALTH_TOKEN", TOKEN)
    monkeypatch.setenv("GREENERY_SCHEDULE", "")
    init_auth_manager()
    outer = FastAPI()
    outer.mount(settings.HEALTH_PATH, app)
    with TestClient(outer, base_url="http://test", follow_redirects=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def publish(ops: Connection, run_id: str = "run") -> None:
    runs.begin(ops, run_id, "release")
    with ops.cursor() as cursor:
        publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])


@pytest.mark.parametrize("path", ASKED)
def test_the_token_opens_what_a_monitor_asks(ops: Connection, client: TestClient, path: str) -> None:
    publish(ops)
    assert client.get(f"/data-health{path}", headers=bearer(TOKEN)).status_code == 200


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(TOKEN[:-1]), {"Authorization": f"Basic {TOKEN}"}])
def test_no_token_and_a_wrong_one_are_refused(client: TestClient, path: str, headers: dict[str, str]) -> None:
    assert client.get(f"/data-health{path}", headers=headers).status_code in (401, 403)


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("given", ["", "None", TOKEN])
def test_where_no_token_is_set_every_token_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, given: str
) -> None:
    monkeypatch.setenv("GREENERY_HEALTH_TOKEN", "")
    assert client.get(f"/data-health{path}", headers={"Authorization": f"Bearer {given}"}).status_code in (401, 403)


@pytest.mark.parametrize("path", ASKED)
def test_a_token_that_could_be_guessed_opens_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    short = TOKEN[: settings.TOKEN_CHARACTERS - 1]
    monkeypatch.setenv("GREENERY_HEALTH_TOKEN", short)
    assert client.get(f"/data-health{path}", headers=bearer(short)).status_code in (401, 403)
    assert "GREENERY_HEALTH_TOKEN has 31 characters and opens nothing" in caplog.text
    assert short not in caplog.text


@pytest.mark.parametrize("path", OTHERS)
def test_the_token_opens_nothing_else(client: TestClient, path: str) -> None:
    answer = client.get(f"/data-health{path}", headers=bearer(TOKEN))
    assert answer.status_code in (307, 401, 403)


def test_what_is_published_in_time_is_well(ops: Connection, client: TestClient) -> None:
    publish(ops)
    answer = client.get("/data-health/health", headers=bearer(TOKEN))
    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["run"], told["late_since"], told["waiting_messages"]) == ("published", "run", None, 0)
    assert datetime.fromisoformat(told["data_as_of"]) > datetime.now(UTC) - timedelta(minutes=5)


def test_a_run_that_did_not_publish_is_a_503(ops: Connection, client: TestClient) -> None:
    publish(ops)
    runs.begin(ops, "next", "release")
    node_results.record_task(ops, "next", "publish", 1, "tests failed")
    answer = client.get("/data-health/health", headers=bearer(TOKEN))
    assert (answer.status_code, answer.json()["status"]) == (503, "failed")


def test_a_run_under_way_is_well_until_it_is_late(ops: Connection, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.begin(ops, "run", "release")
    with ops.cursor() as cursor:
        cursor.execute("insert into ops.leases (holder) values (%s)", (holder_of("run"),))
        cursor.execute("update ops.watch set since = %s", (NOW - timedelta(days=9),))
    monkeypatch.setenv("GREENERY_SCHEDULE", "")
    running = ask(health.read, at=NOW)
    monkeypatch.setenv("GREENERY_SCHEDULE", "0 6 * * *")
    late = ask(health.read, at=NOW)
    assert (running.status, running.is_well) == (Status.RUNNING, True)
    assert (late.status, late.is_well) == (Status.LATE, False)
    assert late.late_since == datetime(2026, 11, 24, 6, tzinfo=UTC)


def gauges(text: str) -> dict[str, float]:
    """The gauges of an answer in the text format of Prometheus: each with a word of what it is, and its kind."""
    line = r"# HELP (\w+) \S.*\n# TYPE \1 gauge\n\1 (-?\d+)\n"
    assert re.sub(line, "", text) == ""
    return {name: float(value) for name, value in re.findall(line, text)}


def test_gauges_tell_what_is_published(ops: Connection, client: TestClient) -> None:
    publish(ops)
    backups.note(ops, Made("a backup", datetime.now(UTC) - timedelta(hours=3), ("warehouse",), 1))
    with ops.cursor() as cursor:
        cursor.execute("update ops.publications set data_as_of = now() - interval '2 hours'")
    answer = client.get("/data-health/metrics", headers=bearer(TOKEN))
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    told = gauges(answer.text)
    assert told.keys() == {gauge.name for gauge in monitor.GAUGES}
    assert 7200 <= told.pop("greenery_published_age_seconds") < 7500
    assert 10800 <= told.pop("greenery_backup_age_seconds") < 11100
    assert told == {
        "greenery_warehouse_reachable": 1,
        "greenery_published_late": 0,
        "greenery_run_failed": 0,
        "greenery_messages_waiting": 0,
        "greenery_unusual_figures": 0,
        "greenery_backup_late": 0,
    }


def test_gauges_tell_what_is_wrong(ops: Connection, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.begin(ops, "run", "release")
    node_results.record_task(ops, "run", "publish", 1, "tests failed")
    with ops.cursor() as cursor:
        cursor.execute(
            "update ops.watch set since = now() - interval '9 days', backups_since = now() - interval '9 days'"
        )
        cursor.execute(
            "insert into ops.messages (run_id, kind, headline, body, blocks, waiting)"
            " values ('run', 'failed', '', '', '[]', true)"
        )
    observe(ops, "run", [Observation(ROWS, LAST, 12.0)], [far_off(), far_off(NULLS, because=ROWS)])
    monkeypatch.setenv("GREENERY_SCHEDULE", "0 6 * * *")
    monkeypatch.setenv("GREENERY_BACKUP_SCHEDULE", "30 7 * * *")
    assert gauges(client.get("/data-health/metrics", headers=bearer(TOKEN)).text) == {
        "greenery_warehouse_reachable": 1,
        "greenery_published_late": 1,
        "greenery_run_failed": 1,
        "greenery_messages_waiting": 1,
        "greenery_unusual_figures": 1,
        "greenery_backup_late": 1,
    }


def test_before_the_first_run_nothing_is_well(client: TestClient) -> None:
    answer = client.get("/data-health/health", headers=bearer(TOKEN))
    assert (answer.status_code, answer.json()["status"]) == (503, "never")


def test_messages_that_wait_are_counted(ops: Connection, client: TestClient) -> None:
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.messages (run_id, kind, headline, body, blocks, waiting)"
            " values ('run', 'failed', '', '', '[]', true)"
        )
    assert client.get("/data-health/health", headers=bearer(TOKEN)).json()["waiting_messages"] == 1


def test_a_backup_that_is_late_is_told_and_the_data_is_well_without_it(
    ops: Connection, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_BACKUP_SCHEDULE", "* * * * *")
    publish(ops)
    made = datetime.now(UTC) - timedelta(days=2)
    backups.note(ops, Made("a backup", made, ("warehouse",), 1))
    with ops.cursor() as cursor:
        cursor.execute("update ops.watch set backups_since = %s", (made,))
    answer = client.get("/data-health/health", headers=bearer(TOKEN))
    assert answer.status_code == 200
    told = {name: datetime.fromisoformat(answer.json()[name]) for name in ("backup_as_of", "backup_late_since")}
    assert told["backup_as_of"] == made
    assert timedelta(hours=1) <= datetime.now(UTC) - told["backup_late_since"] < timedelta(hours=1, minutes=3)


@pytest.mark.parametrize("path", ASKED)
def test_a_warehouse_out_of_reach_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("WAREHOUSE_PORT", "1")
    answer = client.get(f"/data-health{path}", headers=bearer(TOKEN))
    if path == "/metrics":
        assert gauges(answer.text) == {"greenery_warehouse_reachable": 0}
    else:
        assert "unreachable" in answer.text
    assert answer.status_code == (503 if path == "/health" else 200)


def test_the_badge_is_a_picture_that_says_what_it_shows(ops: Connection, client: TestClient) -> None:
    publish(ops)
    answer = client.get("/data-health/badge.svg", headers=bearer(TOKEN))
    assert answer.headers["Content-Type"] == "image/svg+xml"
    drawn = ElementTree.fromstring(answer.text)  # noqa: S314 - our own
    assert drawn.get("aria-label").startswith(f"data: published {datetime.now(UTC):%-d %b} ")


def drawn(client: TestClient, exposure: str = "sales") -> tuple[str, str]:
    """What the badge of an exposure says, and its color."""
    answer = client.get(f"/data-health/badge/{exposure}.svg", headers=bearer(TOKEN))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")
    picture = ElementTree.fromstring(answer.text)  # noqa: S314 - our own
    return picture.get("aria-label"), picture.findall("{*}rect")[1].get("fill")


def test_the_badge_of_an_exposure_says_how_far_its_marts_can_be_trusted(
    ops: Connection, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drawn(client) == ("Sales: not published", monitor.RED)
    publish(ops)
    with ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.publication_marts select publication_id, mart, now(), passed, 0, 0, complete_to::date"
            " from ops.publications, (values ('fact_orders', 9, '2026-11-22'), ('another', 0, '2026-11-01'))"
            " as marts (mart, passed, complete_to)"
        )
        at = f"{datetime.now(UTC):%H:%M}"
        assert drawn(client) in [
            (f"Sales: tested {moment}, complete to 22 Nov", monitor.GREEN)
            for moment in (at, f"{datetime.now(UTC) - timedelta(minutes=1):%H:%M}")
        ]
        cursor.execute("update ops.publication_marts set tests_let_through = 2, tested_at = now() - interval '3 days'")
        cursor.execute("insert into ops.runs (run_id, release) values ('a change that the page sees', 'release')")
        assert drawn(client) == ("Sales: 2 failed tests let through, complete to 22 Nov", monitor.AMBER)
        cursor.execute("update ops.watch set since = now() - interval '9 days'")
        cursor.execute("update ops.publications set published_at = now() - interval '8 days'")
        monkeypatch.setenv("GREENERY_SCHEDULE", "0 6 * * *")
        cursor.execute("insert into ops.runs (run_id, release) values ('another', 'release')")
        assert drawn(client) == ("Sales: late, complete to 22 Nov", monitor.AMBER)
    held = publications.decide(ops, publications.HOLD, None, "ada", "prices are wrong").decided_at
    assert drawn(client) == (f"Sales: held since {held:%-d %b}, complete to 22 Nov", monitor.RED)


@pytest.mark.parametrize("name", ["nothing", "<script>", "'; drop schema ops cascade; --"])
def test_an_exposure_that_there_is_not_is_not_found(client: TestClient, name: str) -> None:
    assert client.get(f"/data-health/badge/{name}.svg", headers=bearer(TOKEN)).status_code == 404


def test_a_token_in_the_address_opens_nothing(client: TestClient) -> None:
    """It would stand in every log."""
    for given in ("token", "access_token", "jwt"):
        assert client.get("/data-health/badge/sales.svg", params={given: TOKEN}).status_code in (401, 403)
