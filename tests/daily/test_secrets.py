"""What the whole days of these tests have left, and no secret in it: files, both databases, Slack, pages, templates."""

from __future__ import annotations

import json
from contextlib import closing

import psycopg2
import pytest

from include import settings
from include.daily import DAG_ID
from include.local.stack import Stack
from tests import leaks
from tests.deployment import Day, Deployment
from tests.plugins.routes import PATHS
from tests.slack_server import PATH, TOKEN

pytestmark = [pytest.mark.db, pytest.mark.stack]


def secrets(stack: Stack) -> dict[str, str]:
    """All that the deployment knows and nobody else is to know, by what it opens.

    Without the login of these tests' guest: to a user who has no password Airflow gives one, and prints it.
    """
    kept = json.loads((stack.home / "secrets.json").read_text())
    return {
        **{f"the key {name}": kept[name] for name in ("api", "jwt", "fernet")},
        **{f"Postgres' password of {user}": password for user, password in kept["postgres"].items()},
        "the login": kept["password"],
        "the webhook": PATH.removeprefix("/services/"),
        "the bot's token": TOKEN,
    }


@pytest.fixture
def known(deployment: Deployment, first_day: Day, failed_day: Day) -> dict[str, str]:
    """The secrets of a deployment that had a good day and a bad one."""
    return secrets(deployment.stack)


def test_no_file_holds_a_secret_but_the_two_that_are_made_for_it(deployment: Deployment, known: dict[str, str]) -> None:
    home = deployment.stack.home
    apart = [home / "secrets.json", home / "airflow" / "passwords.json", home / "postgres"]
    assert {file.stat().st_mode & 0o077 for file in apart} == {0}
    assert leaks.in_files(known, home, but=apart) == []
    assert len(list((home / "airflow" / "logs").rglob("*.log"))) > 50, "of which the tasks' logs are a part"


def test_no_table_holds_a_secret(deployment: Deployment, known: dict[str, str]) -> None:
    """Templates as they were rendered, what tasks handed over, connections and the log of Airflow's among them."""
    for name in ("airflow", "first_day", "failed_day"):
        where = deployment.server.database(name)
        with closing(psycopg2.connect(**where.libpq())) as connection:
            assert leaks.in_database(known, connection) == [], name


def test_no_message_and_no_page_holds_a_secret(
    deployment: Deployment, known: dict[str, str], first_day: Day, failed_day: Day
) -> None:
    deployment.come_to("failed_day")
    for day in (first_day, failed_day):
        assert leaks.in_text(known, json.dumps([day.told, day.said, day.replied])) == []
    client, [run] = deployment.api.client, failed_day.runs
    of_run = f"/api/v2/dags/{DAG_ID}/dagRuns/{run.run_id}"
    theirs = (
        f"{of_run}/taskInstances?limit=200",
        f"{of_run}/taskInstances/publish/xcomEntries",
        "/api/v2/connections",
        "/api/v2/variables",
        "/api/v2/config",
        "/api/v2/importErrors",
        "/api/v2/eventLogs",
        "/api/v2/plugins",
    )
    told = {path: client.get(path).text for path in (*PATHS, *theirs)}
    assert {path: found for path, text in told.items() if (found := leaks.in_text(known, text))} == {}
    assert "rendered_fields" in told[theirs[0]]
    assert settings.HEALTH_PATH in told["/api/v2/plugins"]
