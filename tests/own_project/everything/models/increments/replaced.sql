{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key=['shop', 'sold_on']) }}
select shop, sold_on, count(*) as sales from {{ ref('stg_sales') }}
{% if is_incremental() %}
where sold_on >= (select today - 1 from {{ source('till', 'today') }})
{% endif %}
group by 1, 2
