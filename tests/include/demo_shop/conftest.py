"""What the tests of the demo shop share: weeks of it, played once, and what the tests of the raw tables have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

import pytest
from psycopg2.extensions import connection as Connection

from include.demo_shop import demo
from include.demo_shop.customers import Shop
from include.local import postgres
from include.raw.load import LoadReport
from tests.include.raw.conftest import connect_to, folder, query, shop_database, warehouse  # noqa: F401 - fixtures

WEEKS = 5
FIRST_DAY = date(2026, 3, 2)  # as tests/conftest.py sets it
SHOP = Shop(1, 180, FIRST_DAY)


@dataclass
class History:
    """The demo shop after some weeks, and what it looked like at the end of each day."""

    db: Connection
    reports: dict[int, LoadReport] = field(default_factory=dict)
    statuses: dict[int, dict[str, str]] = field(default_factory=dict)
    prices: dict[int, dict[str, Decimal]] = field(default_factory=dict)
    inventory: dict[int, dict[str, int]] = field(default_factory=dict)
    promos: dict[int, dict[str, tuple[Decimal, str]]] = field(default_factory=dict)

    def loaded_at(self, day: int) -> datetime:
        """When a day was loaded."""
        return self.reports[day].loaded_at


@pytest.fixture(scope="session")
def history(server: postgres.LocalPostgres) -> Iterator[History]:
    """Five weeks of the demo shop in its default size. Only to be read."""
    postgres.ensure_database(server, "shop_history")
    db = connect_to(server.database("shop_history"))
    db.autocommit = True
    weeks = History(db)
    for day in range(1, WEEKS * 7 + 1):
        weeks.reports[day] = demo.play_day(db, day)
        weeks.statuses[day] = dict(query(db, "select order_id, status from raw.orders"))
        weeks.prices[day] = dict(query(db, "select product_id, price from raw.products"))
        weeks.inventory[day] = dict(query(db, "select product_id, inventory from raw.products"))
        weeks.promos[day] = {row[0]: row[1:] for row in query(db, "select promo_id, discount, status from raw.promos")}
    yield weeks
    db.close()
