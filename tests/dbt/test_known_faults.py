"""What can't be right in any shop is found: order in time, shapes of codes, text that something went through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.dbt_project import manifest
from include.results import failures
from include.results.failures import Failure, RunContext
from include.results.nodes import from_dbt
from include.results.record import failing_rows
from tests.dbt.conftest import Dbt, KeptShop, Shop
from tests.dbt.days import SCHEMAS

pytestmark = pytest.mark.db

KNOWN = (
    *(f"test_name:{name}" for name in ("well_formed", "is_zip_code", "not_before", "happens_within")),
    "test_name:unique_but_for_case",
    "dates_from_the_future",
)

USERS = {  # email, phone number, first name
    "sound": ("o'neil+plants@mail.example.co.uk", "+44 (0)20 7946-0958 ext. 12", "Zoë"),
    "foreign": ("søren@blåbær.example", "030/901820", "JOÃO"),
    "nothing": ("", None, "Null-Anders"),
    "no at": ("ann.example.com", "12", "Ann "),
    "spreadsheet": ("ann@example", "4.47946E+11", "ZoÃ«"),
    "placeholder": ("N/A", "unknown", "J\ufffdrg"),
    "float": ("ann@example.com", "2005550100.0", "null"),
}
USER_FAULTS = {
    ("no at", "email", "no e-mail address"),
    ("no at", "phone_number", "no phone number"),
    ("no at", "first_name", "space at an end"),
    ("spreadsheet", "email", "no e-mail address"),
    ("spreadsheet", "phone_number", "text that a number went through"),
    ("spreadsheet", "first_name", "letters read in another encoding"),
    ("placeholder", "email", "a placeholder"),
    ("placeholder", "phone_number", "a placeholder"),
    ("placeholder", "first_name", "letters read in another encoding"),
    ("float", "phone_number", "text that a number went through"),
    ("float", "first_name", "a placeholder"),
}
ZIP_CODES = {  # by country, those that are none and those that are
    "United States": (["2134", "2134.0", "021345", "00000"], ["02134", "02134-1000", "021341000"]),
    "usa ": (["1"], ["10001"]),
    "Canada": (["K1A0B", "12345"], ["K1A 0B1", "k1a0b1"]),
    "United Kingdom": (["20500"], ["SW1A 1AA", "m11ae", "GIR 0AA"]),
    "Germany": (["1067"], ["01067", "D-01067"]),
    "Netherlands": (["1012"], ["1012 AB"]),
    "Atlantis": ([], ["any", "1"]),
}


# In the small shop of these tests, beside the text above.
FAULTS = (
    "update raw.users set created_at = '2021-02-11', updated_at = '2021-02-10 23:50:00+00' where user_id = 'bob'",
    "update raw.orders set delivered_at = '2021-02-09 23:59:59+00' where order_id = 'o2'",
    "update raw.orders set estimated_delivery_at = '2001-02-10 10:00:00+00' where order_id = 'o3'",
    # A date stands for its whole day, and clocks differ by minutes.
    "update raw.orders set delivered_at = '2021-02-10' where order_id = 'o1'",
    "update raw.orders set estimated_delivery_at = '2021-02-10 09:56+00' where order_id = 'o1'",
    "update raw.events set created_at = '2021-02-10 09:54:00+00' where event_id = 'e3'",
    "update raw.events set created_at = '2021-02-11 00:06:00+00' where event_id = 'e5'",
    "update raw.events set created_at = now() + interval '1 minute' where event_id = 'e1'",
    "update raw.events set created_at = now() + interval '10 minutes' where event_id = 'e2'",
    "insert into raw.promos select ' Spring', 3, status, _loaded_at from raw.promos",
    "insert into raw.products select 'FERN', 'null', price, 1, _loaded_at from raw.products where product_id = 'fern'",
    "update raw.products set price = 7.125 where product_id = 'ivy'",
    "update raw.orders set tracking_id = '1.23457E+17', shipping_service = ' ups' where order_id = 'o1'",
    "update raw.orders set shipping_cost = 5.001 where order_id = 'o1'",
    "update raw.events set page_url = 'greenery com', session_id = 's2' where event_id = 'e6'",
    "update raw.addresses set state = 'N/A' where address_id = 'office'",
)

# By test, what it found in all: each row by its columns.
Rows = dict[str, list[dict[str, object]]]


def look(dbt: Dbt, shop: Shop) -> tuple[Rows, dict[str, Failure]]:
    """Run these tests; returns their rows, and what a message says of each."""
    facts = manifest.read(dbt.work / "target" / "manifest.json")
    results = from_dbt(dbt.results("test", "--select", *KNOWN))
    assert [result.message for result in results if result.status == "error"] == []
    run = RunContext(datetime.now(UTC), {}, {})
    found: Rows = {}
    told: dict[str, Failure] = {}
    for result in results:
        if result.failures:
            found[result.name] = rows = failing_rows(shop.connection, result, frozenset(), 1000)
            told[result.name] = failures.failure(replace(result, failing_rows=rows[:5]), facts, run)
    return found, told


@pytest.fixture(scope="module")
def spoilt(dbt: Dbt, shop: KeptShop) -> Iterator[tuple[Rows, dict[str, Failure]]]:
    """What is found and told of a small shop with many faults."""
    shop.small()
    at = {"created_at": "2021-01-01 00:00:00+00", "updated_at": "2021-01-01 00:00:00+00", "address_id": "home"}
    for name, (email, phone, first) in USERS.items():
        shop.insert("users", {"user_id": name, "email": email, "phone_number": phone, "first_name": first, **at})
    for country, (wrong, right) in ZIP_CODES.items():
        for zip_code in wrong + right:
            shop.insert(
                "addresses", {"address_id": f"{country}/{zip_code}", "zipcode": zip_code, "country": country.strip()}
            )
    for fault in FAULTS:
        shop.query(fault)
    dbt("run", "--select", "+int_user_sessions", "+dim_users", "+fact_orders")
    yield look(dbt, shop)
    for schema in SCHEMAS:
        shop.query(f"drop schema if exists {schema} cascade")


def test_text_that_is_not_what_it_is_for_is_found_and_text_of_all_kinds_that_is_passes(spoilt):
    rows = spoilt[0]["source_well_formed_greenery_users_code__text__text__email__phone__user_id"]
    assert {(row["user_id"], row["column_name"], row["fault"]) for row in rows} == USER_FAULTS


def test_a_zip_code_is_one_of_its_country(spoilt):
    rows = spoilt[0]["source_is_zip_code_greenery_addresses_zipcode__country__address_id"]
    assert {row["address_id"] for row in rows} == {
        f"{country}/{zip_code}" for country, (wrong, _) in ZIP_CODES.items() for zip_code in wrong
    }


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("source_not_before_greenery_users_updated_at__user_id__created_at", {"bob"}),
        ("source_not_before_greenery_orders_delivered_at__order_id__created_at", {"o2"}),
        ("source_not_before_greenery_orders_estimated_delivery_at__order_id__created_at", {"o3"}),
        ("not_before_dim_users_first_order_at__user_id__created_at", {"bob"}),
        (
            "no_session_starts_before_its_user_signed_up",
            {"s2"},
        ),
        (
            "no_event_of_an_order_is_before_or_after_it",
            {"e3", "e4", "e5"},
        ),
        ("dates_from_the_future", {"events"}),
        ("source_unique_but_for_case_greenery_promos_promo_id", {"spring"}),
        ("source_unique_but_for_case_greenery_products_product_id", {"fern"}),
        ("source_well_formed_greenery_products_code__text__money__product_id", {"FERN", "ivy"}),
        ("source_well_formed_greenery_orders_code__money__money__money__code__text__order_id", {"o1"}),
        ("source_well_formed_greenery_events_code__code__url__event_id", {"e6"}),
        ("source_well_formed_greenery_promos_text__money__promo_id", {" Spring"}),
        ("source_well_formed_greenery_addresses_code__text__text__text__address_id", {"office"}),
    ],
)
def test_what_is_wrong_is_found_with_its_row_and_nothing_else_is(spoilt, test: str, found: set[str]):
    assert {next(iter(row.values())) for row in spoilt[0].get(test, [])} == found


def test_nothing_personal_is_shown(spoilt):
    shown = repr([failure.rows for failure in spoilt[1].values()])
    personal = [value for user in USERS.items() for value in (user[0], *user[1]) if value]
    assert [value for value in personal if f"'{value}'" in shown and value not in ("12", "N/A", "null")] == []


def test_a_zip_code_is_told_by_what_it_looks_like(spoilt):
    told = spoilt[1]["source_is_zip_code_greenery_addresses_zipcode__country__address_id"]
    assert told.measured == "10 rows with a zip code of another form than its country's"
    looks = [
        {"country": country.strip(), "looks_like": re.sub(r"[A-Z]", "a", re.sub(r"\d", "9", zip_code))}
        for country, (wrong, _) in ZIP_CODES.items()
        for zip_code in wrong
    ]
    # The first of them, in no order.
    assert len(told.rows) == 5
    assert [row for row in told.rows if row not in looks] == []


# Planted in a copy of the real data, by the test that names it. The first two were once published under a green tick.
REAL_FAULTS = {
    "no_session_starts_before_its_user_signed_up": """
        update raw.events set created_at = users.created_at - interval '1 day' from raw.users
        where users.user_id = events.user_id
        and event_id = (select min(event_id) from raw.events where event_type = 'page_view')
    """,
    "source_is_zip_code_greenery_addresses_zipcode__country__address_id": """
        update raw.addresses set zipcode = zipcode::integer::text
    """,
    "no_event_of_an_order_is_before_or_after_it": """
        update raw.events set created_at = orders.created_at - interval '2 hours' from raw.orders
        where orders.order_id = events.order_id
        and event_id = (select min(event_id) from raw.events where event_type = 'package_shipped')
    """,
    "not_before_dim_users_first_order_at__user_id__created_at": """
        update raw.users set created_at = '2021-02-20', updated_at = '2021-02-21'
        where user_id = (select max(user_id) from raw.orders)
    """,
    "source_not_before_greenery_orders_delivered_at__order_id__created_at": """
        update raw.orders set delivered_at = created_at - interval '3 days'
        where order_id = (select max(order_id) from raw.orders where status = 'delivered')
    """,
    "dates_from_the_future": """
        update raw.users set updated_at = now() + interval '2 hours'
        where user_id = (select min(user_id) from raw.users)
    """,
    "source_unique_but_for_case_greenery_promos_promo_id": """
        insert into raw.promos select upper(promo_id), discount, status, _loaded_at from raw.promos limit 1
    """,
    "source_well_formed_greenery_users_code__text__text__email__phone__user_id": """
        update raw.users set email = replace(email, '@', ' at ') where user_id = (select min(user_id) from raw.users)
    """,
    "source_well_formed_greenery_products_code__text__money__product_id": """
        update raw.products set name = convert_from(convert_to('Aloé', 'UTF8'), 'LATIN1') where name = 'Aloe Vera'
    """,
    "source_well_formed_greenery_orders_code__money__money__money__code__text__order_id": """
        update raw.orders set tracking_id = '1e+05' where order_id = (select min(order_id) from raw.orders)
    """,
}


@pytest.fixture(scope="module")
def spoilt_copy(dbt: Dbt, greenery: Shop) -> Rows:
    """What is found in a copy of Greenery's real data with these faults."""
    for fault in REAL_FAULTS.values():
        greenery.query(fault)
    dbt("run", "--select", "int_orders", "int_events", "int_user_sessions", "dim_users", "fact_orders")
    return look(dbt, greenery)[0]


@pytest.mark.parametrize("test", REAL_FAULTS)
def test_a_fault_in_the_real_data_is_named(spoilt_copy: Rows, test: str):
    assert test in spoilt_copy


def test_a_date_from_the_future_names_nobody(spoilt_copy: Rows):
    assert [(row["table_name"], row["key"]) for row in spoilt_copy["dates_from_the_future"]] == [("users", None)]
