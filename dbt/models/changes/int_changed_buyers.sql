{%- set former_first_orders = former('int_user_first_orders') -%}
{%- set follows = former_first_orders is not none -%}
with

changed_events as (

    select * from {{ ref('int_changed_events') }}

),

changed_orders as (

    select * from {{ ref('int_changed_orders') }}

),

events as (

    select * from {{ ref('int_events') }}
    where session_id in (select session_id from {{ ref('int_changed_events') }})

),

orders as (

    select * from {{ ref('fact_orders') }}
    where order_id in (select order_id from {{ ref('int_changed_orders') }})

),

-- A session that changed may have been somebody else's, and whoever's it was has an event of it, then or now.
changed as (

    select user_id from changed_events
    union distinct
    select user_id from events
    union distinct
    select former_user_id as user_id from changed_orders
    union distinct
    select user_id from orders

),

-- What was known of the first order when this buffer was built.
former as (

    {% if follows -%}
    select
        user_id,
        order_id,
        ordered_at,
        promo_id,
        order_total,
        distinct_products,
        minutes_browsed,
        delivered_at,
        is_late,
        next_ordered_at,
        next_ordered_after_delivery_at
    from {{ former_first_orders }}
    {%- else -%}
    select
        user_id,
        order_id,
        ordered_at,
        promo_id,
        order_total,
        distinct_products,
        cast(null as numeric(16, 2)) as minutes_browsed,
        delivered_at,
        is_late,
        delivered_at as next_ordered_at,
        delivered_at as next_ordered_after_delivery_at
    from {{ ref('fact_orders') }}
    {%- endif %}

),

final as (

    select
        changed.user_id,
        former.order_id as former_order_id,
        former.ordered_at as formerly_ordered_at,
        former.promo_id as former_promo_id,
        former.order_total as former_order_total,
        former.distinct_products as former_distinct_products,
        former.minutes_browsed as formerly_minutes_browsed,
        former.delivered_at as formerly_delivered_at,
        former.is_late as formerly_is_late,
        former.next_ordered_at as formerly_next_ordered_at,
        former.next_ordered_after_delivery_at as formerly_next_ordered_after_delivery_at
    from changed
    left join former on changed.user_id = former.user_id
    where changed.user_id is not null{{ '' if follows else ' and false' }}

)

select * from final
