{{ config(
    description='most orders that were loaded anew are as far as people see them, or farther: a shop that has lost its deliveries says of all orders that they are being prepared. An order may go back, but not most; fewer than a hundred are not judged'
) }}
{%- set stages = "array['preparing', 'shipped', 'delivered']" -%}
{%- set orders = source('greenery', 'orders') %}
{%- set new = new_rows(orders) %}
{#- What people query, whoever built it: the history has taken a bad night for a change already, once it was held back. -#}
{%- set published = api.Relation.create(orders.database, published_schema(), 'fact_orders') if execute %}
with

seen as (

    {% if execute and has_columns([(published, 'order_id'), (published, 'status')]) -%}
    select
        order_id,
        array_position({{ stages }}, status) as stage
    from {{ published }}
    {%- else -%}
    select
        order_id,
        0 as stage
    from {{ orders }}
    where 1 = 0
    {%- endif %}

),

compared as (

    select
        seen.stage as stage_before,
        array_position({{ stages }}, orders.status) as stage
    from {{ orders }} as orders
    inner join seen on orders.order_id = seen.order_id
    where seen.stage > 1 and {{ new or 'true' }}

),

counted as (

    select
        count(*) as looked_at,
        {{ count_if('stage < stage_before') }} as gone_back
    from compared

)

select
    looked_at,
    gone_back
from counted
where looked_at >= 100 and gone_back * 2 > looked_at
