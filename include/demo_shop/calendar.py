"""Times of the demo shop: in seconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache

HOUR = 3_600
DAY = 24 * HOUR

_CLOCK = [f"{s // HOUR:02d}:{s // 60 % 60:02d}:{s % 60:02d}Z" for s in range(DAY)]


def midnight(day: date) -> int:
    """When a date begins."""
    return int(datetime.combine(day, time(), UTC).timestamp())


def stamp(second: int) -> str:
    """A time as Postgres reads it."""
    day, clock = divmod(second, DAY)
    return _date_text(day) + _CLOCK[clock]


@lru_cache(maxsize=1_000)
def _date_text(day: int) -> str:
    return f"{date.fromordinal(date(1970, 1, 1).toordinal() + day).isoformat()}T"
