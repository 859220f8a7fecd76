{{ config(materialized='incremental', meta={'changed_key': 'session_id', 'changed_in': 'int_changed_sessions'}) }}
with

events as (

    select * from {{ ref('int_events') }}
    {{ only_changed('session_id', 'int_changed_sessions') }}

),

order_items as (

    select * from {{ ref('int_order_items') }}

),

-- The same once more, since what is asked twice would be read as a whole.
bought_items as (

    select * from {{ ref('int_order_items') }}

),

orders as (

    select * from {{ ref('fact_orders') }}
    {{ only_changed('session_id', 'int_changed_sessions') }}

),

-- An event of an order is about every product of the order, any other event about its own.
product_events as (

    select
        events.session_id,
        events.user_id,
        events.event_type,
        coalesce(order_items.product_id, events.product_id) as product_id
    from events
    left join order_items on events.order_id = order_items.order_id

),

product_sessions as (

    select
        session_id,
        product_id,
        min(user_id) as user_id,
        {{ count_if("event_type = 'page_view'") }} as page_views,
        {{ count_if("event_type = 'add_to_cart'") }} as add_to_carts,
        -- Once a session, however many of its orders hold the product.
        max(case when event_type = 'checkout' then 1 else 0 end) as checkouts,
        {{ count_if("event_type = 'package_shipped'") }} as packages_shipped
    from product_events
    where product_id is not null
    group by session_id, product_id

),

-- Bought by the one session that an order belongs to, so that money is never counted for two.
purchases as (

    select
        orders.session_id,
        bought_items.product_id,
        sum(bought_items.quantity) as units,
        sum(bought_items.amount) as amount
    from orders
    inner join bought_items on orders.order_id = bought_items.order_id
    group by orders.session_id, bought_items.product_id

),

final as (

    select
        {{ composite_key(['product_sessions.session_id', 'product_sessions.product_id']) }} as session_product_id,
        product_sessions.session_id,
        product_sessions.product_id,
        product_sessions.user_id,
        product_sessions.page_views,
        product_sessions.add_to_carts,
        product_sessions.checkouts,
        product_sessions.packages_shipped,
        coalesce(purchases.units, 0) as units,
        cast(coalesce(purchases.amount, 0) as numeric(16, 2)) as amount
    from product_sessions
    left join purchases
        on product_sessions.session_id = purchases.session_id
        and product_sessions.product_id = purchases.product_id

)

select * from final
