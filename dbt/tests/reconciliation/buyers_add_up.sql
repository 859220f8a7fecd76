{{ figures_agree({
    'buyers': [
        (ref('dim_users'), 'sum(case when orders >= 1 then 1 end)'),
        (ref('int_user_first_orders'), 'count(*)'),
        (ref('daily_metrics'), "max(case when metric = 'repeat_rate' then denominator end)"),
        (ref('repeat_purchase_indicators'), "max(case when indicator = 'all buyers' then buyers_total end)"),
        (ref('repeat_purchase_indicators'), "max(case when indicator = 'all buyers' then buyers + buyers_without_time end)"),
    ],
    'repeat buyers': [
        (ref('dim_users'), 'sum(case when is_repeat_buyer then 1 end)'),
        (ref('int_user_first_orders'), 'count(next_ordered_at)'),
        (ref('daily_metrics'), "max(case when metric = 'repeat_rate' then numerator end)"),
    ],
}) }}
