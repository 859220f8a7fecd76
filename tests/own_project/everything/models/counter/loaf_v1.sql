{{ config(materialized='table') }}
select loaf, list_price from {{ ref('stg_loaves') }}
