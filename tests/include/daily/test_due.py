"""When something is due, by the schedules that counted then, and whether a word is to be said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from include.daily.watchdog import Facts, Scheduled, due_tick, last_due, to_say
from include.slack.notices import BACK, LATE

HOUR = timedelta(hours=1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """A moment of November 2026, in UTC: day, hour and minute."""
    return datetime.strptime(f"2026-11-{text}+0000", "%Y-%m-%d %H:%M%z")


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("24 06:00", "23 06:00"),
        ("24 06:59", "23 06:00"),
        ("24 07:00", "24 06:00"),
        ("24 23:59", "24 06:00"),
        ("25 00:30", "24 06:00"),
    ],
)
def test_a_tick_is_due_once_its_grace_is_over(now: str, due: str) -> None:
    assert due_tick("0 6 * * *", at(now), HOUR, LONG_AGO) == at(due)


@pytest.mark.parametrize(("now", "due"), [("25 00:20", "23 23:30"), ("25 00:30", "24 23:30"), ("25 01:00", "24 23:30")])
def test_what_runs_before_midnight_may_be_due_after_it(now: str, due: str) -> None:
    assert due_tick("30 23 * * *", at(now), HOUR, LONG_AGO) == at(due)


def test_the_schedule_is_in_utc_wherever_somebody_asks() -> None:
    tokyo = at("24 07:00").astimezone(ZoneInfo("Asia/Tokyo"))
    assert due_tick("0 6 * * *", tokyo, HOUR, LONG_AGO) == at("24 06:00")


def test_a_grace_longer_than_the_interval_looks_further_back() -> None:
    assert due_tick("0 * * * *", at("24 09:10"), 2 * HOUR, LONG_AGO) == at("24 07:00")


def test_weekdays_alone_are_due_on_weekdays_alone() -> None:
    assert due_tick("0 6 * * 1-5", at("22 12:00"), HOUR, LONG_AGO) == at("20 06:00")  # a Sunday


def test_without_a_schedule_nothing_is_ever_due() -> None:
    assert due_tick(None, at("24 12:00"), HOUR, LONG_AGO) is None


def test_what_was_due_before_anybody_watched_is_not() -> None:
    assert due_tick("0 6 * * *", at("24 12:00"), HOUR, since=at("24 10:00")) is None
    assert due_tick("0 6 * * *", at("25 07:00"), HOUR, since=at("24 10:00")) == at("25 06:00")


def test_where_watching_begins_in_the_future_a_clock_was_wrong_and_all_is_due() -> None:
    assert due_tick("0 6 * * *", at("24 12:00"), HOUR, since=at("30 00:00")) == at("24 06:00")


SIX, NINE, THREE = "0 6 * * *", "0 9 * * *", "0 3 * * *"


@pytest.mark.parametrize(
    ("turns", "now", "due"),
    [
        ([(SIX, "01 00:00"), (NINE, "24 11:00")], "24 12:00", "24 06:00"),  # 9 was no promise of that day
        ([(SIX, "01 00:00"), (NINE, "24 11:00")], "25 09:59", "24 06:00"),
        ([(SIX, "01 00:00"), (NINE, "24 11:00")], "25 10:00", "25 09:00"),
        ([(SIX, "01 00:00"), (THREE, "24 06:30")], "24 07:00", "24 06:00"),  # which was promised before
        ([(SIX, "01 00:00"), (THREE, "24 06:30")], "25 03:59", "24 06:00"),
        ([(SIX, "01 00:00"), (THREE, "24 05:59")], "24 12:00", "23 06:00"),
        ([(SIX, "01 00:00"), (THREE, "24 06:00")], "24 12:00", "23 06:00"),
        ([(SIX, "01 00:00"), (NINE, "24 07:00"), (THREE, "24 08:00")], "24 12:00", "24 06:00"),
        ([(SIX, "01 00:00"), (None, "24 07:00"), (THREE, "26 08:00")], "26 12:00", "24 06:00"),
        ([(SIX, "01 00:00"), (None, "24 07:00")], "24 08:00", None),
        ([(SIX, "24 07:00"), (NINE, "24 08:00")], "24 08:30", None),
    ],
)
def test_what_was_due_is_asked_of_the_schedule_that_counted_then(
    turns: list[tuple[str | None, str]], now: str, due: str | None
) -> None:
    scheduled = [Scheduled(schedule, at(since)) for schedule, since in turns]
    assert last_due(scheduled, at(now), HOUR) == (at(due) if due else None)


def facts(published_at: str | None = None, said: str | None = None, of: str | None = None) -> Facts:
    return Facts((), at(published_at) if published_at else None, said, at(of) if of else None)


@pytest.mark.parametrize(
    ("known", "word"),
    [
        (facts(), LATE),
        (facts("23 06:05"), LATE),
        (facts("24 05:59"), LATE),
        (facts("24 06:05"), None),
        (facts("23 06:05", LATE, "24 06:00"), None),
        (facts("22 06:05", LATE, "23 06:00"), LATE),
        (facts("23 09:00", BACK, "23 06:00"), LATE),
        (facts("24 09:00", LATE, "24 06:00"), BACK),
        (facts("24 09:00", LATE, "22 06:00"), BACK),
        (facts("24 09:00", BACK, "24 06:00"), None),
    ],
)
def test_late_is_said_once_a_day_and_back_once(known: Facts, word: str | None) -> None:
    assert to_say(at("24 06:00"), known) == word


def test_a_schedule_that_was_taken_away_is_no_recovery() -> None:
    assert to_say(None, facts("22 06:05", LATE, "23 06:00")) is None
    assert to_say(None, facts("23 09:00", LATE, "23 06:00")) == BACK
