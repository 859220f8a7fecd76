{{ config(description="Units are the same whichever mart one asks.") }}
{{ figures_agree({
    'units of orders': [
        (ref('stg_greenery__order_items'), 'sum(quantity)', 'order_id'),
        (ref('int_order_items'), 'sum(quantity)', 'order_id'),
        (ref('int_orders'), 'sum(units)', 'order_id'),
        (ref('fact_orders'), 'sum(units)', 'order_id'),
        (ref('fact_order_items'), 'sum(quantity)', 'order_id'),
    ],
    'units of product days': [
        (ref('fact_order_items'), 'sum(quantity)', 'cast(ordered_at as date)'),
        (ref('int_product_days'), 'sum(units)', 'day'),
    ],
    'units of products': [
        (ref('int_product_days'), 'sum(units)'),
        (ref('fact_product_sessions_daily'), 'sum(units)'),
        (ref('fact_product'), 'sum(units)'),
    ],
    'units bought in a known session': [
        (ref('fact_orders'), 'sum(case when session_id is not null then units end)', 'session_id'),
        (ref('int_user_product_sessions'), 'sum(units)', 'session_id'),
    ],
}) }}
