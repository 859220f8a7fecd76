{{ config(description="Events are the same whichever mart one asks.") }}
{{ figures_agree({
    'events': [
        (ref('stg_greenery__events'), 'count(*)', 'event_id'),
        (ref('int_events'), 'count(*)', 'event_id'),
    ],
    'page views': [
        (ref('int_events'), "sum(case when event_type = 'page_view' then 1 end)", 'session_id'),
        (ref('int_user_sessions'), 'sum(page_views)', 'session_id'),
    ],
    'add-to-carts': [
        (ref('int_events'), "sum(case when event_type = 'add_to_cart' then 1 end)", 'session_id'),
        (ref('int_user_sessions'), 'sum(add_to_carts)', 'session_id'),
    ],
    'checkouts': [
        (ref('int_events'), "sum(case when event_type = 'checkout' then 1 end)", 'session_id'),
        (ref('int_user_sessions'), 'sum(checkouts)', 'session_id'),
    ],
    'packages shipped': [
        (ref('int_events'), "sum(case when event_type = 'package_shipped' then 1 end)", 'session_id'),
        (ref('int_user_sessions'), 'sum(packages_shipped)', 'session_id'),
    ],
    'page views of a session and product': [
        (ref('int_events'), "sum(case when event_type = 'page_view' and product_id is not null then 1 end)", 'session_id'),
        (ref('int_product_session_days'), 'sum(page_views)', 'session_id'),
        (ref('int_user_product_sessions'), 'sum(page_views)', 'session_id'),
    ],
    'add-to-carts of a session and product': [
        (ref('int_events'), "sum(case when event_type = 'add_to_cart' and product_id is not null then 1 end)", 'session_id'),
        (ref('int_product_session_days'), 'sum(add_to_carts)', 'session_id'),
        (ref('int_user_product_sessions'), 'sum(add_to_carts)', 'session_id'),
    ],
    'packages shipped of a session and product': [
        (ref('int_product_session_days'), 'sum(packages_shipped)', 'session_id'),
        (ref('int_user_product_sessions'), 'sum(packages_shipped)', 'session_id'),
    ],
    'page views of product days': [
        (ref('int_product_session_days'), 'sum(page_views)', 'day'),
        (ref('int_product_days'), 'sum(page_views)', 'day'),
    ],
    'add-to-carts of product days': [
        (ref('int_product_session_days'), 'sum(add_to_carts)', 'day'),
        (ref('int_product_days'), 'sum(add_to_carts)', 'day'),
    ],
    'packages shipped of product days': [
        (ref('int_product_session_days'), 'sum(packages_shipped)', 'day'),
        (ref('int_product_days'), 'sum(packages_shipped)', 'day'),
    ],
    'page views of products': [
        (ref('int_product_days'), 'sum(page_views)'),
        (ref('fact_product_sessions_daily'), 'sum(page_views)'),
    ],
    'add-to-carts of products': [
        (ref('int_product_days'), 'sum(add_to_carts)'),
        (ref('fact_product_sessions_daily'), 'sum(add_to_carts)'),
    ],
    'packages shipped of products': [
        (ref('int_product_days'), 'sum(packages_shipped)'),
        (ref('fact_product_sessions_daily'), 'sum(packages_shipped)'),
    ],
}) }}
