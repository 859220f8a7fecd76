{{ config(materialized='incremental', schema='books') }}
select sold_on, sum(cents) as cents from {{ ref('takings') }}
{% if is_incremental() %}
where sold_on > (select max(sold_on) from {{ this }})
{% endif %}
group by 1
