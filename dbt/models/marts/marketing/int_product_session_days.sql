{{ config(
    materialized='incremental',
    meta={
        'key': 'session_id',
        'follows': [{'of': 'int_events'}, {'of': 'int_order_items', 'on': 'order_id', 'in': 'int_events'}],
    }
) }}
with

events as (

    select * from {{ ref('int_events') }}
    {{ only_changed() }}

),

order_items as (

    select * from {{ ref('int_order_items') }}

),

-- An event of an order is about every product of the order, any other event about its own.
product_events as (

    select
        events.event_id,
        events.session_id,
        events.user_id,
        events.event_type,
        events.created_at,
        coalesce(order_items.product_id, events.product_id) as product_id
    from events
    left join order_items on events.order_id = order_items.order_id

),

-- A session views a product once and checks it out once, on the day when it first does, however often it does.
numbered_events as (

    select
        session_id,
        product_id,
        user_id,
        event_type,
        cast(created_at as date) as day,
        row_number() over (
            partition by session_id, product_id, event_type
            order by created_at, event_id
        ) as event_number
    from product_events
    where product_id is not null

),

session_days as (

    select
        session_id,
        product_id,
        day,
        min(user_id) as user_id,
        {{ count_if("event_type = 'page_view'") }} as page_views,
        {{ count_if("event_type = 'page_view' and event_number = 1") }} as first_page_views,
        {{ count_if("event_type = 'add_to_cart'") }} as add_to_carts,
        {{ count_if("event_type = 'checkout' and event_number = 1") }} as first_checkouts,
        {{ count_if("event_type = 'package_shipped'") }} as packages_shipped
    from numbered_events
    group by session_id, product_id, day

),

final as (

    select
        {{ composite_key(['session_id', 'product_id', 'day']) }} as product_session_day_id,
        session_id,
        product_id,
        day,
        user_id,
        page_views,
        first_page_views,
        add_to_carts,
        first_checkouts,
        packages_shipped
    from session_days

)

select * from final
