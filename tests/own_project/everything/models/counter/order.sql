{{ config(materialized='table') }}
select kind as "group", count(*) as "Loaves sold", max(street) as "select"
from {{ ref('int_sold') }} as sold
inner join {{ ref('stg_loaves') }} as loaves using (loaf)
left join {{ ref('int_untested') }} as shops using (shop)
group by 1
