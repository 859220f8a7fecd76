{{ config(
    materialized='incremental', incremental_strategy='microbatch', unique_key='sale_id',
    event_time='sold_at', batch_size='day', lookback=1, begin=env_var('CRUMB_BEGAN', '2026-01-01')
) }}
select sale_id, sold_at, cents from {{ ref('stg_sales') }}
