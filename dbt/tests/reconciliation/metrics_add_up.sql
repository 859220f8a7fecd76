{{ config(description="The daily metrics, added up over all days, are what the facts tell.") }}
{{ figures_agree({
    'orders': [
        (ref('fact_orders'), 'count(*)', 'cast(ordered_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'orders' then value end)", 'day'),
    ],
    'price of the items': [
        (ref('fact_orders'), 'sum(items_amount)', 'cast(ordered_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'revenue' then value end)", 'day'),
    ],
    'what users paid': [
        (ref('fact_orders'), 'sum(order_total)', 'cast(ordered_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'paid' then value end)", 'day'),
    ],
    'units': [
        (ref('fact_orders'), 'sum(units)', 'cast(ordered_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'units' then value end)", 'day'),
    ],
    'sessions': [
        (ref('int_user_sessions'), 'count(*)', 'cast(started_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'sessions' then value end)", 'day'),
    ],
    'converted sessions': [
        (ref('int_user_sessions'), 'sum(case when is_converted then 1 end)', 'cast(started_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'conversion' then numerator end)", 'day'),
    ],
    'users': [
        (ref('dim_users'), 'count(*)', 'cast(created_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'new_users' then value end)", 'day'),
    ],
    'users to date': [
        (ref('daily_metrics'), "sum(case when metric = 'new_users' then value end)"),
        (ref('daily_metrics'), "max(case when metric = 'users' then value end)"),
    ],
    'delivered orders': [
        (ref('fact_orders'), 'count(delivered_at)', 'cast(delivered_at as date)'),
        (ref('daily_metrics'), "sum(case when metric = 'mean_delivery_hours' then denominator end)", 'day'),
    ],
}) }}
