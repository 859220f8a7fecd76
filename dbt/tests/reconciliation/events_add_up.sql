{%- set of_events = 'event_id in (select event_id from ' ~ ref('int_changed_events') ~ ')' -%}
{%- set of_visits = 'session_id in (select session_id from ' ~ ref('int_changed_events') ~ ')' -%}
{%- set of_sessions = 'session_id in (select session_id from ' ~ ref('int_changed_sessions') ~ ')' -%}
{%- set changed_days = ref('int_changed_product_days') -%}
{%- set of_days = 'product_day_id in (select product_day_id from ' ~ changed_days ~ ')' -%}
{%- set of_days_viewed = '(product_id, cast(created_at as date)) in (select product_id, day from ' ~ changed_days ~ ')' -%}
{{ figures_agree({
    'events': [
        (ref('stg_greenery__events'), 'count(*)', of_events),
        (ref('int_events'), 'count(*)', of_events),
    ],
    'page views': [
        (ref('int_events'), "sum(case when event_type = 'page_view' then 1 end)", of_visits),
        (ref('int_user_sessions'), 'sum(page_views)', of_visits),
    ],
    'add-to-carts': [
        (ref('int_events'), "sum(case when event_type = 'add_to_cart' then 1 end)", of_visits),
        (ref('int_user_sessions'), 'sum(add_to_carts)', of_visits),
    ],
    'checkouts': [
        (ref('int_events'), "sum(case when event_type = 'checkout' then 1 end)", of_visits),
        (ref('int_user_sessions'), 'sum(checkouts)', of_visits),
    ],
    'packages shipped': [
        (ref('int_events'), "sum(case when event_type = 'package_shipped' then 1 end)", of_visits),
        (ref('int_user_sessions'), 'sum(packages_shipped)', of_visits),
    ],
    'page views of sessions and products': [
        (ref('int_events'), "sum(case when event_type = 'page_view' and product_id is not null then 1 end)", of_sessions),
        (ref('int_user_product_sessions'), 'sum(page_views)', of_sessions),
    ],
    'page views of product days': [
        (ref('int_events'), "sum(case when event_type = 'page_view' and product_id is not null then 1 end)", of_days_viewed),
        (ref('fact_product_sessions_daily'), 'sum(page_views)', of_days),
    ],
    'add-to-carts of sessions and products': [
        (ref('int_events'), "sum(case when event_type = 'add_to_cart' and product_id is not null then 1 end)", of_sessions),
        (ref('int_user_product_sessions'), 'sum(add_to_carts)', of_sessions),
    ],
    'add-to-carts of product days': [
        (ref('int_events'), "sum(case when event_type = 'add_to_cart' and product_id is not null then 1 end)", of_days_viewed),
        (ref('fact_product_sessions_daily'), 'sum(add_to_carts)', of_days),
    ],
    'packages shipped of a product': [
        (ref('int_user_product_sessions'), 'sum(packages_shipped)'),
        (ref('fact_product_sessions_daily'), 'sum(packages_shipped)'),
    ],
}) }}
