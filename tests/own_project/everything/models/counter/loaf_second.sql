{{ config(materialized='table') }}
select loaf, list_price, kind, '{{ env_var("CRUMB_TOWN", "nowhere") }}' as town from {{ ref('stg_loaves') }}
