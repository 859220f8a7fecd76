with

users as (

    select * from {{ ref('dim_users') }}

),

-- Imported once for each use: Postgres would keep what is read twice as a whole.
orders as (

    select * from {{ ref('fact_orders') }}

),

deliveries as (

    select * from {{ ref('fact_orders') }}

),

first_orders as (

    select * from {{ ref('int_user_first_orders') }}

),

second_orders as (

    select * from {{ ref('int_user_first_orders') }}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}

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
    from deliveries
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
    from second_orders
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

days as (

    select day from daily_users
    union distinct
    select day from daily_orders
    union distinct
    select day from daily_deliveries
    union distinct
    select day from daily_first_orders
    union distinct
    select day from daily_second_orders
    union distinct
    select day from daily_sessions

),

final as (

    select
        days.day,
        coalesce(daily_users.new_users, 0) as new_users,
        coalesce(daily_orders.orders, 0) as orders,
        cast(coalesce(daily_orders.revenue, 0) as numeric(16, 2)) as revenue,
        cast(coalesce(daily_orders.paid, 0) as numeric(16, 2)) as paid,
        cast(coalesce(daily_orders.units, 0) as bigint) as units,
        coalesce(daily_deliveries.delivered_orders, 0) as delivered_orders,
        cast(coalesce(daily_deliveries.delivery_hours, 0) as numeric(16, 2)) as delivery_hours,
        coalesce(daily_deliveries.orders_with_estimate, 0) as orders_with_estimate,
        coalesce(daily_deliveries.late_orders, 0) as late_orders,
        coalesce(daily_first_orders.new_buyers, 0) as new_buyers,
        coalesce(daily_second_orders.new_repeat_buyers, 0) as new_repeat_buyers,
        coalesce(daily_sessions.sessions, 0) as sessions,
        coalesce(daily_sessions.converted_sessions, 0) as converted_sessions
    from days
    left join daily_users on days.day = daily_users.day
    left join daily_orders on days.day = daily_orders.day
    left join daily_deliveries on days.day = daily_deliveries.day
    left join daily_first_orders on days.day = daily_first_orders.day
    left join daily_second_orders on days.day = daily_second_orders.day
    left join daily_sessions on days.day = daily_sessions.day
    where days.day is not null

)

select * from final
