{{ config(
    materialized='incremental',
    meta={
        'key': 'session_id',
        'follows': [{'of': 'int_events'}],
    }
) }}
with

events as (

    select * from {{ ref('int_events') }}
    {{ only_changed() }}

),

sessions as (

    select
        session_id,
        min(user_id) as user_id,
        min(created_at) as started_at,
        -- A package is shipped days after the visitor has gone.
        coalesce(max(case when event_type <> 'package_shipped' then created_at end), min(created_at)) as ended_at,
        {{ count_if("event_type = 'page_view'") }} as page_views,
        {{ count_if("event_type = 'add_to_cart'") }} as add_to_carts,
        {{ count_if("event_type = 'checkout'") }} as checkouts,
        {{ count_if("event_type = 'package_shipped'") }} as packages_shipped
    from events
    group by session_id

),

final as (

    select
        session_id,
        user_id,
        started_at,
        ended_at,
        cast({{ dbt.datediff('started_at', 'ended_at', 'second') }} / 60.0 as numeric(16, 2)) as session_minutes,
        page_views,
        add_to_carts,
        checkouts,
        packages_shipped,
        checkouts > 0 as is_converted
    from sessions

)

select * from final
