{{ config(
    materialized='incremental',
    meta={
        'key': 'session_id',
        'follows': [
            {'of': 'int_product_session_days'},
            {'of': 'int_user_sessions'},
            {'of': 'fact_orders'},
            {'of': 'int_order_items', 'on': 'order_id', 'in': 'fact_orders'},
        ],
    }
) }}
with

session_days as (

    select * from {{ ref('int_product_session_days') }}
    {{ only_changed() }}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}
    {{ only_changed() }}

),

orders as (

    select * from {{ ref('fact_orders') }}
    {{ only_changed() }}

),

order_items as (

    select * from {{ ref('int_order_items') }}

),

product_sessions as (

    select
        session_id,
        product_id,
        min(user_id) as user_id,
        sum(page_views) as page_views,
        sum(add_to_carts) as add_to_carts,
        -- Once a session, however many of its orders hold the product.
        sum(first_checkouts) as checkouts,
        sum(packages_shipped) as packages_shipped
    from session_days
    group by session_id, product_id

),

-- Bought by the one session that an order belongs to, so that money is never counted for two.
purchases as (

    select
        orders.session_id,
        order_items.product_id,
        sum(order_items.quantity) as units,
        sum(order_items.amount) as amount
    from orders
    inner join order_items on orders.order_id = order_items.order_id
    group by orders.session_id, order_items.product_id

),

final as (

    select
        {{ composite_key(['product_sessions.session_id', 'product_sessions.product_id']) }} as session_product_id,
        product_sessions.session_id,
        product_sessions.product_id,
        product_sessions.user_id,
        sessions.started_at,
        cast(product_sessions.page_views as bigint) as page_views,
        cast(product_sessions.add_to_carts as bigint) as add_to_carts,
        cast(product_sessions.checkouts as integer) as checkouts,
        cast(product_sessions.packages_shipped as bigint) as packages_shipped,
        coalesce(purchases.units, 0) as units,
        cast(coalesce(purchases.amount, 0) as numeric(16, 2)) as amount
    from product_sessions
    left join sessions on product_sessions.session_id = sessions.session_id
    left join purchases
        on product_sessions.session_id = purchases.session_id
        and product_sessions.product_id = purchases.product_id

)

select * from final
