"""Numbers and times as messages say them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from include import words
from include.words import Unit


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
    ("unit", "value", "figure", "difference"),
    [
        (Unit.NUMBER, 1234.0, "1,234", "1,234"),
        (Unit.NUMBER, 103.42, "103.4", "103.4"),
        (Unit.DOLLARS, 12345.67, "$12,346", "$12,346"),
        (Unit.PERCENT, 0.6244, "62.4 %", "62.4 points"),
        (Unit.PERCENT, 0.003, "0.3 %", "0.3 points"),
    ],
)
def test_a_figure_is_told_in_its_unit(unit: Unit, value: float, figure: str, difference: str) -> None:
    assert (words.figure(value, unit), words.difference(value, unit)) == (figure, difference)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.416, "0.42 s"), (59, "59 s"), (60, "1 min"), (119.6 * 60, "2 h 0 min"), (185 * 60, "3 h 5 min")],
)
def test_how_long_something_took_is_told_to_the_second(seconds: float, told: str) -> None:
    assert words.duration(seconds) == words.duration(timedelta(seconds=seconds)) == told


@pytest.mark.parametrize(
    ("unit", "value", "former", "apart"),
    [
        (Unit.DOLLARS, "41517.40", "41207.40", ("$310", "$41,517", "$41,207")),
        (Unit.DOLLARS, "41516.50", "41206.51", ("$309", "$41,516", "$41,207")),
        (Unit.DOLLARS, "9.70", "6.5", ("$3.20", "$9.70", "$6.50")),
        (Unit.PERCENT, "0.627", "0.624", ("0.3 points", "62.7 %", "62.4 %")),
        (Unit.PERCENT, "0.62404", "0.624", ("0.004 points", "62.404 %", "62.400 %")),
        (Unit.NUMBER, "1204", "1209", ("5", "1,204", "1,209")),
        (Unit.NUMBER, "26.5", "25.5", ("1.0", "26.5", "25.5")),
        (Unit.NUMBER, "2", "2", ("0", "2", "2")),
    ],
)
def test_two_figures_are_told_in_digits_that_show_their_difference(
    unit: Unit, value: str, former: str, apart: tuple[str, str, str]
) -> None:
    assert words.apart(Decimal(value), Decimal(former), unit) == apart
