{%- set days = ref('int_changed_days') -%}
{%- set of_days = 'day in (select day from ' ~ days ~ ')' -%}
{%- set of_days_ordered = 'cast(ordered_at as date) in (select day from ' ~ days ~ ')' -%}
{%- set of_days_delivered = 'cast(delivered_at as date) in (select day from ' ~ days ~ ')' -%}
{%- set of_days_begun = 'cast(started_at as date) in (select day from ' ~ days ~ ')' -%}
{%- set of_days_joined = 'cast(created_at as date) in (select day from ' ~ days ~ ')' -%}
{{ figures_agree({
    'orders': [
        (ref('fact_orders'), 'count(*)', of_days_ordered),
        (ref('daily_metrics'), "sum(case when metric = 'orders' then value end)", of_days),
    ],
    'price of the items': [
        (ref('fact_orders'), 'sum(items_amount)', of_days_ordered),
        (ref('daily_metrics'), "sum(case when metric = 'revenue' then value end)", of_days),
    ],
    'what users paid': [
        (ref('fact_orders'), 'sum(order_total)', of_days_ordered),
        (ref('daily_metrics'), "sum(case when metric = 'paid' then value end)", of_days),
    ],
    'units': [
        (ref('fact_orders'), 'sum(units)', of_days_ordered),
        (ref('daily_metrics'), "sum(case when metric = 'units' then value end)", of_days),
    ],
    'sessions': [
        (ref('int_user_sessions'), 'count(*)', of_days_begun),
        (ref('daily_metrics'), "sum(case when metric = 'sessions' then value end)", of_days),
    ],
    'converted sessions': [
        (ref('int_user_sessions'), 'sum(case when is_converted then 1 end)', of_days_begun),
        (ref('daily_metrics'), "sum(case when metric = 'conversion' then numerator end)", of_days),
    ],
    'users': [
        (ref('dim_users'), 'count(*)', of_days_joined),
        (ref('daily_metrics'), "sum(case when metric = 'new_users' then value end)", of_days),
    ],
    'users to date': [
        (ref('daily_metrics'), "sum(case when metric = 'new_users' then value end)"),
        (ref('daily_metrics'), "max(case when metric = 'users' then value end)"),
    ],
    'delivered orders': [
        (ref('fact_orders'), 'count(delivered_at)', of_days_delivered),
        (ref('daily_metrics'), "sum(case when metric = 'mean_delivery_hours' then denominator end)", of_days),
    ],
}) }}
