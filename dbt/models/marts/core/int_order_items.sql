{{ config(materialized='incremental', meta={'changed_key': 'order_id', 'changed_in': 'int_changed_orders'}) }}
with

order_items as (

    select * from {{ ref('stg_greenery__order_items') }}
    {{ only_changed('order_id', 'int_changed_orders') }}

),

prices as (

    {{ product_versions('price', 'numeric(16, 2)') | indent(4) }}

),

-- The price in force when the item was loaded. The replica doesn't date a price by the shop's own clock.
priced as (

    select
        order_items.order_item_id,
        order_items.order_id,
        order_items.product_id,
        order_items.quantity,
        prices.price as unit_price
    from order_items
    left join prices
        on order_items.product_id = prices.product_id
        and (prices.valid_from is null or {{ utc('order_items._loaded_at') }} >= prices.valid_from)
        and (prices.valid_to is null or {{ utc('order_items._loaded_at') }} < prices.valid_to)

),

final as (

    select
        order_item_id,
        order_id,
        product_id,
        quantity,
        unit_price,
        cast(quantity * unit_price as numeric(16, 2)) as amount
    from priced

)

select * from final
