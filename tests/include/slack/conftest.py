"""What the tests of sending share: a warehouse with an outbox, and a played Slack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection as Connection

from tests.slack_server import Slack, slack_server


@pytest.fixture
def outbox(db: Connection) -> Connection:
    """A warehouse with `ops`."""
    return db


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """A Slack that nothing leads to yet, and a client that waits for it a second."""
    monkeypatch.setenv("GREENERY_SLACK_TIMEOUT_SECONDS", "1")
    with slack_server() as slack:
        yield slack
