{%- set of_orders = 'order_id in (select order_id from ' ~ ref('int_changed_orders') ~ ')' -%}
{%- set of_sessions = 'session_id in (select session_id from ' ~ ref('int_changed_sessions') ~ ')' -%}
{%- set changed_days = ref('int_changed_product_days') -%}
{%- set of_days = 'product_day_id in (select product_day_id from ' ~ changed_days ~ ')' -%}
{%- set of_days_ordered = '(product_id, cast(ordered_at as date)) in (select product_id, day from ' ~ changed_days ~ ')' -%}
{{ figures_agree({
    'units of orders': [
        (ref('stg_greenery__order_items'), 'sum(quantity)', of_orders),
        (ref('int_order_items'), 'sum(quantity)', of_orders),
        (ref('int_orders'), 'sum(units)', of_orders),
        (ref('fact_orders'), 'sum(units)', of_orders),
        (ref('fact_order_items'), 'sum(quantity)', of_orders),
    ],
    'units of product days': [
        (ref('fact_order_items'), 'sum(quantity)', of_days_ordered),
        (ref('fact_product_sessions_daily'), 'sum(units)', of_days),
    ],
    'units of products': [
        (ref('fact_product_sessions_daily'), 'sum(units)'),
        (ref('fact_product'), 'sum(units)'),
    ],
    'units bought in a known session': [
        (ref('fact_orders'), 'sum(case when session_id is not null then units end)', of_sessions),
        (ref('int_user_product_sessions'), 'sum(units)', of_sessions),
    ],
}) }}
