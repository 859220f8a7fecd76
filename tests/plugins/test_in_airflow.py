"""The data-health page behind the login of a real Airflow: who gets in, who does not, and what comes along."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from include import settings
from plugins.data_health.app import app
from tests.deployment import Deployment
from tests.plugins.routes import PATHS

pytestmark = [pytest.mark.db, pytest.mark.stack]

# For a monitor, which has a token in place of a login.
MONITORED = {f"{settings.HEALTH_PATH}/health", f"{settings.HEALTH_PATH}/badge.svg"}


@pytest.fixture
def airflow(deployment: Deployment) -> Iterator[httpx.Client]:
    """A client that is not logged in."""
    running = deployment.stack.airflow(deployment.server)
    with httpx.Client(base_url=running.url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def admin(airflow: httpx.Client, deployment: Deployment) -> httpx.Client:
    """The same, logged in as a browser is."""
    return _logged_in(airflow, *deployment.stack.login())


def _logged_in(client: httpx.Client, user: str, password: str) -> httpx.Client:
    answer = client.post("/auth/token", json={"username": user, "password": password})
    client.cookies.set("_token", answer.raise_for_status().json()["access_token"])
    return client


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_anything_without_a_session(airflow: httpx.Client, path: str) -> None:
    page, data = airflow.get(path, headers={"Accept": "text/html"}), airflow.post(path)
    assert page.status_code in (307, 401, 403)
    if page.status_code == 307:
        assert page.headers["Location"].startswith("/api/v2/auth/login?next=")
    assert data.status_code in (401, 403, 405)


def test_a_forged_session_is_none(airflow: httpx.Client) -> None:
    airflow.cookies.set("_token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJhZG1pbiJ9.")
    assert {airflow.get(path).status_code for path in PATHS} <= {307, 401, 403}


def test_a_user_who_may_not_see_plugins_gets_403(airflow: httpx.Client, deployment: Deployment) -> None:
    passwords = json.loads((deployment.stack.home / "airflow" / "passwords.json").read_text())
    guest = _logged_in(airflow, "guest", passwords["guest"])
    assert {path: guest.get(path).status_code for path in PATHS} == dict.fromkeys(PATHS, 403)
    assert "permission to see plugins" in guest.get(f"{settings.HEALTH_PATH}/").text


def test_the_login_leads_back_to_the_page_that_was_asked_for(airflow: httpx.Client) -> None:
    asked = airflow.get(f"{settings.HEALTH_PATH}/history?days=90", headers={"Accept": "text/html"})
    login = airflow.get(asked.headers["Location"])
    assert "next=%2Fdata-health%2Fhistory%3Fdays%3D90" in login.headers["Location"]


def test_every_answer_forbids_what_is_not_ours(admin: httpx.Client) -> None:
    for path in PATHS:
        headers = admin.get(path).headers
        policy = dict(
            directive.strip().split(" ", 1) for directive in headers["Content-Security-Policy"].split(";") if directive
        )
        allowed = {source for sources in policy.values() for source in sources.split()}
        allowed -= {source for source in allowed if source.startswith("'sha256-")}  # of what we serve
        assert allowed <= {"'none'", "'self'", "'unsafe-inline'", "data:"}, path
        assert policy["default-src"] in ("'none'", "'self'"), path
        assert policy["frame-ancestors"] == "'self'", path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        if "/docs/" not in path:  # dbt's own page has its one script inline
            assert "script-src 'self';" in headers["Content-Security-Policy"], path


@pytest.mark.parametrize(
    "asked",
    [
        "/history?days=31",
        "/history?days=30;drop schema ops cascade",
        "/api/history?days=1 or 1=1",
        "/messages?page=-1",
        "/tests?state=' or ''='",
        "/orders/2026-13-01",
        "/figures/revenue/2026-13-01",
        "/api/figures/revenue/2026-01-01?told_on=yesterday",
        "/unusual/series?measure=rows",
        "/unusual/series?about=a&measure=nonsense",
        "/unusual/series?about=a%00&measure=rows",
        "/api/unusual/series?about=a&measure=rows&item=a%00",
    ],
)
def test_a_parameter_is_what_it_should_be_or_refused(admin: httpx.Client, asked: str) -> None:
    assert admin.get(f"{settings.HEALTH_PATH}{asked}").status_code == 422


@pytest.mark.parametrize("name", ["'; drop schema ops cascade; --", "<script>alert(1)</script>", "../../etc/passwd"])
@pytest.mark.parametrize("view", ["models", "tests", "runs", "static"])
def test_a_name_that_there_is_not_is_said_and_escaped(admin: httpx.Client, view: str, name: str) -> None:
    # Quoted whole: a client would walk up "../" by itself, and ask Airflow.
    answer = admin.get(settings.health_path(view, name), headers={"Accept": "text/html"})
    assert answer.status_code == 404
    if answer.headers["Content-Type"] != "application/json":  # where nothing is escaped, nor read as markup
        assert "<script>alert" not in answer.text


def test_a_series_that_there_is_not_is_said_and_escaped(admin: httpx.Client) -> None:
    asked = {"about": "'; drop schema ops cascade; --", "measure": "share", "column": "a", "item": "<script>alert(1)"}
    answer = admin.get(f"{settings.HEALTH_PATH}/unusual/series", params=asked, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "Nothing was observed" in answer.text
    assert "<script>alert" not in answer.text


def test_the_api_is_described(admin: httpx.Client) -> None:
    described = admin.get(f"{settings.HEALTH_PATH}/openapi.json").json()
    ours = {route.path for route in app.routes if getattr(route, "include_in_schema", False)}
    assert described["paths"].keys() == ours
    for path, methods in described["paths"].items():
        assert "schema" in methods["get"]["responses"]["200"]["content"]["application/json"], path
