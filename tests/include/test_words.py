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


@pytest.mark.parametrize(
    ("name", "value", "figure", "difference"),
    [
        ("orders", 1234.0, "1,234", "1,234"),
        ("revenue", 12345.67, "$12,346", "$12,346"),
        ("conversion", 0.6244, "62.4 %", "62.4 points"),
        ("repeat_rate", 0.003, "0.3 %", "0.3 points"),
    ],
)
def test_a_figure_is_told_in_its_unit(name: str, value: float, figure: str, difference: str) -> None:
    assert (words.figure(value, name), words.difference(value, name)) == (figure, difference)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.416, "0.42 s"), (59, "59 s"), (60, "1 min"), (119.6 * 60, "2 h 0 min"), (185 * 60, "3 h 5 min")],
)
def test_how_long_something_took_is_told_to_the_second(seconds: float, told: str) -> None:
    assert words.duration(seconds) == words.duration(timedelta(seconds=seconds)) == told
