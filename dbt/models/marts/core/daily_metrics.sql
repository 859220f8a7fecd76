{#- What each metric counts, and what it is divided by where it is a rate or a mean. -#}
{%- set metrics = {
    'users': ('users', none),
    'new_users': ('new_users', none),
    'orders': ('orders', none),
    'revenue': ('revenue', none),
    'paid': ('paid', none),
    'units': ('units', none),
    'sessions': ('sessions', none),
    'conversion': ('converted_sessions', 'sessions'),
    'repeat_rate': ('repeat_buyers', 'buyers'),
    'late_rate': ('late_orders', 'orders_with_estimate'),
    'mean_delivery_hours': ('delivery_hours', 'delivered_orders'),
    'oversold_products': ('oversold_products', none),
} -%}

with

days as (

    select * from {{ ref('dim_days') }}

),

users as (

    select * from {{ ref('dim_users') }}

),

orders as (

    select * from {{ ref('fact_orders') }}

),

first_orders as (

    select * from {{ ref('int_user_first_orders') }}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}

),

oversold_changes as (

    select * from {{ ref('int_product_oversold_changes') }}

),

daily_users as (

    select
        cast(created_at as date) as day,
        count(*) as new_users
    from users
    group by cast(created_at as date)

),

daily_orders as (

    select
        cast(ordered_at as date) as day,
        count(*) as orders,
        sum(items_amount) as revenue,
        sum(order_total) as paid,
        sum(units) as units
    from orders
    group by cast(ordered_at as date)

),

daily_deliveries as (

    select
        cast(delivered_at as date) as day,
        count(*) as delivered_orders,
        sum(delivery_hours) as delivery_hours,
        count(is_late) as orders_with_estimate,
        {{ count_if('is_late') }} as late_orders
    from orders
    where delivered_at is not null
    group by cast(delivered_at as date)

),

daily_first_orders as (

    select
        cast(ordered_at as date) as day,
        count(*) as new_buyers
    from first_orders
    group by cast(ordered_at as date)

),

daily_second_orders as (

    select
        cast(next_ordered_at as date) as day,
        count(*) as new_repeat_buyers
    from first_orders
    where next_ordered_at is not null
    group by cast(next_ordered_at as date)

),

daily_sessions as (

    select
        cast(started_at as date) as day,
        count(*) as sessions,
        {{ count_if('is_converted') }} as converted_sessions
    from sessions
    group by cast(started_at as date)

),

daily_oversold as (

    select
        day,
        sum(change) as newly_oversold
    from oversold_changes
    group by day

),

-- Each day's own, and what has come together by its end.
daily as (

    select
        days.day,
        coalesce(daily_users.new_users, 0) as new_users,
        sum(coalesce(daily_users.new_users, 0)) over (order by days.day) as users,
        coalesce(daily_orders.orders, 0) as orders,
        coalesce(daily_orders.revenue, 0) as revenue,
        coalesce(daily_orders.paid, 0) as paid,
        coalesce(daily_orders.units, 0) as units,
        coalesce(daily_sessions.sessions, 0) as sessions,
        coalesce(daily_sessions.converted_sessions, 0) as converted_sessions,
        sum(coalesce(daily_first_orders.new_buyers, 0)) over (order by days.day) as buyers,
        sum(coalesce(daily_second_orders.new_repeat_buyers, 0)) over (order by days.day) as repeat_buyers,
        coalesce(daily_deliveries.delivered_orders, 0) as delivered_orders,
        coalesce(daily_deliveries.delivery_hours, 0) as delivery_hours,
        coalesce(daily_deliveries.orders_with_estimate, 0) as orders_with_estimate,
        coalesce(daily_deliveries.late_orders, 0) as late_orders,
        sum(coalesce(daily_oversold.newly_oversold, 0)) over (order by days.day) as oversold_products
    from days
    left join daily_users on days.day = daily_users.day
    left join daily_orders on days.day = daily_orders.day
    left join daily_deliveries on days.day = daily_deliveries.day
    left join daily_first_orders on days.day = daily_first_orders.day
    left join daily_second_orders on days.day = daily_second_orders.day
    left join daily_sessions on days.day = daily_sessions.day
    left join daily_oversold on days.day = daily_oversold.day

),

told as (

    {% for metric, (numerator, denominator) in metrics.items() -%}
    select
        day,
        '{{ metric }}' as metric,
        cast({{ numerator }} as numeric(16, 2)) as numerator,
        cast({{ denominator or 'null' }} as bigint) as denominator,
        cast({{ numerator }}{{ ' * 1.0 / nullif(' ~ denominator ~ ', 0)' if denominator }} as numeric(16, 4)) as value
    from daily
    {%- if not loop.last %}

    union all

    {% endif -%}
    {% endfor %}

),

final as (

    select
        {{ composite_key(['metric', 'day']) }} as metric_day_id,
        day,
        metric,
        value,
        numerator,
        denominator
    from told

)

select * from final
