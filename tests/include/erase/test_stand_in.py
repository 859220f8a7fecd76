"""Who stands in for a person that was forgotten, and what the next loads make of it."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.raw import load
from include.raw.contract import PERSONS
from include.raw.load import Rows
from include.settings import Warehouse
from include.warehouse import connect, personal, roles, transaction
from include.warehouse.roles import LOADER
from tests.include.erase.conftest import ANN, AT, SHOP, ask, brought, everything, forget, loaded

pytestmark = pytest.mark.db


def test_the_next_loads_do_not_bring_the_person_back(shop: Connection) -> None:
    forget("ann-0001")
    before = ask(shop, "select users.*, orders.* from raw.users left join raw.orders using (user_id) order by 1, 2")
    assert loaded(shop, SHOP).changed == 0
    with transaction(shop) as cursor:
        load.prepare(cursor)
        keys = {name: Rows() for name in PERSONS}
        for name, rows in keys.items():
            rows.extend(load.line([str(one[PERSONS[name]])]) for one in SHOP[name])
        assert load.upsert(cursor, brought(SHOP), "a shop", keys=keys).changed == 0
    assert (
        ask(shop, "select users.*, orders.* from raw.users left join raw.orders using (user_id) order by 1, 2")
        == before
    )
    assert [value for value in ANN if value in everything(shop)] == []


def test_a_new_order_of_the_shop_is_the_stand_ins(shop: Connection) -> None:
    forget("ann-0001")
    new = {"order_id": "o4", "user_id": "ann-0001", "address_id": "home", "tracking_id": "parcel-4", "created_at": AT}
    assert loaded(shop, SHOP | {"orders": [*SHOP["orders"], new]}).tables["orders"].inserted == 1
    assert ask(
        shop,
        "select count(distinct (user_id, address_id)), max(tracking_id) from raw.orders where order_id in ('o1', 'o4')",
    ) == [(1, None)]


def test_a_user_whom_the_shop_deleted_later_goes_on_to_have_a_stand_in(shop: Connection) -> None:
    forget("ann-0001")
    without = {name: [one for one in rows if one.get("user_id") != "ann-0001"] for name, rows in SHOP.items()}
    without["orders"] = SHOP["orders"]
    without["addresses"] = SHOP["addresses"][1:]
    loaded(shop, without)
    lacking = "select from raw.orders left join raw.users using (user_id) where users.user_id is null"
    assert ask(shop, lacking) == []
    assert ask(shop, "select from raw.orders left join raw.addresses using (address_id) where state is null") == []


def test_a_user_whom_the_shop_deleted_before_gets_a_stand_in(shop: Connection) -> None:
    loaded(shop, SHOP | {"users": SHOP["users"][1:]})
    forget("ann-0001")
    [(created_at, address)] = ask(
        shop, "select created_at::text, address_id from raw.users where starts_with(user_id, 'erased-')"
    )
    assert (created_at, address.startswith("erased-")) == ("2026-03-01 10:00:00+00", True)
    assert ask(shop, "select from raw.orders left join raw.users using (user_id) where users.user_id is null") == []
    assert loaded(shop, SHOP | {"users": SHOP["users"][1:]}).changed == 0
    assert "ann-0001" not in everything(shop)


def test_where_the_shop_deleted_the_address_too_its_state_is_as_the_marts_say(shop: Connection) -> None:
    less = {"users": SHOP["users"][1:], "addresses": SHOP["addresses"][1:]}
    loaded(shop, SHOP | less)
    forget("ann-0001")
    state = "select state, country, address from raw.users join raw.addresses using (address_id) where created_at = %s"
    with shop.cursor() as cursor:
        cursor.execute(state + " and starts_with(user_id, 'erased-')", (AT,))
        assert cursor.fetchall() == [("Ohio", "US", None)]
    assert ask(
        shop, "select state from raw.orders left join raw.addresses using (address_id) where order_id = 'o1'"
    ) == [("Ohio",)]
    assert loaded(shop, SHOP | less).changed == 0


def test_an_address_that_nobody_has_any_more_gets_no_row(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("create table snapshots.users as select user_id, 'of old' as address_id from raw.users")
    forget("ann-0001")
    assert loaded(shop, SHOP).changed == 0
    assert ask(shop, "select count(*) from raw.addresses where state is null") == [(0,)]


def test_what_a_project_marks_beyond_the_contract_stays_empty_through_loads(
    shop: Connection, warehouse: Warehouse
) -> None:
    with shop.cursor() as cursor:
        cursor.execute("update raw.orders set shipping_service = 'bike'")
    forget("ann-0001")  # before the state was marked
    with shop.cursor() as cursor:
        personal.note(cursor, personal.columns(cursor) | {"state": None, "shipping_service": None})
    forget("eve-0003")
    bike = SHOP | {"orders": [one | {"shipping_service": "bike"} for one in SHOP["orders"]]}
    roles.ensure(shop, login=True)
    with connect("test", Warehouse(warehouse.host, warehouse.port, warehouse.database, LOADER, "")) as connection:
        loaded(connection, bike)
    assert ask(shop, "select distinct state from raw.addresses where starts_with(address_id, 'erased-')") == [(None,)]
    assert ask(shop, "select order_id from raw.orders where shipping_service is not null") == [("o3",)]
    assert ask(
        shop,
        "select distinct content ->> 'state' from ops.stand_ins join ops.erasures using (erasure_id)"
        " where table_name = 'addresses' and erasure_id = (select max(erasure_id) from ops.erasures)",
    ) == [(None,)]


def test_who_was_brought_back_past_our_loaders_gets_the_same_stand_in(shop: Connection) -> None:
    forget("ann-0001")
    with shop.cursor() as cursor:
        cursor.execute("update raw.orders set user_id = 'ann-0001' where order_id = 'o1'")
    forget("ann-0001")
    assert ask(shop, "select count(distinct user_id) from raw.orders where order_id in ('o1', 'o2')") == [(1,)]
    assert ask(shop, "select count(*) from ops.erasures") == [(2,)]
