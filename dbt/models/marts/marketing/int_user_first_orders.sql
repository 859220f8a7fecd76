{{ config(
    materialized='incremental',
    meta={
        'key': 'user_id',
        'follows': [{'of': 'fact_orders'}, {'of': 'int_user_sessions'}],
    }
) }}
with

orders as (

    select * from {{ ref('fact_orders') }}
    {{ only_changed() }}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}
    {{ only_changed() }}

),

numbered_orders as (

    select
        user_id,
        order_id,
        ordered_at,
        promo_id,
        order_total,
        distinct_products,
        delivered_at,
        is_late,
        row_number() over (partition by user_id order by ordered_at, order_id) as order_number,
        lead(ordered_at) over (partition by user_id order by ordered_at, order_id) as next_ordered_at
    from orders

),

first_orders as (

    select * from numbered_orders
    where order_number = 1

),

-- The second order is no answer to a delivery that came after it.
orders_after_delivery as (

    select
        first_orders.user_id,
        min(orders.ordered_at) as next_ordered_after_delivery_at
    from first_orders
    inner join orders
        on first_orders.user_id = orders.user_id
        and first_orders.delivered_at < orders.ordered_at
    group by first_orders.user_id

),

-- Up to the order and no further: what a buyer looks at afterwards is no sign that came before.
browsing as (

    select
        first_orders.user_id,
        sum(
            {{ dbt.datediff(
                'sessions.started_at',
                'case when sessions.ended_at < first_orders.ordered_at then sessions.ended_at else first_orders.ordered_at end',
                'second',
            ) }}
        ) as seconds
    from first_orders
    inner join sessions
        on first_orders.user_id = sessions.user_id
        and first_orders.ordered_at >= sessions.started_at
    group by first_orders.user_id

),

final as (

    select
        first_orders.user_id,
        first_orders.order_id,
        first_orders.ordered_at,
        first_orders.promo_id,
        first_orders.order_total,
        first_orders.distinct_products,
        cast(browsing.seconds / 60.0 as numeric(16, 2)) as minutes_browsed,
        first_orders.delivered_at,
        first_orders.is_late,
        first_orders.next_ordered_at,
        orders_after_delivery.next_ordered_after_delivery_at
    from first_orders
    left join browsing on first_orders.user_id = browsing.user_id
    left join orders_after_delivery on first_orders.user_id = orders_after_delivery.user_id

)

select * from final
