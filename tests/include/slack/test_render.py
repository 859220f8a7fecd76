"""The message as people read it: what each kind says, that it fits, and that data can't speak in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.results.report import Failure, Report
from include.results.store import OrderChange
from include.slack.render import Message, render, unreachable

PUBLISHED = Report(
    run_id="scheduled__2026-11-24",
    run_url="http://localhost:8080/dags/greenery_daily/runs/scheduled__2026-11-24",
    published=True,
    overtaken=False,
    data_as_of=datetime(2026, 11, 24, 6, 4, tzinfo=UTC),
    decision=None,
    hold=None,
    started_at=datetime(2026, 11, 24, 6, 0, tzinfo=UTC),
    passed=152,
    warned=0,
    failed=0,
    skipped=0,
    failures=(),
    warnings=(),
    repeat_rate=99 / 124,
    buyers=124,
    repeat_buyers=99,
    order_changes=(OrderChange("preparing", "shipped", ("a1", "b2", "c3")),),
)
FAILED = replace(
    PUBLISHED,
    published=False,
    data_as_of=datetime(2026, 11, 23, 6, 4, tzinfo=UTC),
    passed=100,
    failed=1,
    skipped=51,
    failures=(Failure("test", "unique_orders", "Got 1 result", ({"order_id": "a1", "n_records": "2"},)),),
)


def everything(message: Message) -> str:
    """All text of the blocks, as Slack would show it."""
    texts = [block["text"]["text"] for block in message.blocks if "text" in block]
    return "\n".join(texts + [element["text"] for block in message.blocks for element in block.get("elements", [])])


def test_a_published_run_says_as_of_when_and_the_figures() -> None:
    assert render(PUBLISHED).body == (
        "✅ Greenery data is up to date\n\n"
        "Published 24 Nov 2026 06:04 UTC.\n"
        "Tests: 152 passed, 0 warned, 0 failed, 0 skipped.\n\n"
        "Repeat rate: 79.8 % (99 of 124 buyers ordered more than once)\n\n"
        "3 orders went from preparing to shipped\n    a1, b2, c3\n\n"
        "http://localhost:8080/dags/greenery_daily/runs/scheduled__2026-11-24\nrun scheduled__2026-11-24"
    )


def test_a_run_that_others_have_overtaken_says_whose_data_people_see() -> None:
    message = render(replace(PUBLISHED, published=False, overtaken=True))
    assert message.headline == "ℹ️ Greenery data: a run that was published before ran again, and changed nothing"
    assert "People query the data as of 24 Nov 2026 06:04 UTC, of another run." in message.body


def test_a_failed_run_says_what_broke_which_rows_and_what_people_see_meanwhile() -> None:
    body = render(FAILED).body
    assert body.startswith("🔴 Greenery data was not published: 1 test failed\n")
    assert "Stakeholders still see the data as of 23 Nov 2026 06:04 UTC." in body
    assert "• test unique_orders: Got 1 result\n    order_id = a1, n_records = 2\n" in body


def test_the_first_run_that_fails_says_that_nothing_is_published() -> None:
    assert "Nothing has been published yet." in render(replace(FAILED, data_as_of=None)).body


def test_a_run_that_died_without_a_failed_test_is_no_success() -> None:
    broken = replace(FAILED, failed=0, failures=(Failure("task", "snapshot", "its log says why"),))
    assert render(broken).headline == "🔴 Greenery data was not published: task snapshot failed"


def test_a_run_that_never_began_is_reported_all_the_same() -> None:
    silent = replace(FAILED, failed=0, failures=(), started_at=None, repeat_rate=None, order_changes=())
    assert render(silent).headline == "🔴 Greenery data was not published: the run did not reach the end"


def test_a_warning_is_said_in_the_headline() -> None:
    warned = replace(PUBLISHED, warned=1, warnings=(Failure("test", "cost_identity", "Got 2 results"),))
    assert render(warned).headline == "✅ Greenery data is up to date, 1 warning"
    assert "Warned:\n• test cost_identity" in render(warned).body


def test_no_change_is_said_and_not_left_out() -> None:
    assert "No order changed status since the last run." in render(replace(PUBLISHED, order_changes=())).body


def test_a_run_without_a_snapshot_does_not_claim_that_nothing_changed() -> None:
    assert "was not recorded in this run" in render(replace(FAILED, order_changes=None)).body


def test_the_link_leads_to_the_run() -> None:
    assert f"<{PUBLISHED.run_url}|Open the run in Airflow>" in everything(render(PUBLISHED))


@pytest.mark.parametrize("hostile", ["<!channel>", "<http://evil.example|click>", "<@U123>", "a & b > c"])
def test_markup_in_data_is_shown_and_not_obeyed(hostile: str) -> None:
    report = replace(FAILED, failures=(Failure("test", hostile, hostile, ({"name": hostile},)),))
    shown = everything(render(report)).replace(f"<{FAILED.run_url}|Open the run in Airflow>", "")
    assert "<" not in shown
    assert ">" not in shown


@pytest.mark.parametrize("count", [3, 300])
@pytest.mark.parametrize("length", [10, 10_000])
def test_any_number_and_length_of_failures_fits(count: int, length: int) -> None:
    long = "&" * length
    failures = tuple(Failure("test", f"test_{n}", long, ({"key": long},) * 5) for n in range(count))
    changes = tuple(OrderChange("preparing", "shipped", tuple(str(n) * 36 for n in range(count))) for _ in range(3))
    message = render(replace(FAILED, failed=count, failures=failures, order_changes=changes))
    assert len(message.blocks) <= 50
    for block in message.blocks:
        limit = 150 if block["type"] == "header" else 3000
        assert all(len(text) <= limit for text in [block.get("text", {}).get("text", "")])
    assert len(everything(message)) <= 10_000


def test_thirty_failures_are_all_named() -> None:
    failures = tuple(Failure("test", f"test_{n}", "Got 1 result", ({"key": "a"},)) for n in range(30))
    body = render(replace(FAILED, failed=30, failures=failures)).body
    assert all(f"test_{n}:" in body for n in range(30))


def test_failures_that_are_not_shown_are_counted() -> None:
    failures = tuple(Failure("test", f"test_{n}", "Got 1 result") for n in range(300))
    body = render(replace(FAILED, failed=300, failures=failures)).body
    shown = body.count("Got 1 result")
    assert 0 < shown < 300
    assert f"… and {300 - shown} more" in body


def test_a_warehouse_that_is_down_is_said_without_it() -> None:
    message = unreachable("run 1", FAILED.run_url, "connection refused")
    assert message.headline == "🔴 Greenery data: the warehouse can't be reached"
    assert "connection refused" in everything(message)
    assert FAILED.run_url in everything(message)
