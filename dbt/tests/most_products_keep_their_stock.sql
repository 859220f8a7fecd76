{{ config(
    description='most products that people see in stock are still in stock: a feed of inventories that broke says 0 of all. Fewer than ten products are not judged'
) }}
{#- What people query, whoever built it: the history has taken a bad night for a change already, once it was held back. -#}
{%- set products = source('greenery', 'products') %}
{%- set published = api.Relation.create(products.database, published_schema(), 'fact_product') if execute %}
with

seen as (

    {% if execute and has_columns([(published, 'product_id'), (published, 'inventory')]) -%}
    select product_id
    from {{ published }}
    where inventory > 0
    {%- else -%}
    select product_id
    from {{ products }}
    where 1 = 0
    {%- endif %}

),

counted as (

    select
        count(*) as looked_at,
        {{ count_if('products.inventory <= 0') }} as without_stock
    from {{ products }} as products
    inner join seen on products.product_id = seen.product_id

)

select
    looked_at,
    without_stock
from counted
where looked_at >= 10 and without_stock * 2 > looked_at
