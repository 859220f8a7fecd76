{#
    Looked at are the items that were loaded since this buffer was last published, and those that people see without a price.
    What is published is asked for and not ref'ed, so that nothing of it holds the history back. An item that is held already
    is left out, since it never changes, before anything is priced or compared.
#}
{% snapshot order_items_snapshot %}

{%- set order_items = source('greenery', 'order_items') -%}
{%- set published = api.Relation.create(target.database, published_schema(), 'int_order_items') -%}
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
    {%- if lately and execute and relation_exists(published) %}

    union distinct

    select
        {{ composite_key(['order_id', 'product_id']) }} as order_item_id,
        order_id,
        product_id,
        _loaded_at
    from {{ order_items }}
    where (order_id, product_id) in (select order_id, product_id from {{ published }} where unit_price is null)
    {%- endif %}

),

new_items as (

    select order_items.*
    from order_items
    {%- if execute and relation_exists(this) %}
    left join {{ this }} as held on order_items.order_item_id = held.order_item_id
    where held.order_item_id is null
    {%- endif %}

),

priced as (

    {{ priced_items(
        'new_items', order_items, source('greenery', 'orders'), source('greenery', 'products'), utc('created_at')
    ) | indent(4) }}

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
