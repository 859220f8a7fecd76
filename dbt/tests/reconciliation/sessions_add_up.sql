{{ figures_agree({
    'sessions': [
        (ref('stg_greenery__events'), 'count(distinct session_id)'),
        (ref('int_user_sessions'), 'count(*)'),
    ],
    'sessions that checked out': [
        (ref('stg_greenery__events'), "count(distinct case when event_type = 'checkout' then session_id end)"),
        (ref('int_user_sessions'), 'sum(case when is_converted then 1 end)'),
    ],
    'sessions that viewed a product': [
        (ref('int_user_product_sessions'), 'sum(case when page_views > 0 then 1 end)'),
        (ref('fact_product'), 'sum(sessions_viewed)'),
    ],
    'sessions that bought a product': [
        (ref('int_user_product_sessions'), 'sum(checkouts)'),
        (ref('fact_product'), 'sum(sessions_bought)'),
        (ref('fact_product_sessions_daily'), 'sum(checkouts)'),
    ],
}) }}
