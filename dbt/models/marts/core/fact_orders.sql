{{ config(
    materialized='incremental',
    meta={
        'key': 'order_id',
        'follows': [
            {'of': 'int_orders'},
            {'of': 'int_events'},
            {'of': 'stg_greenery__addresses', 'on': 'shipping_address_id', 'parent_key': 'address_id'},
        ],
    }
) }}
with

orders as (

    select * from {{ ref('int_orders') }}
    {{ only_changed() }}

),

addresses as (

    select * from {{ ref('stg_greenery__addresses') }}

),

events as (

    select * from {{ ref('int_events') }}
    {{ only_changed() }}

),

checkouts as (

    select
        order_id,
        session_id,
        row_number() over (partition by order_id order by created_at, event_id) as checkout_number
    from events
    where event_type = 'checkout'

),

final as (

    select
        orders.order_id,
        orders.user_id,
        checkouts.session_id,
        orders.promo_id,
        orders.status,
        orders.ordered_at,
        orders.order_cost,
        orders.shipping_cost,
        orders.discount,
        orders.order_total,
        orders.units,
        orders.distinct_products,
        orders.items_amount,
        orders.address_id as shipping_address_id,
        addresses.address as shipping_address,
        addresses.zipcode as shipping_zipcode,
        addresses.state as shipping_state,
        addresses.country as shipping_country,
        orders.tracking_id,
        orders.shipping_service,
        orders.estimated_delivery_at,
        orders.delivered_at,
        orders.delivery_hours,
        orders.is_late
    from orders
    left join addresses on orders.address_id = addresses.address_id
    left join checkouts
        on orders.order_id = checkouts.order_id
        and checkouts.checkout_number = 1

)

select * from final
