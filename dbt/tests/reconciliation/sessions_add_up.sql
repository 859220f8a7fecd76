{%- set of_visits = 'session_id in (select session_id from ' ~ ref('int_changed_events') ~ ')' -%}
{%- set of_sessions = 'session_id in (select session_id from ' ~ ref('int_changed_sessions') ~ ')' -%}
{{ figures_agree({
    'sessions': [
        (ref('int_events'), 'count(distinct session_id)', of_visits),
        (ref('int_user_sessions'), 'count(*)', of_visits),
    ],
    'sessions that checked out': [
        (ref('int_events'), "count(distinct case when event_type = 'checkout' then session_id end)", of_visits),
        (ref('int_user_sessions'), 'sum(case when is_converted then 1 end)', of_visits),
    ],
    'sessions that viewed products': [
        (ref('fact_product_sessions_daily'), 'sum(sessions_viewed)'),
        (ref('fact_product'), 'sum(sessions_viewed)'),
    ],
    'sessions that bought products': [
        (ref('fact_product_sessions_daily'), 'sum(checkouts)'),
        (ref('fact_product'), 'sum(sessions_bought)'),
    ],
    'sessions that viewed a product': [
        (ref('int_user_product_sessions'), 'sum(case when page_views > 0 then 1 end)'),
        (ref('fact_product'), 'sum(sessions_viewed)'),
    ],
    'sessions that bought a product': [
        (ref('int_user_product_sessions'), 'sum(checkouts)'),
        (ref('fact_product'), 'sum(sessions_bought)'),
    ],
}) }}
