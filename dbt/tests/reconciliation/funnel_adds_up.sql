{{ figures_agree({
    'sessions that viewed a product': [
        (ref('fact_product'), 'sum(sessions_viewed)'),
        (ref('product_funnel_daily'), 'sum(sessions_viewed)'),
    ],
    'sessions that bought a product': [
        (ref('fact_product'), 'sum(sessions_bought)'),
        (ref('product_funnel_daily'), 'sum(sessions_bought)'),
    ],
}) }}
