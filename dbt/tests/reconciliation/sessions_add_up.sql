{{ config(description="Sessions are the same whichever mart one asks.") }}
{{ figures_agree({
    'sessions': [
        (ref('int_events'), 'count(distinct session_id)', 'session_id'),
        (ref('int_user_sessions'), 'count(*)', 'session_id'),
    ],
    'sessions that checked out': [
        (ref('int_events'), "count(distinct case when event_type = 'checkout' then session_id end)", 'session_id'),
        (ref('int_user_sessions'), 'sum(case when is_converted then 1 end)', 'session_id'),
    ],
    'sessions that viewed products': [
        (ref('int_product_days'), 'sum(sessions_viewed)'),
        (ref('fact_product_sessions_daily'), 'sum(sessions_viewed)'),
        (ref('fact_product'), 'sum(sessions_viewed)'),
    ],
    'sessions that bought products': [
        (ref('int_product_days'), 'sum(checkouts)'),
        (ref('fact_product_sessions_daily'), 'sum(checkouts)'),
        (ref('fact_product'), 'sum(sessions_bought)'),
    ],
    'sessions that viewed a product': [
        (ref('int_product_session_days'), 'sum(first_page_views)', 'session_id'),
        (ref('int_user_product_sessions'), 'sum(case when page_views > 0 then 1 end)', 'session_id'),
    ],
    'sessions that bought a product': [
        (ref('int_product_session_days'), 'sum(first_checkouts)', 'session_id'),
        (ref('int_user_product_sessions'), 'sum(checkouts)', 'session_id'),
    ],
    'sessions that viewed a product on a day': [
        (ref('int_product_session_days'), 'sum(first_page_views)', 'day'),
        (ref('int_product_days'), 'sum(sessions_viewed)', 'day'),
    ],
    'sessions that bought a product on a day': [
        (ref('int_product_session_days'), 'sum(first_checkouts)', 'day'),
        (ref('int_product_days'), 'sum(checkouts)', 'day'),
    ],
}) }}
