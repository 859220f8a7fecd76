"""The demo shop's calendar: day 1 is a fixed date, and every time is in seconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

FIRST_DAY = date(2026, 3, 2)  # a Monday

HOUR = 3_600
DAY = 24 * HOUR

_OPENING = int(datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC).timestamp())
_CLOCK = [f"{s // HOUR:02d}:{s // 60 % 60:02d}:{s % 60:02d}Z" for s in range(DAY)]


def date_of(day: int) -> date:
    """The date of a day of the shop; the founders came before day 1."""
    return FIRST_DAY + timedelta(days=day - 1)


def start_of(day: int) -> int:
    """When a day begins, and the one before ends."""
    return _OPENING + (day - 1) * DAY


def stamp(second: int) -> str:
    """A time as Postgres reads it."""
    day, clock = divmod(second, DAY)
    return _date_text(day) + _CLOCK[clock]


@lru_cache(maxsize=1_000)
def _date_text(day: int) -> str:
    return f"{date.fromordinal(date(1970, 1, 1).toordinal() + day).isoformat()}T"
