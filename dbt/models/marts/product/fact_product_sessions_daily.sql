with

product_days as (

    select * from {{ ref('int_product_days') }}

),

inventories as (

    {{ product_versions('inventory', 'integer', ref('stg_greenery__products')) | indent(4) }}

),

span as (

    select
        min(day) as first_day,
        max(day) as last_day
    from product_days

),

-- A day's inventory is what was last known before the day was over.
daily_inventories as (

    select
        inventories.product_id,
        cast(days.day as date) as day,
        inventories.inventory
    from inventories
    cross join span
    cross join lateral generate_series(
        cast(greatest(cast(inventories.valid_from as date), span.first_day) as timestamp),
        cast(least(cast(inventories.valid_to as date) - 1, span.last_day) as timestamp),
        interval '1 day'
    ) as days (day)

),

final as (

    select
        product_days.product_day_id,
        product_days.product_id,
        product_days.day,
        product_days.page_views,
        product_days.sessions_viewed,
        product_days.add_to_carts,
        product_days.checkouts,
        product_days.packages_shipped,
        product_days.orders,
        product_days.units,
        product_days.revenue,
        product_days.new_buyers,
        daily_inventories.inventory
    from product_days
    left join daily_inventories
        on product_days.product_id = daily_inventories.product_id
        and product_days.day = daily_inventories.day

)

select * from final
