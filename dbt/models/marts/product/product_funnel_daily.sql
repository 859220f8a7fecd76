{{ config(materialized='incremental', meta={'changed_key': 'day', 'changed_in': 'int_changed_visit_days'}) }}
{#- Between tags of jinja sqlfluff loses count of the indent. #}
-- noqa: disable=LT02
with

product_sessions as (

    select * from {{ ref('int_user_product_sessions') }}
    {% if changes_alone('int_changed_visit_days') -%}
    where session_id in (
        select session_id
        from {{ ref('int_user_sessions') }}
        where cast(started_at as date) in (select day from {{ ref('int_changed_visit_days') }})
    )
    {%- endif %}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}
    {{ only_changed('day', 'int_changed_visit_days', 'cast(started_at as date)') }}

),

-- All that came of a visit stands on the day of the visit, so that a step can be divided by the one before.
steps as (

    select
        product_sessions.product_id,
        cast(sessions.started_at as date) as day,
        {{ count_if('product_sessions.page_views > 0') }} as sessions_viewed,
        {{ count_if('product_sessions.add_to_carts > 0') }} as sessions_added,
        sum(product_sessions.checkouts) as sessions_bought,
        {{ count_if('product_sessions.packages_shipped > 0') }} as sessions_shipped
    from product_sessions
    inner join sessions on product_sessions.session_id = sessions.session_id
    group by product_sessions.product_id, cast(sessions.started_at as date)

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
