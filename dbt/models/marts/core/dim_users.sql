{{ config(
    materialized='incremental',
    meta={
        'key': 'user_id',
        'follows': [
            {'of': 'stg_greenery__users'},
            {'of': 'stg_greenery__addresses', 'on': 'address_id'},
            {'of': 'int_orders'},
        ],
    }
) }}
with

users as (

    select * from {{ ref('stg_greenery__users') }}
    {{ only_changed() }}

),

addresses as (

    select * from {{ ref('stg_greenery__addresses') }}

),

orders as (

    select * from {{ ref('int_orders') }}
    {{ only_changed() }}

),

user_orders as (

    select
        user_id,
        min(ordered_at) as first_order_at,
        max(ordered_at) as last_order_at,
        count(*) as orders,
        sum(order_total) as lifetime_value
    from orders
    group by user_id

),

final as (

    select
        users.user_id,
        users.first_name,
        users.last_name,
        users.email,
        users.phone_number,
        users.address_id,
        addresses.address,
        addresses.zipcode,
        addresses.state,
        addresses.country,
        users.created_at,
        users.updated_at,
        user_orders.first_order_at,
        user_orders.last_order_at,
        coalesce(user_orders.orders, 0) as orders,
        cast(coalesce(user_orders.lifetime_value, 0) as numeric(16, 2)) as lifetime_value,
        coalesce(user_orders.orders, 0) >= 2 as is_repeat_buyer
    from users
    left join addresses on users.address_id = addresses.address_id
    left join user_orders on users.user_id = user_orders.user_id

)

select * from final
