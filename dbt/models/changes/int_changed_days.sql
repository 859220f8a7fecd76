{%- set follows = former('int_daily_figures') is not none -%}
with

changed_orders as (

    select * from {{ ref('int_changed_orders') }}

),

changed_users as (

    select * from {{ ref('int_changed_users') }}

),

changed_buyers as (

    select * from {{ ref('int_changed_buyers') }}

),

changed_events as (

    select * from {{ ref('int_changed_events') }}

),

-- Sessions are told anew with their events; the products of their orders are no figure of a day.
events as (

    select * from {{ ref('int_events') }}
    where session_id in (select session_id from {{ ref('int_changed_events') }})

),

orders as (

    select * from {{ ref('fact_orders') }}
    where order_id in (select order_id from {{ ref('int_changed_orders') }})

),

users as (

    select * from {{ ref('dim_users') }}
    where user_id in (select user_id from {{ ref('int_changed_users') }})

),

first_orders as (

    select * from {{ ref('int_user_first_orders') }}
    where user_id in (select user_id from {{ ref('int_changed_buyers') }})

),

-- Most users who are told anew only ordered again, which moves neither the sign-up nor the first two orders.
former_steps as (

    select user_id, 'sign-up' as step, cast(formerly_created_at as date) as day from changed_users
    union all
    select user_id, 'first order' as step, cast(formerly_ordered_at as date) as day from changed_buyers
    union all
    select user_id, 'second order' as step, cast(formerly_next_ordered_at as date) as day from changed_buyers

),

present_steps as (

    select user_id, 'sign-up' as step, cast(created_at as date) as day from users
    union all
    select user_id, 'first order' as step, cast(ordered_at as date) as day from first_orders
    union all
    select user_id, 'second order' as step, cast(next_ordered_at as date) as day from first_orders

),

vanished_steps as (

    select user_id, step, day from former_steps
    {{ dbt.except() }}
    select user_id, step, day from present_steps

),

appeared_steps as (

    select user_id, step, day from present_steps
    {{ dbt.except() }}
    select user_id, step, day from former_steps

),

concerned as (

    select day from vanished_steps
    union distinct
    select day from appeared_steps
    union distinct
    select cast(created_at as date) as day from changed_events
    union distinct
    select cast(created_at as date) as day from events
    union distinct
    select cast(formerly_ordered_at as date) as day from changed_orders
    union distinct
    select cast(formerly_delivered_at as date) as day from changed_orders
    union distinct
    select cast(ordered_at as date) as day from orders
    union distinct
    select cast(delivered_at as date) as day from orders

),

final as (

    select day
    from concerned
    where day is not null{{ '' if follows else ' and false' }}

)

select * from final
