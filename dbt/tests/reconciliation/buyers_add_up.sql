{{ config(description="Buyers are the same whichever mart one asks, and whichever indicator of which each has one value.") }}
{{ figures_agree({
    'buyers': [
        (ref('dim_users'), 'sum(case when orders >= 1 then 1 end)', 'user_id'),
        (ref('int_user_first_orders'), 'count(*)', 'user_id'),
    ],
    'repeat buyers': [
        (ref('dim_users'), 'sum(case when is_repeat_buyer then 1 end)', 'user_id'),
        (ref('int_user_first_orders'), 'count(next_ordered_at)', 'user_id'),
    ],
    'buyers to date': [
        (ref('int_user_first_orders'), 'count(*)'),
        (ref('int_daily_figures'), 'sum(new_buyers)'),
        (ref('daily_metrics'), "max(case when metric = 'repeat_rate' then denominator end)"),
        (ref('repeat_purchase_indicators'), "max(case when indicator = 'all buyers' then buyers_total end)"),
    ],
    'buyers with time to come back': [
        (ref('repeat_purchase_indicators'), "sum(case when indicator = 'all buyers' then buyers end)"),
        (ref('repeat_purchase_indicators'), "sum(case when indicator = 'weekday' then buyers end)"),
        (ref('repeat_purchase_indicators'), "sum(case when indicator = 'order value' then buyers end)"),
    ],
    'buyers who came back in time': [
        (ref('repeat_purchase_indicators'), "sum(case when indicator = 'all buyers' then repeat_buyers end)"),
        (ref('repeat_purchase_indicators'), "sum(case when indicator = 'weekday' then repeat_buyers end)"),
        (ref('repeat_purchase_indicators'), "sum(case when indicator = 'order value' then repeat_buyers end)"),
    ],
    'repeat buyers to date': [
        (ref('int_user_first_orders'), 'count(next_ordered_at)'),
        (ref('int_daily_figures'), 'sum(new_repeat_buyers)'),
        (ref('daily_metrics'), "max(case when metric = 'repeat_rate' then numerator end)"),
    ],
}) }}
