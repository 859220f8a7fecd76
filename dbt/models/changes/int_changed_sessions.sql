{%- set follows = former('int_user_product_sessions') is not none -%}
with

changed_events as (

    select * from {{ ref('int_changed_events') }}

),

changed_orders as (

    select * from {{ ref('int_changed_orders') }}

),

events as (

    select * from {{ ref('int_events') }}

),

final as (

    select session_id
    from changed_events
    where session_id is not null{{ '' if follows else ' and false' }}

    union distinct

    -- A session shows the products of its orders.
    select session_id
    from events
    where order_id in (select order_id from changed_orders) and session_id is not null{{ '' if follows else ' and false' }}

)

select * from final
