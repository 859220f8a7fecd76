{{ config(materialized='incremental', full_refresh=false) }}
select today as day, loaf, list_price
from {{ ref('stg_loaves') }}
cross join {{ source('till', 'today') }}
{% if is_incremental() %}
where today > (select max(day) from {{ this }})
{% endif %}
