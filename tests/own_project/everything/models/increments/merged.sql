{{ config(materialized='incremental', incremental_strategy='merge', unique_key='loaf', alias='loaves ever') }}
select loaf, list_price, changed_at from {{ ref('stg_loaves') }}
{% if is_incremental() %}
where changed_at > (select max(changed_at) from {{ this }})
{% endif %}
