"""Who may answer on the page, what is kept of it, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.api_fastapi.app import init_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.revoked_token import RevokedToken
from airflow.settings import get_engine as engine
from fastapi import FastAPI
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection

from include import settings
from include.answers import answers
from include.answers.answer import About, Kind, form_query
from plugins.data_health import access
from plugins.data_health.answers import _answers as kept_pages
from plugins.data_health.app import app
from tests.clock import today
from tests.include.results.project import FACTS, ORDERS, USERS
from tests.include.results.test_summary import DOUBLED, earlier
from tests.releases import make_release

pytestmark = pytest.mark.db

TEST = "test.p.orders_unique"
FORM = {"about": TEST, "kind": "mute", "reason": "known", "until": str(today() + timedelta(days=3))}


class Browser:
    """Somebody's browser, on a page of this Airflow."""

    def __init__(self, client: TestClient, user: str, role: str) -> None:
        self._client = client
        self.user = SimpleAuthManagerUser(username=user, role=role)
        self.headers = {"Cookie": f"_token={self._token()}", "Sec-Fetch-Site": "same-origin"}

    def _token(self) -> str:
        return init_auth_manager().generate_jwt(self.user)

    def get(self, path: str):
        return self._client.get(path, headers=self.headers)

    def send(self, path: str = "/data-health/answer", *, headers: dict[str, str] | None = None, **form: str):
        """Send a form that was opened; `headers` are others than this browser's, "" for none."""
        form = {"token": access.token_for(self.user)} | form
        given = {name: value for name, value in (self.headers | (headers or {})).items() if value}
        return self._client.post(path, data=form, headers=given)


