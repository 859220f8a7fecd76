{{ figures_agree({
    'price of the items': [
        (ref('int_order_items'), 'sum(amount)'),
        (ref('int_orders'), 'sum(items_amount)'),
        (ref('fact_orders'), 'sum(items_amount)'),
        (ref('fact_order_items'), 'sum(amount)'),
        (ref('fact_product'), 'sum(revenue)'),
        (ref('fact_product_sessions_daily'), 'sum(revenue)'),
    ],
    'price of the items bought in a known session': [
        (ref('fact_orders'), 'sum(case when session_id is not null then items_amount end)'),
        (ref('int_user_product_sessions'), 'sum(amount)'),
    ],
    'what users paid': [
        (ref('stg_greenery__orders'), 'sum(order_total)'),
        (ref('int_orders'), 'sum(order_total)'),
        (ref('fact_orders'), 'sum(order_total)'),
        (ref('dim_users'), 'sum(lifetime_value)'),
    ],
}) }}
