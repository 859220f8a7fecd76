{%- set of_orders = 'order_id in (select order_id from ' ~ ref('int_changed_orders') ~ ')' -%}
{%- set of_users = 'user_id in (select user_id from ' ~ ref('int_changed_users') ~ ')' -%}
{%- set changed_days = ref('int_changed_product_days') -%}
{%- set of_days = 'product_day_id in (select product_day_id from ' ~ changed_days ~ ')' -%}
{%- set of_days_ordered = '(product_id, cast(ordered_at as date)) in (select product_id, day from ' ~ changed_days ~ ')' -%}
{{ figures_agree({
    'orders': [
        (ref('stg_greenery__orders'), 'count(*)', of_orders),
        (ref('int_orders'), 'count(*)', of_orders),
        (ref('fact_orders'), 'count(*)', of_orders),
    ],
    'orders of users': [
        (ref('int_orders'), 'count(*)', of_users),
        (ref('dim_users'), 'sum(orders)', of_users),
    ],
    'items of orders': [
        (ref('stg_greenery__order_items'), 'count(*)', of_orders),
        (ref('int_order_items'), 'count(*)', of_orders),
        (ref('fact_order_items'), 'count(*)', of_orders),
        (ref('int_orders'), 'sum(distinct_products)', of_orders),
    ],
    'orders of product days': [
        (ref('fact_order_items'), 'count(*)', of_days_ordered),
        (ref('fact_product_sessions_daily'), 'sum(orders)', of_days),
    ],
    'orders of products': [
        (ref('fact_product_sessions_daily'), 'sum(orders)'),
        (ref('fact_product'), 'sum(orders)'),
    ],
}) }}
