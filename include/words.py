"""How numbers and times are put into words, in messages and on the data-health page."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

# Where dollars differ by less, cents are told.
_WHOLE_DOLLARS = 10
# So many digits after the point are too many.
_DIGITS = 7


class Unit(StrEnum):
    """What a figure is in. The value of one in percent is a share: 0.624 is 62.4 %."""

    NUMBER = "number"
    DOLLARS = "dollars"
    PERCENT = "percent"


def inside(label: str) -> str:
    """A label within a sentence: "orders" of "Orders"; what has other capitals stays as it is."""
    return label[:1].lower() + label[1:] if label[1:] == label[1:].lower() else label


def be(label: str) -> str:
    """What is said after a label: Revenue is, Orders are."""
    return "are" if label.endswith("s") else "is"


def count(number: int, noun: str) -> str:
    """So many of something: "1 test", "2,300 tests"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A share in percent: "62.4 %"."""
    return f"{share * 100:.1f} %"


def figure(value: float, unit: Unit) -> str:
    """A figure in its unit: "$12,345", "62.4 %", "180", "2.4"."""
    match unit:
        case Unit.PERCENT:
            return percent(value)
        case Unit.DOLLARS:
            return f"${value:,.0f}"
    return f"{value:,.{0 if float(value).is_integer() else 1}f}"


def difference(value: float, unit: Unit) -> str:
    """The difference of two such figures, without its sign: "0.3 points", "$345"."""
    return f"{value * 100:.1f} points" if unit is Unit.PERCENT else figure(value, unit)


def apart(value: Decimal, former: Decimal, unit: Unit) -> tuple[str, str, str]:
    """Two figures and, first, what is between them without its sign, in digits that show it: "$3.20", "$9.70", "$6.50".

    What is between them is that of the figures as they are written.
    """
    now, then = (one * 100 if unit is Unit.PERCENT else one for one in (value, former))
    match unit:
        case Unit.DOLLARS:
            digits = 0 if abs(now - then) >= _WHOLE_DOLLARS else 2
        case Unit.PERCENT:
            digits = 1
        case _:
            digits = 0 if now == now.to_integral_value() and then == then.to_integral_value() else 1
    digits = next((more for more in range(digits, _DIGITS) if round(now, more) != round(then, more)), digits)
    now, then = round(now, digits), round(then, digits)
    sign, mark = ("$" if unit is Unit.DOLLARS else ""), (" %" if unit is Unit.PERCENT else "")
    between = f"{sign}{abs(now - then):,.{digits}f}{' points' if mark else ''}"
    return between, f"{sign}{now:,.{digits}f}{mark}", f"{sign}{then:,.{digits}f}{mark}"


def value(value: object) -> str:
    """A value of a row."""
    return "null" if value is None else str(value)


def moment(at: datetime) -> str:
    """A time as every message states it, in UTC."""
    return f"{at.astimezone(UTC):%d %b %Y %H:%M} UTC"


def day(at: datetime) -> str:
    """The UTC day of a time, without its year."""
    return f"{at.astimezone(UTC):%d %b}"


def weekday(day: date) -> str:
    """A day as a sentence names it, without its year: "Sat 14 Nov"."""
    return f"{day:%a} {day.day} {day:%b}"


def size(count: int) -> str:
    """Bytes as people read them: "1.2 MB"."""
    for power, unit in enumerate(("bytes", "kB", "MB", "GB")):
        if count < 1000 ** (power + 1):
            return f"{count / 1000**power:.3g} {unit}"
    return f"{count / 1000**4:,.3g} TB"


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


def duration(length: timedelta | float) -> str:
    """How long something took, to the second; a number is seconds: "0.42 s", "12 min", "3 h 5 min"."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 60:
        return f"{seconds:.{2 if seconds < 10 else 0}f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
