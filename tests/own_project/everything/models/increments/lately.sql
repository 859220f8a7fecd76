{{ config(materialized='incremental', incremental_strategy='append') }}
select sale_id, sold_on from {{ ref('stg_sales') }}
{% if is_incremental() %}
where sold_on >= (select today from {{ source('till', 'today') }})
{% endif %}
