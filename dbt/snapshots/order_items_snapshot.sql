{% snapshot order_items_snapshot %}

with

order_items as (

    select
        {{ composite_key(['order_id', 'product_id']) }} as order_item_id,
        order_id,
        product_id,
        _loaded_at
    from {{ source('greenery', 'order_items') }}
    {{ loaded_lately() }}

),

priced as (

    {{ priced_items('order_items', source('greenery', 'products')) | indent(4) }}

)

select
    order_item_id,
    order_id,
    product_id,
    price,
    _loaded_at
from priced
where price is not null

{% endsnapshot %}
