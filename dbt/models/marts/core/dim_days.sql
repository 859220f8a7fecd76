with

users as (

    select * from {{ ref('dim_users') }}

),

orders as (

    select * from {{ ref('fact_orders') }}

),

deliveries as (

    select * from {{ ref('fact_orders') }}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}

),

product_days as (

    select * from {{ ref('fact_product_sessions_daily') }}

),

-- The least and the greatest day of each, which an index on the day knows. What is read twice would be read as a whole.
bounds as (

    select min(cast(created_at as date)) as first_day, max(cast(created_at as date)) as last_day from users
    union all
    select min(cast(ordered_at as date)) as first_day, max(cast(ordered_at as date)) as last_day from orders
    union all
    select min(cast(delivered_at as date)) as first_day, max(cast(delivered_at as date)) as last_day from deliveries
    union all
    select min(cast(started_at as date)) as first_day, max(cast(started_at as date)) as last_day from sessions
    union all
    select min(day) as first_day, max(day) as last_day from product_days

),

span as (

    select
        min(first_day) as first_day,
        max(last_day) as last_day
    from bounds

),

numbers as (

    {{ dbt.generate_series(calendar_days()) | indent(4) }}

),

days as (

    select
        cast({{ dbt.dateadd('day', 'cast(numbers.generated_number - 1 as integer)', 'span.first_day') }} as date) as day,
        span.last_day
    from span
    cross join numbers

),

final as (

    select day
    from days
    where day <= last_day

)

select * from final
