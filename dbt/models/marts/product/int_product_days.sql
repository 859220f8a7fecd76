{{ config(
    materialized='incremental',
    meta={
        'key': 'day',
        'follows': [
            {'of': 'int_product_session_days'},
            {'of': 'fact_order_items', 'parent_key': 'cast(ordered_at as date)'},
            {'of': 'int_first_purchases'},
        ],
    }
) }}
with

session_days as (

    select * from {{ ref('int_product_session_days') }}
    {{ only_changed() }}

),

order_items as (

    select * from {{ ref('fact_order_items') }}
    {{ only_changed('cast(ordered_at as date)') }}

),

first_purchases as (

    select * from {{ ref('int_first_purchases') }}
    {{ only_changed() }}

),

daily_events as (

    select
        product_id,
        day,
        sum(page_views) as page_views,
        sum(first_page_views) as sessions_viewed,
        sum(add_to_carts) as add_to_carts,
        sum(first_checkouts) as checkouts,
        sum(packages_shipped) as packages_shipped
    from session_days
    group by product_id, day

),

daily_sales as (

    select
        product_id,
        cast(ordered_at as date) as day,
        count(distinct order_id) as orders,
        sum(quantity) as units,
        sum(amount) as revenue
    from order_items
    group by product_id, cast(ordered_at as date)

),

daily_new_buyers as (

    select
        product_id,
        day,
        count(*) as new_buyers
    from first_purchases
    group by product_id, day

),

product_days as (

    select product_id, day from daily_events
    union distinct
    select product_id, day from daily_sales

),

final as (

    select
        {{ composite_key(['product_days.product_id', 'product_days.day']) }} as product_day_id,
        product_days.product_id,
        product_days.day,
        cast(coalesce(daily_events.page_views, 0) as bigint) as page_views,
        cast(coalesce(daily_events.sessions_viewed, 0) as bigint) as sessions_viewed,
        cast(coalesce(daily_events.add_to_carts, 0) as bigint) as add_to_carts,
        cast(coalesce(daily_events.checkouts, 0) as bigint) as checkouts,
        cast(coalesce(daily_events.packages_shipped, 0) as bigint) as packages_shipped,
        coalesce(daily_sales.orders, 0) as orders,
        coalesce(daily_sales.units, 0) as units,
        cast(coalesce(daily_sales.revenue, 0) as numeric(16, 2)) as revenue,
        coalesce(daily_new_buyers.new_buyers, 0) as new_buyers
    from product_days
    left join daily_events
        on product_days.product_id = daily_events.product_id
        and product_days.day = daily_events.day
    left join daily_sales
        on product_days.product_id = daily_sales.product_id
        and product_days.day = daily_sales.day
    left join daily_new_buyers
        on product_days.product_id = daily_new_buyers.product_id
        and product_days.day = daily_new_buyers.day
    where product_days.day is not null

)

select * from final
