{#
    Looked at are the items that were loaded lately, and those that had no price when this run's models set out: what they
    tell first is the price of these, however long ago the item was loaded.
#}
{% snapshot order_items_snapshot %}

{%- set order_items = source('greenery', 'order_items') -%}
{%- set changed_orders = ref('int_changed_orders') -%}
{%- set lately = loaded_lately() | trim %}
with

order_items as (

    select
        {{ composite_key(['order_id', 'product_id']) }} as order_item_id,
        order_id,
        product_id,
        _loaded_at
    from {{ order_items }}
    {{ lately }}
    {%- if lately and relation_exists(changed_orders) %}

    union distinct

    select
        {{ composite_key(['order_id', 'product_id']) }} as order_item_id,
        order_id,
        product_id,
        _loaded_at
    from {{ order_items }}
    where (order_id, product_id) in (
        select
            order_id,
            former_product_id
        from {{ changed_orders }}
        where former_product_id is not null and former_amount is null
    )
    {%- endif %}

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
