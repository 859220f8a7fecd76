{{ config(description="The funnel, added up over all days, is what the products tell.") }}
{{ figures_agree({
    'sessions that viewed a product of a day': [
        (ref('int_user_product_sessions'), 'sum(case when page_views > 0 then 1 end)', 'cast(started_at as date)'),
        (ref('product_funnel_daily'), 'sum(sessions_viewed)', 'day'),
    ],
    'sessions that bought a product of a day': [
        (ref('int_user_product_sessions'), 'sum(checkouts)', 'cast(started_at as date)'),
        (ref('product_funnel_daily'), 'sum(sessions_bought)', 'day'),
    ],
    'sessions that viewed a product': [
        (ref('fact_product'), 'sum(sessions_viewed)'),
        (ref('product_funnel_daily'), 'sum(sessions_viewed)'),
    ],
    'sessions that bought a product': [
        (ref('fact_product'), 'sum(sessions_bought)'),
        (ref('product_funnel_daily'), 'sum(sessions_bought)'),
    ],
}) }}
