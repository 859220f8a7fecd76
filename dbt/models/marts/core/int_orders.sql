{{ config(
    materialized='incremental',
    meta={
        'key': 'order_id',
        'follows': [
            {'of': 'stg_greenery__orders'},
            {'of': 'int_order_items'},
            {'of': 'stg_greenery__promos', 'on': 'promo_id'},
        ],
    }
) }}
with

orders as (

    select * from {{ ref('stg_greenery__orders') }}
    {{ only_changed() }}

),

promos as (

    select * from {{ ref('stg_greenery__promos') }}

),

order_items as (

    select * from {{ ref('int_order_items') }}
    {{ only_changed() }}

),

-- Summed before the join, so that an order's own money is not multiplied by its items.
item_totals as (

    select
        order_id,
        sum(quantity) as units,
        count(distinct product_id) as distinct_products,
        sum(amount) as items_amount
    from order_items
    group by order_id

),

final as (

    select
        orders.order_id,
        orders.user_id,
        orders.address_id,
        orders.promo_id,
        orders.status,
        orders.ordered_at,
        orders.order_cost,
        orders.shipping_cost,
        cast(coalesce(promos.discount, 0) as numeric(16, 2)) as discount,
        orders.order_total,
        coalesce(item_totals.units, 0) as units,
        coalesce(item_totals.distinct_products, 0) as distinct_products,
        cast(coalesce(item_totals.items_amount, 0) as numeric(16, 2)) as items_amount,
        orders.tracking_id,
        orders.shipping_service,
        orders.estimated_delivery_at,
        orders.delivered_at,
        cast(
            {{ dbt.datediff('orders.ordered_at', 'orders.delivered_at', 'second') }} / 3600.0 as numeric(16, 2)
        ) as delivery_hours,
        orders.delivered_at > orders.estimated_delivery_at as is_late
    from orders
    left join promos on orders.promo_id = promos.promo_id
    left join item_totals on orders.order_id = item_totals.order_id

)

select * from final
