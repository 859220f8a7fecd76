"""How busy the demo shop is: weekdays, growth, campaigns and a holiday.

All of it hangs on a day's number, so that a shop is the same on whatever date it begins: the first day counts as a
Monday. The first two days are ordinary ones.
"""

from __future__ import annotations

from include.demo_shop.catalogue import PROMOS

_WEEK = (1, 1, 0.9, 1.1, 1.2, 0.75, 1.05)
_GROWTH = 1.005  # from a week to the next
_HOLIDAY, _YEAR = 100, 365  # days
_ON_THE_HOLIDAY = 0.6


def demand(day: int) -> float:
    """How many orders come on a day, as a multiple of the shop's size."""
    weeks, weekday = divmod(day - 1, len(_WEEK))
    busy = _WEEK[weekday] * _GROWTH**weeks
    for promo in PROMOS:
        if promo.first_day <= day and promo.status(day) == "active":
            busy *= promo.draws
    return busy * _ON_THE_HOLIDAY if day % _YEAR == _HOLIDAY else busy
