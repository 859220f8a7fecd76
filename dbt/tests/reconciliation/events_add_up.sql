{{ figures_agree({
    'page views': [
        (ref('stg_greenery__events'), "sum(case when event_type = 'page_view' then 1 end)"),
        (ref('int_user_sessions'), 'sum(page_views)'),
    ],
    'page views of a product': [
        (ref('stg_greenery__events'), "sum(case when event_type = 'page_view' and product_id is not null then 1 end)"),
        (ref('int_user_product_sessions'), 'sum(page_views)'),
        (ref('fact_product_sessions_daily'), 'sum(page_views)'),
    ],
    'add-to-carts': [
        (ref('stg_greenery__events'), "sum(case when event_type = 'add_to_cart' then 1 end)"),
        (ref('int_user_sessions'), 'sum(add_to_carts)'),
    ],
    'add-to-carts of a product': [
        (ref('stg_greenery__events'), "sum(case when event_type = 'add_to_cart' and product_id is not null then 1 end)"),
        (ref('int_user_product_sessions'), 'sum(add_to_carts)'),
        (ref('fact_product_sessions_daily'), 'sum(add_to_carts)'),
    ],
    'checkouts': [
        (ref('stg_greenery__events'), "sum(case when event_type = 'checkout' then 1 end)"),
        (ref('int_user_sessions'), 'sum(checkouts)'),
    ],
    'packages shipped': [
        (ref('stg_greenery__events'), "sum(case when event_type = 'package_shipped' then 1 end)"),
        (ref('int_user_sessions'), 'sum(packages_shipped)'),
    ],
    'packages shipped of a product': [
        (ref('int_user_product_sessions'), 'sum(packages_shipped)'),
        (ref('fact_product_sessions_daily'), 'sum(packages_shipped)'),
    ],
}) }}
