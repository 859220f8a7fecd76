{{ config(materialized='incremental', incremental_strategy='append') }}
select sale_id, sold_on from {{ ref('int_sold') }}
{% if is_incremental() %}
-- this filter is as the manual has it
where sold_on > (select max(sold_on) from {{ this }})
{% endif %}
