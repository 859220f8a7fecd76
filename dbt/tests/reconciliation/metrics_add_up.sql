{{ figures_agree({
    'orders': [
        (ref('fact_orders'), 'count(*)'),
        (ref('daily_metrics'), "sum(case when metric = 'orders' then value end)"),
    ],
    'price of the items': [
        (ref('fact_orders'), 'sum(items_amount)'),
        (ref('daily_metrics'), "sum(case when metric = 'revenue' then value end)"),
    ],
    'what users paid': [
        (ref('fact_orders'), 'sum(order_total)'),
        (ref('daily_metrics'), "sum(case when metric = 'paid' then value end)"),
    ],
    'units': [
        (ref('fact_orders'), 'sum(units)'),
        (ref('daily_metrics'), "sum(case when metric = 'units' then value end)"),
    ],
    'sessions': [
        (ref('int_user_sessions'), 'count(*)'),
        (ref('daily_metrics'), "sum(case when metric = 'sessions' then value end)"),
    ],
    'users': [
        (ref('dim_users'), 'count(*)'),
        (ref('daily_metrics'), "sum(case when metric = 'new_users' then value end)"),
        (ref('daily_metrics'), "max(case when metric = 'users' then value end)"),
    ],
    'delivered orders': [
        (ref('fact_orders'), 'count(delivered_at)'),
        (ref('daily_metrics'), "sum(case when metric = 'mean_delivery_hours' then denominator end)"),
    ],
}) }}
