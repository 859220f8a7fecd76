"""No secret in what is said or written: that the look for them finds them, and what errors tell.

What whole days of a deployment leave is looked through in `tests/daily/test_secrets.py`.
"""

from __future__ import annotations

import json
import logging
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily.report import _last_words
from include.raw import live
from include.slack.channels import Audience, to_all
from include.slack.message import Message
from include.slack.send import deliver
from include.slack.transport import UnavailableError
from include.warehouse import connect
from tests import leaks
from tests.slack_server import DROP, slack_server

pytestmark = pytest.mark.db

PASSWORD = "Zq7tiger/p:w@rd%and#more"
PARTS = {"a password": PASSWORD, "its beginning": "Zq7tiger", "its end": "and#more"}
WEBHOOK = {"a webhook": "T000/B000/Xk29secret"}
ENDS_HERE = "127.0.0.1:1"  # nobody listens there

WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in an address": lambda secret: f"postgresql://ada:{quote(secret, safe='')}@host/db",
    "in a header": lambda secret: f"Basic {b64encode(f'ada:{secret}'.encode()).decode()}",
    "in a header of a longer name": lambda secret: f"Basic {b64encode(f'grace:{secret}, {secret}'.encode()).decode()}",
    "in JSON": lambda secret: json.dumps({"password": secret}),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_the_look_finds_a_secret_however_it_is_written(written: str, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_bytes(b"\x00\xff " + WRITTEN[written](PASSWORD).encode() + b" \xfe")
    (tmp_path / "logs" / "b.log").write_text("nothing")
    assert leaks.in_files({"it": PASSWORD}, tmp_path) == ["logs/a.log: it"]
    assert leaks.in_files({"it": PASSWORD}, tmp_path, but=[tmp_path / "logs"]) == []


def test_the_look_finds_a_token_and_what_stands_in_a_database(db: Connection) -> None:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS512"}, {"sub": "a task of a run"})]
    head, claims = (urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    token = f"Bearer {head}.{claims}.c2lnbmF0dXJl"
    assert leaks.in_text({}, token) == ["a token"]
    assert leaks.in_database({"it": PASSWORD}, db) == []
    with db.cursor() as cursor:
        for told in (PASSWORD, WRITTEN["in an address"](PASSWORD), WRITTEN["in a header"](PASSWORD), token):
            cursor.execute("delete from ops.runs")
            cursor.execute("insert into ops.runs (run_id, release) values (%s, 'release')", (told,))
            assert leaks.in_database({"it": PASSWORD}, db) == [f"ops.runs: {'a token' if told is token else 'it'}"]


def _connect(**to: object) -> None:
    with connect("test", replace(settings.warehouse(), password=PASSWORD, **to)):
        pass


def _load(url: str) -> Callable[[pytest.MonkeyPatch], object]:
    def load(environment: pytest.MonkeyPatch) -> object:
        environment.setenv("SHOP_DATABASE_URL", url)
        return live.load_shop()

    return load


def _airflow_database(url: str) -> Callable[[pytest.MonkeyPatch], object]:
    def read(environment: pytest.MonkeyPatch) -> object:
        environment.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
        return settings.airflow_database()

    return read


# Addresses with the password as people paste it: libpq takes some for something else, and some not at all.
ADDRESSES = {
    "as it is": f"postgresql://shop:{PASSWORD}@{ENDS_HERE}/shop",
    "without %": f"postgresql://shop:{PASSWORD.replace('%', '')}@{ENDS_HERE}/shop",
    "well formed": f"postgresql://shop:{quote(PASSWORD, safe='')}@{ENDS_HERE}/shop",
    "as keywords": f"host=127.0.0.1 port=1 password={PASSWORD} {PASSWORD}",
    "without a scheme": f"shop:{PASSWORD}@{ENDS_HERE}/shop",
    "without a database": f"postgresql://shop:{quote(PASSWORD, safe='')}@{ENDS_HERE}",
}
ERRORS: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    "nobody listens": lambda _: _connect(port=1),
    "no such database": lambda _: _connect(database="nowhere"),
    "no such user": lambda _: _connect(user="nobody"),
    "no such host": lambda _: _connect(host="nowhere.invalid"),
    **{f"the shop's address {how}": _load(url) for how, url in ADDRESSES.items()},
    **{f"Airflow's address {how}": _airflow_database(url) for how, url in ADDRESSES.items() if "keyword" not in how},
}


def test_no_error_tells_a_password_or_a_part_of_one(db: Connection, caplog: pytest.LogCaptureFixture) -> None:
    """Nor its chain, nor what is logged on the way."""
    told = {}
    for what, call in ERRORS.items():
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "include"), pytest.MonkeyPatch.context() as environment:
            try:
                said = repr(call(environment))
            except Exception as error:
                said = f"{error!r} {traceback.format_exc()}"
        told[what] = said + caplog.text
    assert {what: found for what, said in told.items() if (found := leaks.in_text(PARTS, said))} == {}
    assert "OperationalError" in told["nobody listens"]
    assert leaks.in_database(PARTS, db) == []


@pytest.mark.parametrize("trouble", [404, 403, 500, DROP, "nobody listens"])
def test_what_slack_refuses_is_kept_and_told_without_its_address(
    db: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: int | str
) -> None:
    monkeypatch.setenv("GREENERY_SLACK_TIMEOUT_SECONDS", "1")
    monkeypatch.setattr("include.slack.transport.RETRIES", 0)
    with slack_server() as slack:
        slack.answers += [trouble] * 9
        host = f"http://{ENDS_HERE}" if trouble == "nobody listens" else slack.url
        told = json.dumps({"conn_type": "slackwebhook", "host": host, "password": WEBHOOK["a webhook"]})
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", told)
        with caplog.at_level(logging.INFO):
            try:
                deliver(db, "run 1", to_all(Message("published", "✅ fine", "✅ fine", [])))
            except UnavailableError:
                caplog.handler.stream.write(traceback.format_exc())
    assert "Slack did not take the message" in caplog.text
    assert leaks.in_database(WEBHOOK, db) == []
    assert leaks.in_text(WEBHOOK, caplog.text) == []
    with db.cursor() as cursor:
        cursor.execute("select count(*) from ops.messages where problem is not null")
        assert cursor.fetchone() == (1,), "what Slack said is kept"


def test_where_no_report_can_be_made_no_row_is_told_that_postgres_quotes(db: Connection) -> None:
    person = {"a person": "ada@example.com"}
    with db.cursor() as cursor:
        cursor.execute("create unique index on ops.runs (release)")
        insert = "insert into ops.runs (run_id, release) values (gen_random_uuid(), %s)"
        cursor.execute(insert, (person["a person"],))
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute(insert, (person["a person"],))
    assert leaks.in_text(person, str(refused.value)) == ["a person"]
    said = _last_words("run", "http://run", refused.value)[Audience.ENGINEERS].body
    assert "UniqueViolation: duplicate key value violates unique constraint" in said
    assert leaks.in_text(person, said) == []
