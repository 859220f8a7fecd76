"""How busy the demo shop is: weekdays, growth, campaigns, a holiday; and the shop that plays so."""

from __future__ import annotations

from statistics import mean

import pytest

from include.demo_shop.catalogue import PROMOS
from include.demo_shop.customers import Shop, cohort_size, visitors
from include.demo_shop.demand import demand
from tests.include.demo_shop.conftest import SHOP

DAYS = range(1, 366)


def orders(shop: Shop, day: int) -> int:
    """How many visits of a day are meant to end in an order."""
    return sum(sum(visitor.visits) for visitor in visitors(shop, day))


def test_the_first_two_days_are_ordinary_ones():
    assert [demand(1), demand(2)] == [1, 1]


def test_a_week_is_as_busy_as_seven_ordinary_days():
    assert sum(map(demand, range(1, 8))) == pytest.approx(7)


def test_a_weekday_is_as_busy_as_in_the_week_before_but_for_growth():
    assert demand(13) == pytest.approx(demand(6) * 1.005)


def test_a_campaign_draws_more_orders_while_it_is_active():
    (campaign,) = [promo for promo in PROMOS if promo.draws != 1]
    busier = [day for day in range(1, 45) if demand(day) > 1.1 * demand((day - 1) % 7 + 1)]
    assert busier == [day for day in range(1, 45) if campaign.first_day <= day and campaign.status(day) == "active"]
    assert len(busier) == 5


def test_one_day_of_the_year_is_a_holiday():
    quiet = [day for day in DAYS if demand(day) < 0.7 * demand((day - 1) % 7 + 1)]
    assert quiet == [100]


@pytest.mark.parametrize("day", [45, 90, 100, 150, 365])
def test_as_many_come_to_buy_as_are_due(day: int):
    due = SHOP.orders_on(day)
    assert abs(orders(SHOP, day) - due) < 4 * due**0.5
    assert cohort_size(SHOP, day) > 0.2 * mean(cohort_size(SHOP, one) for one in range(day - 7, day))


def test_in_a_steady_shop_each_day_is_as_busy_as_the_others():
    steady = Shop(1, 180, SHOP.first_day, steady=True)
    assert {steady.orders_on(day) for day in DAYS} == {180}
