{{ config(
    materialized='incremental',
    meta={
        'key': 'event_id',
        'follows': [{'of': 'stg_greenery__events'}],
    }
) }}
select
    event_id,
    session_id,
    user_id,
    order_id,
    product_id,
    event_type,
    created_at
from {{ ref('stg_greenery__events') }}
{{ only_changed() }}
