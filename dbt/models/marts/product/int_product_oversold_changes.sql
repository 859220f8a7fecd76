with

product_days as (

    select * from {{ ref('fact_product_sessions_daily') }}

),

running_days as (

    select
        product_day_id,
        product_id,
        day,
        sum(units) over (partition by product_id order by day) as units_to_date,
        inventory
    from product_days

),

compared_days as (

    select
        product_day_id,
        product_id,
        day,
        units_to_date,
        inventory,
        units_to_date > inventory as is_oversold,
        coalesce(lag(units_to_date > inventory) over (partition by product_id order by day), false) as was_oversold
    from running_days

),

final as (

    select
        product_day_id,
        product_id,
        day,
        cast(units_to_date as bigint) as units_to_date,
        inventory,
        case when is_oversold then 1 else -1 end as change
    from compared_days
    where is_oversold <> was_oversold

)

select * from final
