{{ config(
    materialized='incremental',
    meta={
        'key': 'order_item_id',
        'follows': [
            {'of': 'stg_greenery__order_items'},
            {'rows_where': 'unit_price is null'},
        ],
        'ignores': {
            'stg_greenery__products': 'an item keeps the price of the run that first saw it',
            'last_run.order_items_snapshot': 'it holds these prices, and changes none',
            'last_run.products_snapshot': 'as the products',
        },
    }
) }}
{%- set kept = source('last_run', 'order_items_snapshot') %}
with

order_items as (

    select * from {{ ref('stg_greenery__order_items') }}
    {{ only_changed() }}

),

priced as (

    {{ priced_items('order_items', ref('stg_greenery__products')) | indent(4) }}

),

kept_prices as (

    {% if execute and relation_exists(kept) -%}
    select
        order_item_id,
        price
    from {{ kept }}
    {{ only_changed() }}
    {%- else -%}
    select
        order_item_id,
        price
    from priced
    where false
    {%- endif %}

),

-- An item that a run has seen before keeps the price that it had then, whatever became of its row or of the price.
combined as (

    select
        priced.order_item_id,
        priced.order_id,
        priced.product_id,
        priced.quantity,
        cast(coalesce(kept_prices.price, priced.price) as numeric(16, 2)) as unit_price
    from priced
    left join kept_prices on priced.order_item_id = kept_prices.order_item_id

),

final as (

    select
        order_item_id,
        order_id,
        product_id,
        quantity,
        unit_price,
        cast(quantity * unit_price as numeric(16, 2)) as amount
    from combined

)

select * from final
