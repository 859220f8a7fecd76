{{ config(materialized='table') }}
select distinct sold_on as day from {{ ref('stg_sales') }}
