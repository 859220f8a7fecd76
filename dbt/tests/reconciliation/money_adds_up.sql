{%- set of_orders = 'order_id in (select order_id from ' ~ ref('int_changed_orders') ~ ')' -%}
{%- set of_users = 'user_id in (select user_id from ' ~ ref('int_changed_users') ~ ')' -%}
{%- set of_sessions = 'session_id in (select session_id from ' ~ ref('int_changed_sessions') ~ ')' -%}
{%- set changed_days = ref('int_changed_product_days') -%}
{%- set of_days = 'product_day_id in (select product_day_id from ' ~ changed_days ~ ')' -%}
{%- set of_days_ordered = '(product_id, cast(ordered_at as date)) in (select product_id, day from ' ~ changed_days ~ ')' -%}
{{ figures_agree({
    'price of the items of orders': [
        (ref('int_order_items'), 'sum(amount)', of_orders),
        (ref('int_orders'), 'sum(items_amount)', of_orders),
        (ref('fact_orders'), 'sum(items_amount)', of_orders),
        (ref('fact_order_items'), 'sum(amount)', of_orders),
    ],
    'price of the items of product days': [
        (ref('fact_order_items'), 'sum(amount)', of_days_ordered),
        (ref('fact_product_sessions_daily'), 'sum(revenue)', of_days),
    ],
    'price of the items of products': [
        (ref('fact_product_sessions_daily'), 'sum(revenue)'),
        (ref('fact_product'), 'sum(revenue)'),
    ],
    'price of the items bought in a known session': [
        (ref('fact_orders'), 'sum(case when session_id is not null then items_amount end)', of_sessions),
        (ref('int_user_product_sessions'), 'sum(amount)', of_sessions),
    ],
    'what was paid for orders': [
        (ref('stg_greenery__orders'), 'sum(order_total)', of_orders),
        (ref('int_orders'), 'sum(order_total)', of_orders),
        (ref('fact_orders'), 'sum(order_total)', of_orders),
    ],
    'what users paid': [
        (ref('int_orders'), 'sum(order_total)', of_users),
        (ref('dim_users'), 'sum(lifetime_value)', of_users),
    ],
}) }}
