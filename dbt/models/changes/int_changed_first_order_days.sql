{%- set follows = former('int_first_order_values') is not none -%}
{%- set longest = var('come_back_days') | max -%}
with

changed_buyers as (

    select * from {{ ref('int_changed_buyers') }}

),

first_orders as (

    select * from {{ ref('int_user_first_orders') }}
    where user_id in (select user_id from {{ ref('int_changed_buyers') }})

),

first_orders_changed as (

    select * from {{ ref('int_user_first_orders') }}
    where order_id in (select order_id from {{ ref('int_changed_orders') }})

),

all_first_orders as (

    select * from {{ ref('int_user_first_orders') }}

),

changed_products as (

    select * from {{ ref('int_changed_products') }}

),

-- Who came back later than anybody asks for is told as one who did not: most buyers who change do so by ordering once more.
former as (

    select
        user_id,
        former_order_id as order_id,
        formerly_ordered_at as ordered_at,
        former_promo_id as promo_id,
        former_order_total as order_total,
        former_distinct_products as distinct_products,
        formerly_minutes_browsed as minutes_browsed,
        formerly_delivered_at as delivered_at,
        formerly_is_late as is_late,
        case
            when formerly_next_ordered_at <= {{ dbt.dateadd('day', longest, 'formerly_ordered_at') }}
                then formerly_next_ordered_at
        end as came_back_at,
        case
            when formerly_next_ordered_after_delivery_at <= {{ dbt.dateadd('day', longest, 'formerly_delivered_at') }}
                then formerly_next_ordered_after_delivery_at
        end as came_back_after_delivery_at
    from changed_buyers

),

present as (

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
        case
            when next_ordered_at <= {{ dbt.dateadd('day', longest, 'ordered_at') }}
                then next_ordered_at
        end as came_back_at,
        case
            when next_ordered_after_delivery_at <= {{ dbt.dateadd('day', longest, 'delivered_at') }}
                then next_ordered_after_delivery_at
        end as came_back_after_delivery_at
    from first_orders

),

vanished as (

    select * from former
    {{ dbt.except() }}
    select * from present

),

appeared as (

    select * from present
    {{ dbt.except() }}
    select * from former

),

concerned as (

    select cast(ordered_at as date) as ordered_on
    from vanished

    union distinct

    select cast(ordered_at as date) as ordered_on
    from appeared

    union distinct

    -- As many products as before may be other ones.
    select cast(ordered_at as date) as ordered_on
    from first_orders_changed

    union distinct

    -- A product by another name is another value, whenever it was ordered.
    select cast(ordered_at as date) as ordered_on
    from all_first_orders
    where exists (select product_id from changed_products)

),

final as (

    select ordered_on
    from concerned
    where ordered_on is not null{{ '' if follows else ' and false' }}

)

select * from final
