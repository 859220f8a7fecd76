{{ figures_agree({
    'units': [
        (ref('stg_greenery__order_items'), 'sum(quantity)'),
        (ref('int_order_items'), 'sum(quantity)'),
        (ref('int_orders'), 'sum(units)'),
        (ref('fact_orders'), 'sum(units)'),
        (ref('fact_order_items'), 'sum(quantity)'),
        (ref('fact_product'), 'sum(units)'),
        (ref('fact_product_sessions_daily'), 'sum(units)'),
    ],
    'units bought in a known session': [
        (ref('fact_orders'), 'sum(case when session_id is not null then units end)'),
        (ref('int_user_product_sessions'), 'sum(units)'),
    ],
}) }}
