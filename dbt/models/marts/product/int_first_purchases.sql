{{ config(
    materialized='incremental',
    meta={
        'key': 'user_id',
        'follows': [{'of': 'fact_order_items'}],
    }
) }}
with

order_items as (

    select * from {{ ref('fact_order_items') }}
    {{ only_changed() }}

),

final as (

    select
        {{ composite_key(['user_id', 'product_id']) }} as user_product_id,
        user_id,
        product_id,
        min(cast(ordered_at as date)) as day
    from order_items
    where user_id is not null
    group by user_id, product_id

)

select * from final
