{{ config(
    materialized='incremental',
    meta={
        'key': 'day',
        'follows': [{'of': 'int_user_product_sessions', 'parent_key': 'cast(started_at as date)'}],
    }
) }}
with

product_sessions as (

    select * from {{ ref('int_user_product_sessions') }}
    {{ only_changed('cast(started_at as date)') }}

),

-- All that came of a visit stands on the day of the visit, so that a step can be divided by the one before.
steps as (

    select
        product_id,
        cast(started_at as date) as day,
        {{ count_if('page_views > 0') }} as sessions_viewed,
        {{ count_if('add_to_carts > 0') }} as sessions_added,
        sum(checkouts) as sessions_bought,
        {{ count_if('packages_shipped > 0') }} as sessions_shipped
    from product_sessions
    where started_at is not null
    group by product_id, cast(started_at as date)

),

final as (

    select
        {{ composite_key(['product_id', 'day']) }} as product_day_id,
        product_id,
        day,
        sessions_viewed,
        sessions_added,
        sessions_bought,
        sessions_shipped,
        cast(sessions_added * 1.0 / nullif(sessions_viewed, 0) as numeric(16, 4)) as added_rate,
        cast(sessions_bought * 1.0 / nullif(sessions_added, 0) as numeric(16, 4)) as bought_rate,
        cast(sessions_shipped * 1.0 / nullif(sessions_bought, 0) as numeric(16, 4)) as shipped_rate,
        cast(sessions_bought * 1.0 / nullif(sessions_viewed, 0) as numeric(16, 4)) as conversion_rate
    from steps

)

select * from final
