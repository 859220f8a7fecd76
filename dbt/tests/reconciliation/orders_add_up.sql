{{ config(description="Orders are the same whichever mart one asks.") }}
{{ figures_agree({
    'orders': [
        (ref('stg_greenery__orders'), 'count(*)', 'order_id'),
        (ref('int_orders'), 'count(*)', 'order_id'),
        (ref('fact_orders'), 'count(*)', 'order_id'),
    ],
    'orders of users': [
        (ref('int_orders'), 'count(*)', 'user_id'),
        (ref('dim_users'), 'sum(orders)', 'user_id'),
    ],
    'items of orders': [
        (ref('stg_greenery__order_items'), 'count(*)', 'order_id'),
        (ref('int_order_items'), 'count(*)', 'order_id'),
        (ref('fact_order_items'), 'count(*)', 'order_id'),
        (ref('int_orders'), 'sum(distinct_products)', 'order_id'),
    ],
    'orders of product days': [
        (ref('fact_order_items'), 'count(*)', 'cast(ordered_at as date)'),
        (ref('int_product_days'), 'sum(orders)', 'day'),
    ],
    'orders of products': [
        (ref('int_product_days'), 'sum(orders)'),
        (ref('fact_product_sessions_daily'), 'sum(orders)'),
        (ref('fact_product'), 'sum(orders)'),
    ],
}) }}
