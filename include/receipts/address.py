"""Where the receipt of a figure is: its address on the data-health page, by metric, day, and *as told on*."""

from __future__ import annotations

from datetime import UTC, date, datetime
from urllib.parse import urlencode

from include import settings


def url(metric: str, day: date, told_on: datetime | None = None) -> str:
    """The page of a figure: as it is told now, or as it was told at a moment."""
    page = settings.health_url("figures", metric, f"{day}")
    asked = urlencode({"told_on": f"{told_on.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}) if told_on else ""
    return f"{page}?{asked}" if asked else page
