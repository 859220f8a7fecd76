{{ config(
    materialized='incremental',
    meta={
        'key': 'order_id',
        'follows': [{'of': 'orders_snapshot'}],
    }
) }}
with

versions as (

    select * from {{ ref('orders_snapshot') }}
    {{ only_changed() }}

),

-- The version that took the place of another. An order's first one took nobody's, and is no change.
final as (

    select
        became.dbt_scd_id as order_change_id,
        became.order_id,
        became.user_id,
        became.dbt_valid_from as changed_at,
        case when was.status = became.status then 'delivery' else 'status' end as what_changed,
        was.status as from_status,
        became.status as to_status,
        became.tracking_id,
        became.shipping_service,
        {{ utc('became.estimated_delivery_at') }} as estimated_delivery_at,
        {{ utc('became.delivered_at') }} as delivered_at
    from versions as became
    inner join versions as was
        on became.order_id = was.order_id
        and became.dbt_valid_from = was.dbt_valid_to

)

select * from final