@pytest.fixture
def client(ops: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of the app as Airflow mounts it, with a dbt project that parsed."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    kept_pages.clear()  # another test's warehouse may have had as many answers
    RevokedToken.__table__.create(engine(), checkfirst=True)  # of which a login is asked whether it is one
    make_release("one", json.dumps({"nodes": FACTS.nodes, "sources": FACTS.sources}))
    (tmp_path / "dbt" / "current").symlink_to("releases/one")
    init_auth_manager()
    outer = FastAPI()
    outer.mount(settings.HEALTH_PATH, app)
    with TestClient(outer, base_url="http://test", follow_redirects=False) as client:
        yield client


@pytest.fixture
def ada(client: TestClient) -> Browser:
    """Who may trigger DAGs."""
    return Browser(client, "ada", "user")


@pytest.fixture
def viewer(client: TestClient) -> Browser:
    """Who reads."""
    return Browser(client, "vera", "viewer")


def test_the_form_is_filled_in_by_the_link_and_what_it_sends_is_kept_by_login(ada: Browser, ops: Connection) -> None:
    form = ada.get(f"/data-health/answer?{form_query(About(ORDERS, 'rows', day=today()))}").text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    assert "rows of raw.orders" in form
    assert "It was expected" in form
    assert "It was expected" not in ada.get(f"/data-health/answer?about={ORDERS}").text, "on which day?"
    sent = ada.send(**hidden, kind="expected", reason="a sale")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/data-health/answers#answer-1")
    [given] = answers.in_force(ops, today())
    assert (given.kind, given.about, given.answered_by) == (Kind.EXPECTED, About(ORDERS, "rows", day=today()), "ada")
    listed = ada.get("/data-health/answers").text
    assert 'id="answer-1"' in listed
    assert "a sale" in listed


def test_to_see_to_it_takes_one_click(ada: Browser, ops: Connection) -> None:
    assert ada.send(about=TEST, kind="mine", reason="").status_code == 303
    assert answers.in_force(ops, today())[0].reason == "I have seen it"


def test_behind_a_prefix_the_form_leads_to_where_the_page_is(ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://data.example.org/airflow")
    assert 'action="/airflow/data-health/answer"' in ada.get(f"/data-health/answer?about={TEST}").text
    sent = ada.send(**FORM)
    assert sent.headers["Location"] == "/airflow/data-health/answers#answer-1"


def test_a_viewer_may_not_answer_and_is_shown_no_form(viewer: Browser, ops: Connection) -> None:
    answers.give(ops, Kind.MINE, About(TEST), "ada", "at it")
    refused = viewer.get(f"/data-health/answer?about={TEST}")
    assert (refused.status_code, "to see plugins" in refused.text) == (403, False), "she sees them"
    assert viewer.send(**FORM).status_code == 403
    assert viewer.send("/data-health/answers/1", reason="x").status_code == 403
    assert "<form" not in viewer.get("/data-health/answers/1").text
    assert [one.reason for one in answers.in_force(ops, today())] == ["at it"]


def test_nobody_answers_without_a_session(client: TestClient, ada: Browser, ops: Connection) -> None:
    assert ada.send(**FORM, headers={"Cookie": ""}).status_code == 401
    assert ada.send(**FORM, headers={"Cookie": "_token=forged"}).status_code == 403
    assert client.get(f"/data-health/answer?about={TEST}").headers["Location"].startswith("/api/v2/auth/login?next=")
    assert answers.kept(ops) == ()


FROM_ELSEWHERE = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://test"},
    {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "", "Origin": "http://test.evil.example"},
    {"Sec-Fetch-Site": "", "Origin": "null"},
    {"Sec-Fetch-Site": "", "Origin": ""},
)


def test_what_another_site_sends_is_refused(ada: Browser, ops: Connection) -> None:
    sent = [ada.send(**FORM, headers=headers) for headers in FROM_ELSEWHERE]
    assert {one.status_code for one in sent} == {403}
    assert all("not sent by a page of this Airflow" in one.text for one in sent)
    assert answers.kept(ops) == ()


def test_over_http_and_behind_a_proxy_the_page_s_origin_says_that_it_is_ours(
    ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser sends no Sec-Fetch-Site over plain http; a proxy may name itself to us."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org")
    for origin in ("http://test", "https://airflow.example.org"):
        assert ada.send(**FORM, headers={"Sec-Fetch-Site": "", "Origin": origin}).status_code == 303


def test_a_form_of_another_login_s_or_an_old_one_keeps_nothing_and_is_shown_again(
    ada: Browser, client: TestClient, ops: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = access.token_for(SimpleAuthManagerUser(username="eve", role="user"))
    for token in ("", "forged", others):
        sent = ada.send(**FORM, token=token)
        assert (sent.status_code, 'value="known"' in sent.text) == (422, True)
    monkeypatch.setattr(access, "FORM_SECONDS", -1)
    assert "open for too long" in ada.send(**FORM).text
    assert answers.kept(ops) == ()


WRONG = (
    ({"about": "test.p.nothing"}, "nothing to answer to"),
    ({"about": ""}, "nothing to answer to"),
    ({"until": str(today() - timedelta(days=1))}, "is in the past"),
    ({"until": "tomorrow"}, "no day such as"),
    ({"until": ""}, "takes its last day"),
    ({"reason": ""}, "takes a reason"),
    ({"reason": "a" * 301}, "300 is the most"),
    ({"reason": "a\x00b"}, "null character"),
    ({"measure": "a\x00b"}, "null character"),
    ({"day": "yesterday"}, "no day such as"),
    ({"kind": "all"}, "Say whether"),
    ({"kind": ""}, "Say whether"),
    ({"kind": "expected"}, "answer to an unusual figure"),
)


def test_what_is_wrong_is_said_and_the_form_is_shown_again(ada: Browser, ops: Connection) -> None:
    for wrong, said in WRONG:
        sent = ada.send(**(FORM | wrong))
        assert (sent.status_code, said in sent.text) == (422, True), wrong
    assert answers.kept(ops) == ()


def test_what_is_typed_is_escaped(ada: Browser) -> None:
    script = "<script>alert(1)</script>"
    assert script not in ada.send(**(FORM | {"reason": script, "kind": ""})).text
    ada.send(**(FORM | {"reason": script}))
    assert "&lt;script&gt;" in ada.get("/data-health/answers").text


def test_a_form_has_a_bounded_length(ada: Browser) -> None:
    assert ada.send(**(FORM | {"reason": "a" * 20_000})).status_code == 413


def test_the_page_lets_no_test_through(ada: Browser, ops: Connection) -> None:
    assert "include.answers mute --waives" in ada.get(f"/data-health/answer?about={TEST}").text
    assert ada.send(**FORM, waives="yes").status_code == 303
    assert answers.waived(ops) == frozenset()


def test_who_may_run_the_day_alone_may_mute(ada: Browser, ops: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with FAB's role greenery_run: its right names the DAG."""
    monkeypatch.setattr(type(init_auth_manager()), "is_authorized_dag", _of_the_day_alone)
    assert ada.send(**FORM).status_code == 303
    assert len(answers.in_force(ops, today())) == 1


def test_who_may_run_the_day_alone_ends_no_hold(
    ada: Browser, ops: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(init_auth_manager()), "is_authorized_dag", _of_the_day_alone)
    expected = {"about": ORDERS, "measure": "rows", "day": str(today()), "kind": "expected", "reason": "a sale"}
    assert ada.send(**expected).status_code == 303
    users = FACTS.sources[USERS] | {"config": {"meta": {"unusual": "hold"}}, "original_file_path": "users.yml"}
    make_release("two", json.dumps({"nodes": FACTS.nodes, "sources": FACTS.sources | {USERS: users}}))
    (tmp_path / "dbt" / "current").unlink()
    (tmp_path / "dbt" / "current").symlink_to("releases/two")
    refused = ada.send(**expected)
    assert (refused.status_code, "Expected may end a hold" in refused.text) == (422, True)
    assert len(answers.kept(ops)) == 1


def _of_the_day_alone(self, *, details, **_):
    return details.id == "greenery_daily"


def test_an_answer_is_ended_on_its_page(ada: Browser, ops: Connection) -> None:
    given = answers.give(ops, Kind.MINE, About(TEST), "grace", "at it")
    page = ada.get("/data-health/answers/1").text
    assert "unique on raw.orders.order_id" in page
    assert ada.send("/data-health/answers/1", reason=" ").status_code == 422
    assert answers.in_force(ops, today()) == (given,)
    sent = ada.send("/data-health/answers/1", reason="mended")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/data-health/answers#answer-1")
    assert answers.find(ops, 1).end.ended_by == "ada"
    again = ada.send("/data-health/answers/1", reason="mended")
    assert (again.status_code, "has ended already" in again.text) == (422, True)
    assert ada.get("/data-health/answers/2").status_code == 404
    assert ada.send("/data-health/answers/2", reason="x").status_code == 404


def test_the_pages_of_a_test_and_of_a_model_have_the_answers_and_lead_to_the_form(
    ada: Browser, ops: Connection
) -> None:
    for about in (ORDERS, "model.p.fact_orders"):
        answers.give(ops, Kind.MUTE, About(about), "grace", "the replica is moved", today())
    for path, about in (("tests/orders_unique", TEST), ("models/fact_orders", "model.p.fact_orders")):
        page = ada.get(f"/data-health/{path}").text
        assert "the replica is moved" in page
        assert f'href="/data-health/answer?about={about}"' in page


def test_what_is_wrong_now_is_shown_with_its_answers(ada: Browser, ops: Connection) -> None:
    earlier(ops, "run", 0, DOUBLED)
    answers.give(ops, Kind.MUTE, About(TEST), "grace", "the replica is moved", today())
    answers.give(ops, Kind.MINE, About(ORDERS), "vera", "at it")
    page = ada.get("/data-health/").text
    assert "by grace: the replica is moved" in page
    assert "vera sees to it" in page
    assert f'href="/data-health/answer?about={TEST}"' in page


def test_a_mute_that_outlived_its_reason_says_so_in_the_list(ada: Browser, ops: Connection) -> None:
    answers.give(ops, Kind.MUTE, About(TEST), "grace", "known", today())
    with ops.cursor() as cursor:
        cursor.execute("update ops.answers set answered_at = now() - interval '9 days'")
    for days_ago in (3, 2, 1):
        earlier(ops, f"{days_ago} days ago", days_ago, replace(DOUBLED, status="pass"))
    assert "the mute has outlived its reason" in ada.get("/data-health/answers").text
