with

products as (

    select * from {{ ref('stg_greenery__products') }}

),

product_days as (

    select * from {{ ref('fact_product_sessions_daily') }}

),

-- An order, a session or a buyer counts on one day of a product alone, so the days add up.
totals as (

    select
        product_id,
        sum(units) as units,
        sum(revenue) as revenue,
        sum(orders) as orders,
        sum(new_buyers) as buyers,
        sum(sessions_viewed) as sessions_viewed,
        sum(checkouts) as sessions_bought
    from product_days
    group by product_id

),

-- A product that nobody looked at or bought is still a product.
combined as (

    select
        products.product_id,
        products.product_name,
        products.price,
        products.inventory,
        cast(coalesce(totals.units, 0) as bigint) as units,
        coalesce(totals.revenue, 0) as revenue,
        cast(coalesce(totals.orders, 0) as bigint) as orders,
        cast(coalesce(totals.buyers, 0) as bigint) as buyers,
        cast(coalesce(totals.sessions_viewed, 0) as bigint) as sessions_viewed,
        cast(coalesce(totals.sessions_bought, 0) as bigint) as sessions_bought
    from products
    left join totals on products.product_id = totals.product_id

),

final as (

    select
        product_id,
        product_name,
        price,
        inventory,
        units,
        cast(revenue as numeric(16, 2)) as revenue,
        orders,
        buyers,
        sessions_viewed,
        sessions_bought,
        cast(sessions_bought * 1.0 / nullif(sessions_viewed, 0) as numeric(16, 4)) as conversion_rate,
        case when units > inventory then units - inventory else 0 end as oversold_units
    from combined

)

select * from final
