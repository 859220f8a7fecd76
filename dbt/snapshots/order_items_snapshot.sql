{#
    Looked at are the items that were loaded lately, and those of the orders that changed for this run's models: these have the
    price that people are told first, also where an item was loaded long before there was one.
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
    where order_id in (select order_id from {{ changed_orders }})
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
