"""Each route that we mount in Airflow's API server, asked by those who may not, and by those who may in part.

`routes.py` finds the routes. What a page does with data is tried with data that is hostile throughout.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib import import_module
from urllib.parse import urlencode

import jwt
import psycopg2
import pytest
from airflow.api_fastapi.app import init_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.models.revoked_token import RevokedToken
from airflow.plugins_manager import AirflowPlugin
from airflow.settings import get_engine as engine
from cosmos.plugin.airflow3 import create_cosmos_fastapi_app
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from include import settings
from include.answers import answers
from include.answers.answer import About, Kind
from include.local.postgres import LocalPostgres
from include.results import publications
from include.warehouse import roles
from plugins.data_health.answers import _answers as kept_pages
from plugins.data_health.app import app
from tests.conftest import a_warehouse
from tests.plugins import shop
from tests.plugins.routes import MADE_FOR, METHODS, PATHS, TEMPLATES, path
from tests.plugins.test_answering import FORM, Browser
from tests.plugins.unusual import OF_STATUS, far_off, observe
from tests.releases import make_release

pytestmark = [pytest.mark.db, pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")]

TOKEN = "a-token-of-a-monitor-of-some-length"
MONITORED = ("/health", "/metrics", "/badge.svg", path("/badge/{exposure}.svg").removeprefix(settings.HEALTH_PATH))
REFUSED = {401, 403, 405}
SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"\"'>{SCRIPT}<img src=x onerror=alert(1)> [a](javascript:alert(1)) <javascript:alert(1)|x> {{{{ 1 }}}}"
WRITES = {f"{settings.HEALTH_PATH}/answer", path("/answers/{answer_id}")}


@pytest.fixture(scope="module")
def ops(server: LocalPostgres, migrated: str) -> Iterator[Connection]:
    """A warehouse with the roles, and a run, messages and answers that are hostile; an administrator's connection."""
    with (
        a_warehouse(server, migrated) as where,
        closing(psycopg2.connect(**where.libpq())) as db,
        db.cursor() as cursor,
    ):
        db.autocommit = True
        roles.ensure(db, login=True)
        found = [{"order_id": HOSTILE, HOSTILE: HOSTILE}]
        failed = shop.of_test("fail", failing_rows=found, compiled_sql=HOSTILE)
        shop.run(db, HOSTILE, 0, failed, replace(shop.built("error"), message=HOSTILE))
        observe(db, "another run", [], [far_off(), far_off(OF_STATUS)])
        publications.decide(db, publications.HOLD, None, HOSTILE, HOSTILE)
        answers.give(db, Kind.MINE, About(shop.UNIQUE), HOSTILE, HOSTILE)
        publications.note(cursor, HOSTILE, "analytics", as_of=None, decision=None, notes=[HOSTILE])
        block = {"type": "section", "text": {"type": "mrkdwn", "text": HOSTILE}}
        cursor.execute(
            "insert into ops.messages (run_id, kind, headline, body, blocks, waiting, problem)"
            " values (%s, %s, %s, %s, %s, true, %s)",
            (HOSTILE, "failed", HOSTILE, HOSTILE, Json([block]), HOSTILE),
        )
        yield db


@pytest.fixture(scope="module")
def client(ops: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of the app as Airflow mounts it, whose dbt project is hostile as well."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GREENERY_STATE_DIR", str(state))
        environment.setenv("GREENERY_HEALTH_TOKEN", TOKEN)
        environment.setenv("GREENERY_SCHEDULE", "")
        kept_pages.clear()  # another test's warehouse may have had as much in it
        RevokedToken.__table__.create(engine(), checkfirst=True)  # of which a login is asked whether it is one
        told = {name: _hostile(getattr(shop.FACTS, name)) for name in ("nodes", "sources", "groups", "exposures")}
        make_release("one", json.dumps(told | {"metadata": {}}))
        (state / "dbt" / "current").symlink_to("releases/one")
        init_auth_manager()
        outer = FastAPI()
        outer.mount(settings.HEALTH_PATH, app)
        with TestClient(outer, base_url="http://test", follow_redirects=False) as client:
            yield client


