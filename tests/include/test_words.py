"""Numbers and times as messages say them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include import words


@pytest.mark.parametrize(
    ("length", "span", "delay"),
    [
        (timedelta(0), "1 second", "0 minutes"),
        (timedelta(seconds=59), "59 seconds", "1 minute"),
        (timedelta(minutes=75), "1 hour", "75 minutes"),
        (timedelta(hours=36), "2 days", "36 hours"),
        (timedelta(days=3), "3 days", "3 days"),
    ],
)
def test_how_long_it_took_and_how_long_people_waited(length: timedelta, span: str, delay: str) -> None:
    assert (words.span(length), words.delay(length)) == (span, delay)
