"""How messages put numbers and times into words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def count(number: int, noun: str) -> str:
    """So many of something: "1 test", "2,300 tests"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(at: datetime) -> str:
    """A time as every message states it, in UTC."""
    return f"{at.astimezone(UTC):%d %b %Y %H:%M} UTC"


def day(at: datetime) -> str:
    """The UTC day of a time, without its year."""
    return f"{at.astimezone(UTC):%d %b}"


def span(length: timedelta) -> str:
    """About how long, in the largest unit that fits."""
    seconds = max(round(length.total_seconds()), 1)
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return count(round(seconds / size), unit)
    return count(seconds, "second")


def delay(length: timedelta) -> str:
    """How long people waited: in minutes until it is two hours or so, in hours until it is two days."""
    minutes = max(0, round(length.total_seconds() / 60))
    days, hours = minutes // 1440, round(minutes / 60)
    if days >= 2:
        return count(days, "day")
    return count(hours, "hour") if hours >= 2 else count(minutes, "minute")
