"""The clock, for tests: looked at in each test, since a whole run of them may go over midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()