def _hostile(told: dict, key: str = "") -> dict:
    """With hostile text wherever people write what they like."""
    if isinstance(told, dict):
        return {name: _hostile(value, name) for name, value in told.items()}
    if isinstance(told, list):
        return [_hostile(value) for value in told]
    return HOSTILE if key in ("description", "label", "raw_code", "compiled_code") else told


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"_token={token}", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def strangers(client: TestClient) -> dict[str, dict[str, str]]:
    """By what they are, what those bring along whom nobody has let in."""
    manager = init_auth_manager()
    admin = SimpleAuthManagerUser(username="eve", role="admin")
    token = manager.generate_jwt(admin)
    claims = jwt.decode(token, options={"verify_signature": False})
    head, _, signature = token.split(".")
    RevokedToken.revoke(claims["jti"], datetime.now(UTC) + timedelta(days=1))
    of_a_task = claims | {"jti": "1", "aud": "urn:airflow.apache.org:task", "scope": "execution"}
    as_another = jwt.encode(claims | {"jti": "4", "sub": "ada"}, "k" * 64, "HS512").split(".")[1]
    return {
        "nobody": {},
        "who has logged out": cookie(token),
        "a task of Airflow's": cookie(jwt.encode(of_a_task, get_signing_key("api_auth", "jwt_secret"), "HS512")),
        "who was let in before": cookie(manager.generate_jwt(admin, expiration_time_in_seconds=-60)),
        "who signs with another key": cookie(jwt.encode(claims | {"jti": "2"}, "k" * 64, "HS512")),
        "who does not sign": cookie(jwt.encode(claims | {"jti": "3"}, None, "none")),
        "who changes what was signed": cookie(f"{head}.{as_another}.{signature}"),
        "who brings half a token": cookie(token[: len(token) // 2]),
        "a user without a role": cookie(manager.generate_jwt(SimpleAuthManagerUser(username="guest", role=None))),
        "who has a name alone": {"Authorization": "Basic YWRtaW46YWRtaW4="},
        "who claims to come by a proxy": {"X-Forwarded-User": "admin", "Remote-User": "admin", "X-Remote-User": "a"},
    }


def everything(ops: Connection) -> dict[str, str]:
    """What stands in each table of ops, as a hash."""
    with ops.cursor() as cursor:
        cursor.execute("select tablename from pg_tables where schemaname = 'ops' order by 1")
        tables = [name for (name,) in cursor.fetchall()]
        hashes = [f"(select md5(string_agg(t::text, '' order by t::text)) from ops.{name} as t)" for name in tables]
        cursor.execute(f"select {', '.join(hashes)}")
        return dict(zip(tables, cursor.fetchone(), strict=True))


def test_who_is_not_let_in_reads_nothing_and_changes_nothing(
    client: TestClient, strangers: dict[str, dict[str, str]], ops: Connection
) -> None:
    before = everything(ops)
    got: dict[str, str] = {}
    for who, headers in strangers.items():
        for method, asked in MADE_FOR if headers else itertools.product(METHODS, PATHS):
            answer = client.request(method, asked, headers=headers)
            to_login = answer.status_code == 307 and "/auth/login?next=" in answer.headers["Location"]
            if not (answer.status_code in REFUSED or to_login) or "alert(1)" in answer.text:
                got[f"{who}: {method} {asked}"] = f"{answer.status_code} {answer.text[:80]}"
    assert got == {}
    assert everything(ops) == before


def test_a_monitor_is_told_the_state_and_changes_nothing(client: TestClient, ops: Connection) -> None:
    before = everything(ops)
    opened = {
        (method, asked)
        for asked in PATHS
        for method in METHODS
        if client.request(method, asked, headers={"Authorization": f"Bearer {TOKEN}"}).status_code
        not in REFUSED | {307}
    }
    assert opened == {("GET", f"{settings.HEALTH_PATH}{asked}") for asked in MONITORED}
    assert everything(ops) == before


def test_a_viewer_reads_all_but_the_form_and_changes_nothing(client: TestClient, ops: Connection) -> None:
    before = everything(ops)
    vera = Browser(client, "vera", "viewer")
    got = {
        (method, asked): client.request(method, asked, headers=vera.headers).status_code
        for asked in PATHS
        for method in METHODS
    }
    form = f"{settings.HEALTH_PATH}/answer"
    assert {asked for asked in PATHS if got["GET", asked] in (307, 401, 403)} == {form}
    assert {asked: code for asked in PATHS if (code := got["GET", asked]) >= 500 and "/health" not in asked[12:]} == {}
    for (method, asked), code in got.items():
        if method != "GET":
            assert code == (403 if (method, asked) in MADE_FOR else 405), (method, asked)
    assert {asked for method, asked in MADE_FOR if method not in ("GET", "HEAD")} == WRITES
    assert everything(ops) == before


@pytest.mark.parametrize("role", ["user", "op", "admin"])
def test_who_may_run_the_day_may_answer_and_do_nothing_else(client: TestClient, ops: Connection, role: str) -> None:
    ada = Browser(client, "ada", role)
    assert ada.get(f"/data-health/answer?about={shop.UNIQUE}").status_code == 200
    before = everything(ops)
    assert ada.send(**(FORM | {"about": shop.UNIQUE})).status_code == 303
    after = everything(ops)
    assert {table for table in after if after[table] != before[table]} == {"answers"}


def test_to_look_changes_nothing_whatever_the_address_says(client: TestClient, ops: Connection) -> None:
    """Else a picture on another site could be a form."""
    before = everything(ops)
    ada = Browser(client, "ada", "admin")
    asked = urlencode(FORM | {"about": shop.UNIQUE, "token": "x", "_method": "POST", "kind": "mine"})
    for method in ("GET", "HEAD", "OPTIONS"):
        for one in PATHS:
            override = {"X-HTTP-Method-Override": "POST"}
            client.request(method, f"{one}?{asked}", headers=ada.headers | override)
    assert everything(ops) == before


def test_no_other_site_is_let_in_and_each_answer_says_how_it_may_be_used(client: TestClient) -> None:
    evil = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for who in (Browser(client, "ada", "admin").headers, {}):
        for asked in PATHS:
            for method in ("GET", "OPTIONS"):
                headers = client.request(method, asked, headers=who | evil).headers
                assert [name for name in headers if name.startswith("access-control-")] == [], asked
                assert headers["X-Content-Type-Options"] == "nosniff", asked
                assert "frame-ancestors 'self'" in headers["Content-Security-Policy"], asked
                kept = headers["Cache-Control"]
                assert kept == "no-store" or kept.startswith("private"), asked


PATHS_OUT = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..\\..\\airflow.cfg",
    "style.css/../../app.py",
    "style.css\x00.txt",
)


def test_no_name_leads_out_of_what_is_ours(client: TestClient) -> None:
    vera = Browser(client, "vera", "viewer")
    names = {"name", "run_id", "metric", "day", "exposure", "message_id", "answer_id", "rest"}
    for template in TEMPLATES:
        for out in PATHS_OUT if "{" in template else ():
            for asked in (path(template, **dict.fromkeys(names, out)), path(template).rsplit("/", 1)[0] + f"/{out}"):
                answer = vera.get(asked.replace("\x00", "%00"))
                assert answer.status_code in (404, 422), asked


class Markup(HTMLParser):
    """What of a page would run, or would be fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script" and given.get("type") != "application/json":
            self.found += [] if (given.get("src") or "").startswith("/data-health/static/") else [f"<{tag}>"]
        self.found += [f"<{tag} {name}>" for name in given if name.startswith("on")]
        for name in {"href", "src", "action", "formaction"} & given.keys():
            if (given[name] or "").split(":")[0].lower().strip() in ("javascript", "vbscript"):
                self.found.append(f"{name}={given[name]}")
        if tag == "img" and given.get("src") == "x":
            self.found.append("an image of the data's")


def test_nothing_that_data_says_becomes_markup(client: TestClient) -> None:
    vera = Browser(client, "vera", "viewer")
    own = {"/models/": {"name": "fact_orders"}, "/tests/": {"name": "fact_unique"}}
    pages: dict[str, Response] = {}
    for template in TEMPLATES:
        given = next((names for start, names in own.items() if template.startswith(start)), {})
        asked = path(template, run_id=HOSTILE, **given)
        pages[asked] = vera.get(asked)
    pages |= {one: vera.get(one) for one in (path("/models/{name}", name=HOSTILE), path("/tests/{name}", name=HOSTILE))}
    shown = 0
    for asked, answer in pages.items():
        if not answer.headers["Content-Type"].startswith("text/html") or asked.endswith("/docs/index.html"):
            continue
        markup = Markup()
        markup.feed(answer.text)
        assert markup.found == [], asked
        shown += "&lt;script&gt;alert(1)" in answer.text
    assert shown >= 8, "where the data is shown"


def test_what_is_mounted_is_the_page_alone_and_of_cosmos_no_page_of_data() -> None:
    """`PATHS` are all that we mount. Cosmos' app asks for no login, and no setting of ours gives it a project."""
    for file in sorted((settings.PROJECT_ROOT / "plugins").glob("*.py")):
        import_module(f"plugins.{file.stem}")
    ours = [plugin for plugin in AirflowPlugin.__subclasses__() if plugin.__module__.startswith("plugins.")]
    assert {one["url_prefix"] for plugin in ours for one in plugin.fastapi_apps} == {settings.HEALTH_PATH}
    assert [plugin.name for plugin in ours if plugin.flask_blueprints or plugin.appbuilder_views] == []
    assert [plugin.name for plugin in ours if plugin.fastapi_root_middlewares] == []
    of_fastapi = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
    assert {route.path for route in create_cosmos_fastapi_app().routes} == of_fastapi
    assert "dbt_docs" not in (settings.PROJECT_ROOT / "airflow.cfg").read_text()
