with

session_days as (

    select * from {{ ref('int_product_session_days') }}

),

order_items as (

    select * from {{ ref('fact_order_items') }}

),

inventories as (

    {{ product_versions('inventory', 'integer', ref('stg_greenery__products')) | indent(4) }}

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

purchases as (

    select
        product_id,
        order_id,
        user_id,
        cast(ordered_at as date) as day,
        quantity,
        amount,
        row_number() over (partition by user_id, product_id order by ordered_at, order_id) as purchase_number
    from order_items

),

daily_sales as (

    select
        product_id,
        day,
        count(distinct order_id) as orders,
        sum(quantity) as units,
        sum(amount) as revenue,
        {{ count_if('purchase_number = 1 and user_id is not null') }} as new_buyers
    from purchases
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
        coalesce(daily_sales.new_buyers, 0) as new_buyers,
        inventories.inventory
    from product_days
    left join daily_events
        on product_days.product_id = daily_events.product_id
        and product_days.day = daily_events.day
    left join daily_sales
        on product_days.product_id = daily_sales.product_id
        and product_days.day = daily_sales.day
    -- As last known before the day was over.
    left join inventories
        on product_days.product_id = inventories.product_id
        and (inventories.valid_from is null or inventories.valid_from < {{ dbt.dateadd('day', 1, 'product_days.day') }})
        and (inventories.valid_to is null or inventories.valid_to >= {{ dbt.dateadd('day', 1, 'product_days.day') }})

)

select * from final
