"""Messages as sent or waiting, a page at a time, and each one as Slack draws it."""

from __future__ import annotations

from functools import cache

import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from include.results import runs
from include.slack.samples import messages as samples
from plugins.data_health import pages
from plugins.data_health.views import messages, now
from plugins.data_health.views.messages import Delivery
from tests.plugins.conftest import Ask

pytestmark = pytest.mark.db

samples = cache(samples)


def keep(ops: Connection, number: int = 1, run_id: str = "run", sample: str = "published", **columns: object) -> None:
    """A message of a run in the outbox."""
    message = samples()[sample]
    row = {
        "run_id": run_id,
        "number": number,
        "kind": message.kind,
        "headline": message.headline,
        "body": message.body,
        "blocks": Json(message.blocks),
        **columns,
    }
    with ops.cursor() as cursor:
        cursor.execute(
            f"insert into ops.messages ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})", tuple(row.values())
        )


def test_what_became_of_each_message_is_told_the_newest_first(ops: Connection, ask: Ask) -> None:
    runs.begin(ops, "run", "release")
    keep(ops, 1)
    keep(ops, 2, sent_at="2026-11-24 06:04Z", channel="C1", ts="1.2")
    keep(ops, 3, kind="progress", channel="C1", ts="1.3")
    keep(ops, 1, "due 2026-11-24", waiting=True, problem="webhook slack_default: no_team")
    found = ask(messages.read, 1)
    assert [one.delivery for one in found.messages] == [
        Delivery.WAITING,
        Delivery.SHOWN,
        Delivery.SENT,
        Delivery.KEPT,
    ]
    assert [one.has_run for one in found.messages] == [False, True, True, True]
    assert (found.waiting, found.count, found.pages) == (1, 4, 1)
    assert "webhook slack_default: no_team" in pages.render("messages.html", answer=found)


def test_a_page_holds_fifty_and_leads_to_the_next(ops: Connection, ask: Ask) -> None:
    for number in range(1, 52):
        keep(ops, number)
    first, second, third = (ask(messages.read, page) for page in (1, 2, 3))
    assert [len(page.messages) for page in (first, second, third)] == [50, 1, 0]
    assert "?page=2" in pages.render("messages.html", answer=first)
    assert "There is no page 3" in pages.render("messages.html", answer=third)


def test_a_message_is_drawn_and_there_as_text(ops: Connection, ask: Ask) -> None:
    keep(ops, sample="failed_source")
    page = pages.render("message.html", answer=ask(messages.read_one, 1))
    assert '<a class="out" href="http://localhost:8080/dags/greenery_daily/runs/' in page
    assert "<b>raw.orders</b>" in page
    assert "Failed: raw table raw.orders" in page


def test_a_hostile_message_can_not_speak_on_its_page(ops: Connection, ask: Ask) -> None:
    hostile = "<script>alert(1)</script>"
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": hostile}}]
    keep(ops, blocks=Json(blocks), body=hostile, headline=hostile, problem=hostile, run_id=hostile)
    for page in (
        pages.render("message.html", answer=ask(messages.read_one, 1)),
        pages.render("messages.html", answer=ask(messages.read, 1)),
    ):
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page


def test_a_message_that_there_is_not_is_missing(ops: Connection, ask: Ask) -> None:
    with pytest.raises(LookupError, match="no message 7"):
        ask(messages.read_one, 7)


def test_nothing_said_yet_is_said(ops: Connection, ask: Ask) -> None:
    assert "Nothing was said yet" in pages.render("messages.html", answer=ask(messages.read, 1))


def test_the_first_page_says_how_many_wait_and_why(ops: Connection, ask: Ask) -> None:
    keep(ops, 1, waiting=True, problem="an older reason")
    keep(ops, 2, waiting=True, problem="invalid_auth <b>")
    page = " ".join(pages.render("now.html", answer=ask(now.read)).split())
    assert "2 messages wait to be sent to Slack" in page
    assert "invalid_auth &lt;b&gt;" in page
    assert 'href="/data-health/messages"' in page


def test_the_first_page_says_nothing_of_messages_where_none_waits(ops: Connection, ask: Ask) -> None:
    keep(ops)
    assert "to be sent to Slack" not in pages.render("now.html", answer=ask(now.read))
