"""dbt's unit tests hold the definitions: each passes, and each fails for the SQL that somebody may wrongly write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.dbt.conftest import Dbt, Shop

pytestmark = pytest.mark.db

# Per mart: what is right, what is wrong, and the unit test that must notice.
WRONG: dict[str, list[tuple[str, str, str] | None]] = {
    "dim_users": [
        ("left join user_orders", "inner join user_orders", "user_who_never_ordered_is_kept"),
        (">= 2 as is_repeat_buyer", ">= 1 as is_repeat_buyer", "user_who_never_ordered_is_kept"),
    ],
    "int_order_items": [
        ("priced.quantity * priced.price", "priced.price", "item_that_a_run_has_seen_keeps_its_price"),
    ],
    # A macro of the model above, after its mistakes.
    "priced_items": [
        None,
        (
            "        coalesce(kept.price, found.price) as price",
            "        found.price",
            "item_that_a_run_has_seen_keeps_its_price",
        ),
        (
            "            and (former.valid_to is null or placed_orders.ordered_at < former.valid_to)",
            "",
            "new_item_has_the_price_in_force_when_it_was_ordered",
        ),
        ("inner join placed_orders", "left join placed_orders", "new_item_has_the_price_in_force_when_it_was_ordered"),
        (">= former.valid_from", "> former.valid_from", "new_item_has_the_price_in_force_when_it_was_ordered"),
        (
            ", known='between 0 and 99999999999999.99'",
            "",
            "new_item_has_the_price_in_force_when_it_was_ordered",
        ),
        ("when cost_now = charged", "when false", "new_item_has_the_new_price_where_the_shop_charged_it"),
        (
            " and cost_then <> charged",
            " or cost_then <> charged",
            "new_item_has_the_new_price_where_the_shop_charged_it",
        ),
        (
            "coalesce(kept.price, latest.price) as price_now",
            "latest.price as price_now",
            "new_item_has_the_new_price_where_the_shop_charged_it",
        ),
    ],
    # One of the model below, after its mistakes.
    "product_versions": [
        None,
        None,
        None,
        None,
        None,
        (
            "when {{ held_from }} >= {{ stamped_at }}",
            "when {{ held_from }} > {{ stamped_at }}",
            "product_day_has_the_inventory_known_that_day",
        ),
    ],
    "int_orders": [
        (
            "left join item_totals on",
            "left join order_items on orders.order_id = order_items.order_id left join item_totals on",
            "order_money_is_not_multiplied_by_its_items",
        ),
        ("left join item_totals", "inner join item_totals", "order_without_items_is_kept"),
        (
            "orders.delivered_at > orders.estimated_delivery_at as",
            "coalesce(orders.delivered_at > orders.estimated_delivery_at, false) as",
            "late_needs_an_estimate_and_a_delivery",
        ),
        ("'second') }} / 3600.0", "'hour') }}", "late_needs_an_estimate_and_a_delivery"),
        (
            "cast(coalesce(promos.discount, 0)",
            "cast(coalesce(promos.discount, 0) / 100 * orders.order_cost",
            "order_money_is_not_multiplied_by_its_items",
        ),
    ],
    "fact_orders": [
        ("and checkouts.checkout_number = 1", "", "order_belongs_to_the_session_that_checked_it_out"),
        ("where event_type = 'checkout'", "", "order_belongs_to_the_session_that_checked_it_out"),
        ("left join checkouts", "inner join checkouts", "order_belongs_to_the_session_that_checked_it_out"),
    ],
    "fact_order_items": [
        ("left join orders", "inner join orders", "item_tells_its_order"),
        ("left join orders", "right join orders", "item_tells_its_order"),
    ],
    "int_user_sessions": [
        (
            "coalesce(max(case when event_type <> 'package_shipped' then created_at end), min(created_at))",
            "max(created_at)",
            "session_ends_before_its_package_is_shipped",
        ),
        (
            "group by session_id",
            "group by session_id, cast(created_at as date)",
            "session_ends_before_its_package_is_shipped",
        ),
        (
            "checkouts > 0 as is_converted",
            "checkouts + packages_shipped > 0 as is_converted",
            "session_converts_by_a_checkout",
        ),
    ],
    "int_product_session_days": [
        (
            "on events.order_id = order_items.order_id",
            "on events.order_id = order_items.order_id or events.product_id = order_items.product_id",
            "event_of_an_order_is_about_each_of_its_products",
        ),
        (
            "event_type = 'page_view' and event_number = 1",
            "event_type = 'page_view'",
            "product_is_first_viewed_and_first_checked_out_on_one_day",
        ),
        (
            "event_type = 'checkout' and event_number = 1",
            "event_type = 'checkout'",
            "event_of_an_order_is_about_each_of_its_products",
        ),
        (
            "partition by session_id, product_id, event_type\n",
            "partition by product_id, event_type\n",
            "product_is_first_viewed_and_first_checked_out_on_one_day",
        ),
    ],
    "int_user_product_sessions": [
        ("left join sessions", "inner join sessions", "order_is_sold_once_to_the_session_it_belongs_to"),
        (
            "from session_days\n    group by session_id, product_id\n",
            "from session_days\n    group by session_id, product_id, page_views\n",
            "session_buys_the_products_of_its_orders",
        ),
        (
            "        and product_sessions.product_id = purchases.product_id\n",
            "",
            "session_buys_the_products_of_its_orders",
        ),
        (
            "on product_sessions.session_id = purchases.session_id\n        and",
            "on",
            "order_is_sold_once_to_the_session_it_belongs_to",
        ),
    ],
    "fact_product": [
        ("left join totals", "inner join totals", "product_never_bought_is_kept"),
        (
            "sum(checkouts) as sessions_bought",
            "sum(orders) as sessions_bought",
            "product_converts_by_its_own_checkouts",
        ),
        ("sum(sessions_viewed)", "sum(page_views)", "product_converts_by_its_own_checkouts"),
        ("sum(new_buyers)", "sum(orders)", "product_converts_by_its_own_checkouts"),
    ],
    "int_product_days": [
        (
            "    union distinct\n    select product_id, day from daily_sales\n",
            "",
            "product_day_has_events_or_orders",
        ),
        ("sum(first_page_views)", "sum(page_views)", "product_day_adds_up_sessions_and_orders"),
        (
            "    select product_id, day from daily_events\n    union distinct\n",
            "",
            "product_day_has_events_or_orders",
        ),
        (
            "        and product_days.day = daily_new_buyers.day\n",
            "        and product_days.day >= daily_new_buyers.day\n",
            "product_day_counts_its_new_buyers",
        ),
        ("{{ only_changed('cast(ordered_at as date)') }}", "", "changed_product_days_are_built_alone"),
    ],
    "int_first_purchases": [
        ("min(cast(ordered_at as date))", "max(cast(ordered_at as date))", "user_is_a_new_buyer_of_a_product_once"),
        ("    where user_id is not null\n", "", "user_is_a_new_buyer_of_a_product_once"),
    ],
    "fact_product_sessions_daily": [
        (
            "cast(inventories.valid_from as date), ",
            "cast(inventories.valid_from as date) + 1, ",
            "product_day_has_the_inventory_known_that_day",
        ),
        ("as date) - 1, ", "as date) - 2, ", "product_day_has_the_inventory_known_that_day"),
    ],
    "stg_greenery__orders": [
        ("    tracking_id,\n", "    shipping_service as tracking_id,\n", "columns_of_an_order_are_its_own")
    ],
    "stg_greenery__events": [("{{ utc('created_at') }}", "cast(created_at as timestamp)", "timestamps_are_utc")],
    "dim_days": [
        ("where day <= last_day", "where day < last_day", "days_have_no_gap"),
        ("min(first_day)", "max(first_day)", "days_have_no_gap"),
        ("max(cast(delivered_at as date))", "min(cast(ordered_at as date))", "days_have_no_gap"),
        (
            "    select min(day) as first_day, max(day) as last_day from product_days\n",
            "    select min(day) as first_day, max(day) as last_day from product_days where false\n",
            "days_run_from_the_first_product_day_to_the_last_session",
        ),
    ],
    "int_daily_figures": [
        ("cast(started_at as date)", "cast(ended_at as date)", "figures_of_a_day_are_of_what_happened_on_it"),
        ("count(is_late) as orders_with", "count(*) as orders_with", "figures_of_a_day_are_of_what_happened_on_it"),
        (
            "cast(delivered_at as date) as day,\n        count(*) as delivered_orders",
            "cast(min(ordered_at) as date) as day,\n        count(*) as delivered_orders",
            "figures_of_a_day_are_of_what_happened_on_it",
        ),
        (
            "    union distinct\n    select day from daily_second_orders\n",
            "",
            "figures_of_a_day_are_of_what_happened_on_it",
        ),
        ("left join daily_sessions", "inner join daily_sessions", "figures_of_a_day_are_of_what_happened_on_it"),
        (
            "coalesce(daily_deliveries.late_orders, 0)",
            "coalesce(daily_deliveries.late_orders, 1)",
            "day_on_which_one_thing_alone_happened_has_its_figures",
        ),
    ],
    "daily_metrics": [
        (
            "sum(coalesce(figures.new_repeat_buyers, 0)) over (order by days.day)",
            "coalesce(figures.new_repeat_buyers, 0)",
            "metrics_of_a_day_and_as_of_its_end",
        ),
        (
            "sum(coalesce(figures.new_users, 0)) over (order by days.day)",
            "coalesce(figures.new_users, 0)",
            "metrics_of_a_day_and_as_of_its_end",
        ),
        (
            "sum(coalesce(daily_oversold.newly_oversold, 0)) over (order by days.day)",
            "coalesce(daily_oversold.newly_oversold, 0)",
            "metrics_of_a_day_and_as_of_its_end",
        ),
    ],
    "order_status_changes": [
        (
            "        and became.dbt_valid_from = was.dbt_valid_to\n",
            "        and became.dbt_valid_from >= was.dbt_valid_to\n",
            "change_is_a_version_that_took_the_place_of_another",
        ),
        ("inner join versions", "left join versions", "change_is_a_version_that_took_the_place_of_another"),
        (
            "case when was.status = became.status then 'delivery' else 'status' end",
            "'status'",
            "change_is_a_version_that_took_the_place_of_another",
        ),
        (
            "was.status as from_status",
            "became.status as from_status",
            "change_is_a_version_that_took_the_place_of_another",
        ),
    ],
    "int_user_first_orders": [
        (
            "order by ordered_at, order_id) as order_number",
            "order by order_id) as order_number",
            "first_order_is_the_earliest",
        ),
        (
            "case when sessions.ended_at < first_orders.ordered_at then sessions.ended_at "
            "else first_orders.ordered_at end",
            "sessions.ended_at",
            "browsing_ends_with_the_first_order",
        ),
        ("        and first_orders.ordered_at >= sessions.started_at\n", "", "browsing_ends_with_the_first_order"),
        (
            "        and first_orders.delivered_at < orders.ordered_at\n",
            "        and first_orders.ordered_at < orders.ordered_at\n",
            "answer_to_a_delivery_comes_after_it",
        ),
        ("left join browsing", "inner join browsing", "first_order_is_the_earliest"),
    ],
    "int_product_kinds": [("products_with_it > 1", "products_with_it > 0", "kind_is_a_word_that_two_names_end_with")],
    "repeat_purchase_indicators": [
        (
            "from_order ~ ' <= observed_moment.observed_until'",
            "'described_orders.ordered_at is not null'",
            "buyers_without_time_to_come_back_are_counted_apart",
        ),
        (
            "described_orders.next_ordered_at <= {{ from_order }}",
            "described_orders.next_ordered_at is not null",
            "buyers_without_time_to_come_back_are_counted_apart",
        ),
        (
            "    where page_views + add_to_carts + checkouts > 0\n",
            "",
            "buyers_without_time_to_come_back_are_counted_apart",
        ),
        (
            "dbt.dateadd('day', days, 'described_orders.delivered_at')",
            "dbt.dateadd('day', days, 'described_orders.ordered_at')",
            "days_after_a_delivery_begin_with_it",
        ),
        (
            "select distinct\n        timed_orders.order_id",
            "select\n        timed_orders.order_id",
            "buyer_counts_once_for_each_value_of_the_first_order",
        ),
        (
            "select distinct\n        order_id,\n",
            "select\n        order_id,\n",
            "buyer_counts_once_for_each_value_of_the_first_order",
        ),
        ("order_total < 100", "order_total < 101", "each_band_begins_with_its_lower_bound"),
        (
            "from_delivery ~ ' <= observed_moment",
            "from_delivery ~ ' < observed_moment",
            "days_after_a_delivery_end_with_their_last_second",
        ),
    ],
    "int_product_oversold_changes": [
        (
            "sum(units) over (partition by product_id order by day)",
            "units",
            "product_is_oversold_from_the_day_on_which_it_becomes_so",
        ),
        (
            "lag(units_to_date > inventory) over (partition by product_id order by day)",
            "lag(units_to_date > inventory) over (order by day)",
            "product_is_oversold_from_the_day_on_which_it_becomes_so",
        ),
        (
            "where is_oversold <> was_oversold",
            "where is_oversold",
            "product_is_oversold_from_the_day_on_which_it_becomes_so",
        ),
        (
            "units_to_date > inventory",
            "units_to_date >= inventory",
            "product_is_oversold_from_the_day_on_which_it_becomes_so",
        ),
    ],
    "product_funnel_daily": [
        (
            "cast(started_at as date)",
            "cast(started_at - make_interval(mins => 1) as date)",
            "funnel_follows_a_session_from_the_day_on_which_it_began",
        ),
        (
            "{{ count_if('page_views > 0') }}",
            "cast(sum(page_views) as bigint)",
            "funnel_follows_a_session_from_the_day_on_which_it_began",
        ),
        (
            "{{ count_if('packages_shipped > 0') }}",
            "cast(sum(packages_shipped) as bigint)",
            "funnel_follows_a_session_from_the_day_on_which_it_began",
        ),
    ],
    "product_stock_outs": [
        (
            "inventory <= 0 and coalesce(inventory_before, 1) > 0",
            "inventory <= 0",
            "stock_out_lasts_until_there_is_a_unit_again",
        ),
        (
            "    group by product_id, period\n",
            "    group by product_id\n",
            "stock_out_lasts_until_there_is_a_unit_again",
        ),
        (
            "case when count(*) = count(dbt_valid_to) then max(dbt_valid_to) end as",
            "max(dbt_valid_to) as",
            "stock_out_lasts_until_there_is_a_unit_again",
        ),
        ("where inventory <= 0\n", "where inventory = 0\n", "stock_out_lasts_until_there_is_a_unit_again"),
    ],
}
ROUNDS = max(len(mistakes) for mistakes in WRONG.values())


@pytest.fixture(scope="module")
def empty_warehouse(dbt: Dbt, shop: Shop) -> Shop:
    """Every relation, without a row: dbt's unit tests read column types from them."""
    shop.reset()
    dbt("build", "--empty", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
    return shop


def test_every_definition_holds(dbt: Dbt, empty_warehouse: Shop):
    done = dbt.results("test", "--select", "test_type:unit")
    assert {result.node.name: result.message for result in done if result.status != "pass"} == {}


@pytest.mark.parametrize("number", range(ROUNDS))
def test_likely_mistakes_are_noticed(dbt: Dbt, empty_warehouse: Shop, number: int):
    """One mistake in each model at a time: unit tests mock what a model reads, so mistakes don't meet.

    They are made in dbt's parse, since parsing the files again takes longer than the tests.
    """
    wanted, nodes, macros = {}, dict(dbt.manifest.nodes), dict(dbt.manifest.macros)
    for name, mistakes in WRONG.items():
        if mistake := dict(enumerate(mistakes)).get(number):
            right, wrong, unit_test = mistake
            wanted[unit_test] = "fail"
            if node := nodes.get(f"model.greenery.{name}"):
                assert right in node.raw_code, f"{name} no longer says {right!r}"
                nodes[node.unique_id] = replace(node, raw_code=node.raw_code.replace(right, wrong))
            else:  # a file of macros
                file = [one for one in macros.values() if one.original_file_path == f"macros/{name}.sql"]
                assert any(right in one.macro_sql for one in file), f"{name} no longer says {right!r}"
                for one in file:
                    macros[one.unique_id] = replace(one, macro_sql=one.macro_sql.replace(right, wrong))
    mistaken = replace(dbt, manifest=replace(dbt.manifest, nodes=nodes, macros=macros))
    assert mistaken("test", "--select", *wanted) == wanted
