{{ config(
    materialized='incremental',
    meta={
        'key': 'order_id',
        'follows': [{'of': 'int_order_items'}, {'of': 'int_orders'}],
    }
) }}
with

order_items as (

    select * from {{ ref('int_order_items') }}
    {{ only_changed() }}

),

orders as (

    select * from {{ ref('int_orders') }}
    {{ only_changed() }}

),

final as (

    select
        order_items.order_item_id,
        order_items.order_id,
        order_items.product_id,
        orders.user_id,
        orders.promo_id,
        orders.status,
        orders.ordered_at,
        order_items.quantity,
        order_items.unit_price,
        order_items.amount
    from order_items
    left join orders on order_items.order_id = orders.order_id

)

select * from final
