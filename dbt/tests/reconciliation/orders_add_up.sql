{{ figures_agree({
    'orders': [
        (ref('stg_greenery__orders'), 'count(*)'),
        (ref('int_orders'), 'count(*)'),
        (ref('fact_orders'), 'count(*)'),
        (ref('dim_users'), 'sum(orders)'),
    ],
    'orders of a product': [
        (ref('stg_greenery__order_items'), 'count(*)'),
        (ref('int_order_items'), 'count(*)'),
        (ref('fact_order_items'), 'count(*)'),
        (ref('int_orders'), 'sum(distinct_products)'),
        (ref('fact_product'), 'sum(orders)'),
        (ref('fact_product_sessions_daily'), 'sum(orders)'),
    ],
}) }}
