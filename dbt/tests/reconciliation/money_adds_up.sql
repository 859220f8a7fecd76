{{ config(
    description="Money is the same whichever mart one asks. An order whose checkout event has not arrived has no session yet."
) }}
{{ figures_agree({
    'price of the items of orders': [
        (ref('int_order_items'), 'sum(amount)', 'order_id'),
        (ref('int_orders'), 'sum(items_amount)', 'order_id'),
        (ref('fact_orders'), 'sum(items_amount)', 'order_id'),
        (ref('fact_order_items'), 'sum(amount)', 'order_id'),
    ],
    'price of the items of product days': [
        (ref('fact_order_items'), 'sum(amount)', 'cast(ordered_at as date)'),
        (ref('int_product_days'), 'sum(revenue)', 'day'),
    ],
    'price of the items of products': [
        (ref('int_product_days'), 'sum(revenue)'),
        (ref('fact_product_sessions_daily'), 'sum(revenue)'),
        (ref('fact_product'), 'sum(revenue)'),
    ],
    'price of the items bought in a known session': [
        (ref('fact_orders'), 'sum(case when session_id is not null then items_amount end)', 'session_id'),
        (ref('int_user_product_sessions'), 'sum(amount)', 'session_id'),
    ],
    'what was paid for orders': [
        (ref('stg_greenery__orders'), 'sum(order_total)', 'order_id'),
        (ref('int_orders'), 'sum(order_total)', 'order_id'),
        (ref('fact_orders'), 'sum(order_total)', 'order_id'),
    ],
    'what users paid': [
        (ref('int_orders'), 'sum(order_total)', 'user_id'),
        (ref('dim_users'), 'sum(lifetime_value)', 'user_id'),
    ],
}) }}
