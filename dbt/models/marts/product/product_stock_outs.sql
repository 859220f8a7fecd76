with

versions as (

    select * from {{ ref('products_snapshot') }}

),

last_change as (

    select max(dbt_valid_from) as seen_at from versions

),

counted_versions as (

    select
        product_id,
        name,
        inventory,
        dbt_valid_from,
        dbt_valid_to,
        count(inventory) over (partition by product_id order by dbt_valid_from) as known_inventories
    from versions

),

-- The snapshot keeps a day without an inventory as it was: what was known before holds then.
known_versions as (

    select
        product_id,
        name,
        max(inventory) over (partition by product_id, known_inventories) as inventory,
        dbt_valid_from,
        dbt_valid_to
    from counted_versions

),

compared_versions as (

    select
        product_id,
        name,
        inventory,
        dbt_valid_from,
        dbt_valid_to,
        lag(inventory) over (partition by product_id order by dbt_valid_from) as inventory_before
    from known_versions

),

-- A new price while a product is out of stock, or one more unit sold below zero, is the same period still.
numbered_versions as (

    select
        product_id,
        name,
        inventory,
        dbt_valid_from,
        dbt_valid_to,
        sum(case when inventory <= 0 and coalesce(inventory_before, 1) > 0 then 1 else 0 end) over (
            partition by product_id
            order by dbt_valid_from
        ) as period
    from compared_versions

),

periods as (

    select
        product_id,
        max(name) as product_name,
        min(dbt_valid_from) as out_from,
        case when count(*) = count(dbt_valid_to) then max(dbt_valid_to) end as out_until
    from numbered_versions
    where inventory <= 0
    group by product_id, period

),

final as (

    select
        {{ composite_key(['periods.product_id', 'periods.out_from']) }} as stock_out_id,
        periods.product_id,
        periods.product_name,
        periods.out_from,
        periods.out_until,
        cast(
            {{ dbt.datediff('periods.out_from', 'coalesce(periods.out_until, last_change.seen_at)', 'second') }} / 3600.0
            as numeric(16, 2)
        ) as hours
    from periods
    cross join last_change

)

select * from final
