{#
    Looked at are the items that were loaded since this buffer was last published, and those that were published without a
    price: what people are told first is their price. The models are asked for and not ref'ed, so that nothing
    of theirs holds the history back.
#}
{% snapshot order_items_snapshot %}

{%- set order_items = source('greenery', 'order_items') -%}
{%- set node = graph.nodes['model.' ~ project_name ~ '.int_changed_orders'] if execute -%}
{%- set changed_orders = adapter.get_relation(node.database, node.schema, node.alias) if execute -%}
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
    {%- if lately and changed_orders %}

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
