{{ config(
    materialized='incremental',
    meta={
        'key': 'order_item_id',
        'follows': [
            {'of': 'stg_greenery__order_items'},
            {'rows_where': 'unit_price is null'},
        ],
        'ignores': {
            'stg_greenery__orders': 'an item keeps the price of the run that first saw it, whatever becomes of its order',
            'stg_greenery__products': 'as the orders',
            'last_run.order_items_snapshot': 'it holds these prices, and changes none',
            'last_run.products_snapshot': 'as the orders',
        },
    }
) }}
with

order_items as (

    select * from {{ ref('stg_greenery__order_items') }}
    {{ only_changed() }}

),

priced as (

    {{ priced_items(
        'order_items', ref('stg_greenery__order_items'), ref('stg_greenery__orders'), ref('stg_greenery__products')
    ) | indent(4) }}

),

final as (

    select
        priced.order_item_id,
        priced.order_id,
        priced.product_id,
        priced.quantity,
        cast(priced.price as numeric(16, 2)) as unit_price,
        cast(priced.quantity * priced.price as numeric(16, 2)) as amount
    from priced

)

select * from final
