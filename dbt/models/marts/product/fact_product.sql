with

products as (

    select * from {{ ref('stg_greenery__products') }}

),

order_items as (

    select * from {{ ref('fact_order_items') }}

),

product_sessions as (

    select * from {{ ref('int_user_product_sessions') }}

),

sales as (

    select
        product_id,
        sum(quantity) as units,
        sum(amount) as revenue,
        count(distinct order_id) as orders,
        count(distinct user_id) as buyers
    from order_items
    group by product_id

),

visits as (

    select
        product_id,
        {{ count_if('page_views > 0') }} as sessions_viewed,
        sum(checkouts) as sessions_bought
    from product_sessions
    group by product_id

),

-- A product that nobody looked at or bought is still a product.
combined as (

    select
        products.product_id,
        products.product_name,
        products.price,
        products.inventory,
        coalesce(sales.units, 0) as units,
        coalesce(sales.revenue, 0) as revenue,
        coalesce(sales.orders, 0) as orders,
        coalesce(sales.buyers, 0) as buyers,
        coalesce(visits.sessions_viewed, 0) as sessions_viewed,
        coalesce(visits.sessions_bought, 0) as sessions_bought
    from products
    left join sales on products.product_id = sales.product_id
    left join visits on products.product_id = visits.product_id

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
